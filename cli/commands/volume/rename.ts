import { BaseCommand } from '../../base-command.js';
import { path } from '../../client/client.js';

export default class Rename extends BaseCommand {
  static override usage = 'VOLUME NEW_NAME';
  static override arity = { least: 2, most: 2 };
  static override flags = {};

  async run(): Promise<void> {
    const [from, to] = this.read(Rename).args as [string, string];
    await this.client.post(path`/gantry/v1/volumes/${from}/rename`, { body: { Name: to } });
  }
}
