import { BaseCommand, forEachName } from '../../base-command.js';
import { path } from '../../client/client.js';
import { flag } from '../../flags.js';

export default class Rm extends BaseCommand {
  static override usage = 'VOLUME [VOLUME...]';
  static override arity = { least: 1 };
  static override flags = { force: flag.boolean({ char: 'f', description: 'Do not mind when it does not exist' }) };

  async run(): Promise<void> {
    const { flags, args } = this.read(Rm);
    await forEachName(args, async (name) => {
      await this.client.delete(path`/volumes/${name}`, { force: flags.force || undefined });
      return name;
    });
  }
}
