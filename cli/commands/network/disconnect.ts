import { BaseCommand } from '../../base-command.js';
import { path } from '../../client/client.js';
import { flag } from '../../flags.js';

export default class Disconnect extends BaseCommand {
  static override usage = 'NETWORK CONTAINER';
  static override arity = { least: 2, most: 2 };
  static override flags = { force: flag.boolean({ char: 'f', description: 'Disconnect in spite of errors' }) };

  async run(): Promise<void> {
    const { flags, args } = this.read(Disconnect);
    const [network, container] = args as [string, string];
    await this.client.post(path`/networks/${network}/disconnect`, { body: { Container: container, Force: flags.force } });
  }
}
