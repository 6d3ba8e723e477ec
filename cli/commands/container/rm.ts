import { BaseCommand, forEachName } from '../../base-command.js';
import { ApiError, path } from '../../client/client.js';
import { flag } from '../../flags.js';

export default class Rm extends BaseCommand {
  static override usage = 'CONTAINER [CONTAINER...]';
  static override arity = { least: 1 };
  static override flags = {
    force: flag.boolean({ char: 'f', description: 'Kill it first if it runs' }),
    link: flag.boolean({ char: 'l', description: 'Remove the link, not the container' }),
    volumes: flag.boolean({ char: 'v', description: 'Remove its anonymous volumes too' }),
  };

  async run(): Promise<void> {
    const { flags, args } = this.read(Rm);
    await forEachName(args, async (given) => {
      const name = given.replace(/^\/+/, '');
      if (name === '') throw new Error('container name cannot be empty');
      try {
        await this.client.delete(path`/containers/${name}`, {
          force: flags.force || undefined,
          v: flags.volumes || undefined,
          link: flags.link || undefined,
        });
      } catch (error) {
        // With --force, being gone is the wish fulfilled, and a script must not fail for it.
        if (!(flags.force && error instanceof ApiError && error.status === 404)) throw error;
        process.stderr.write(`${error.message}\n`);
        return undefined;
      }
      return given;
    });
  }
}
