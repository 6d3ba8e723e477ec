import { BaseCommand, ExitError, print, warn } from '../../base-command.js';
import { ApiError, path } from '../../client/client.js';
import { flag } from '../../flags.js';

export default class Rm extends BaseCommand {
  static override usage = 'NETWORK [NETWORK...]';
  static override arity = { least: 1 };
  static override flags = { force: flag.boolean({ char: 'f', description: 'Do not mind when it does not exist' }) };

  async run(): Promise<void> {
    const { flags, args } = this.read(Rm);
    let failed = false;
    for (const name of args) {
      try {
        await this.client.delete(path`/networks/${name}`);
        print(name);
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        if (flags.force && error.status === 404) continue;
        warn(error.message);
        failed = true;
      }
    }
    if (failed) {
      warn('exit status 1');
      throw new ExitError(1);
    }
  }
}
