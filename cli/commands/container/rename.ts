import { BaseCommand } from '../../base-command.js';
import { path } from '../../client/client.js';

export default class Rename extends BaseCommand {
  static override usage = 'CONTAINER NEW_NAME';
  static override arity = { least: 2, most: 2 };
  static override flags = {};

  async run(): Promise<void> {
    const [from, to] = this.read(Rename).args.map((name) => name.trim()) as [string, string];
    if (from === '' || to === '') throw new Error('neither old nor new names may be empty');
    await this.client.post(path`/containers/${from}/rename`, { query: { name: to } });
  }
}
