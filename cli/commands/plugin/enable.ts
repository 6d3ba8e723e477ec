import { BaseCommand, print } from '../../base-command.js';
import { path } from '../../client/client.js';
import { flag } from '../../flags.js';

export default class Enable extends BaseCommand {
  static override usage = 'PLUGIN';
  static override arity = { least: 1, most: 1 };
  static override flags = { timeout: flag.integer({ description: 'Seconds that it may take to listen', initial: 30 }) };

  async run(): Promise<void> {
    const { flags, args } = this.read(Enable);
    await this.client.post(path`/plugins/${args[0] as string}/enable`, { query: { timeout: flags.timeout } });
    print(args[0] as string);
  }
}
