import { BaseCommand } from '../../base-command.js';
import { path } from '../../client/client.js';
import { flag } from '../../flags.js';
import { inspectAll } from '../../run/inspect.js';
import { platformObject } from './rm.js';

export default class Inspect extends BaseCommand {
  static override usage = 'IMAGE [IMAGE...]';
  static override arity = { least: 1 };
  static override flags = {
    format: flag.string({ char: 'f', description: "'json', or a Go template" }),
    platform: flag.string({ description: 'Show this platform of the image (os[/arch[/variant]])' }),
  };

  async run(): Promise<void> {
    const { flags, args } = this.read(Inspect);
    const platform = flags.platform === '' ? undefined : JSON.stringify(platformObject(flags.platform));
    await inspectAll(args, flags.format, (name) => this.client.text('GET', path`/images/${name}/json`, { query: { platform } }));
  }
}
