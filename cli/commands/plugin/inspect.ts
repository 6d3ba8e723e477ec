import { BaseCommand } from '../../base-command.js';
import { path } from '../../client/client.js';
import { flag } from '../../flags.js';
import { inspectAll } from '../../run/inspect.js';

export default class Inspect extends BaseCommand {
  static override usage = 'PLUGIN [PLUGIN...]';
  static override arity = { least: 1 };
  static override flags = { format: flag.string({ char: 'f', description: "'json', or a Go template" }) };

  async run(): Promise<void> {
    const { flags, args } = this.read(Inspect);
    await inspectAll(args, flags.format, (name) => this.client.text('GET', path`/plugins/${name}/json`));
  }
}
