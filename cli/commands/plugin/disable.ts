import { BaseCommand, print } from '../../base-command.js';
import { path } from '../../client/client.js';
import { flag } from '../../flags.js';

export default class Disable extends BaseCommand {
  static override usage = 'PLUGIN';
  static override arity = { least: 1, most: 1 };
  static override flags = { force: flag.boolean({ char: 'f', description: 'Also when it is in use' }) };

  async run(): Promise<void> {
    const { flags, args } = this.read(Disable);
    await this.client.post(path`/plugins/${args[0] as string}/disable`, { query: { force: flags.force || undefined } });
    print(args[0] as string);
  }
}
