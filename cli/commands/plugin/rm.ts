import { BaseCommand, forEachName } from '../../base-command.js';
import { path } from '../../client/client.js';
import { flag } from '../../flags.js';

export default class Rm extends BaseCommand {
  static override usage = 'PLUGIN [PLUGIN...]';
  static override arity = { least: 1 };
  static override flags = { force: flag.boolean({ char: 'f', description: 'Also when it is enabled' }) };

  async run(): Promise<void> {
    const { flags, args } = this.read(Rm);
    await forEachName(args, async (name) => {
      await this.client.delete(path`/plugins/${name}`, { force: flags.force || undefined });
      return name;
    });
  }
}
