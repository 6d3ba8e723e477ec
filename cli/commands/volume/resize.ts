import { BaseCommand } from '../../base-command.js';
import { path } from '../../client/client.js';
import { parseBytes } from '../../render/parse.js';

export default class Resize extends BaseCommand {
  static override usage = 'VOLUME SIZE';
  static override arity = { least: 2, most: 2 };
  static override flags = {};

  async run(): Promise<void> {
    const [volume, size] = this.read(Resize).args as [string, string];
    await this.client.post(path`/gantry/v1/volumes/${volume}/resize`, { body: { Size: parseBytes(size) } });
  }
}
