import { BaseCommand } from '../../base-command.js';
import { path } from '../../client/client.js';
import { writeOutput } from '../../client/output-file.js';
import { flag } from '../../flags.js';
import { platformObject } from './rm.js';

export default class Save extends BaseCommand {
  static override usage = 'IMAGE [IMAGE...]';
  static override arity = { least: 1 };
  static override flags = {
    output: flag.string({ char: 'o', description: 'Write to a file instead of STDOUT' }),
    platform: flag.string({ description: 'Save only this platform (os[/arch[/variant]])' }),
  };

  async run(): Promise<void> {
    const { flags, args } = this.read(Save);
    if (flags.output === '' && process.stdout.isTTY)
      throw new Error('cowardly refusing to save to a terminal. Use the -o flag or redirect');
    const platform = flags.platform === '' ? undefined : JSON.stringify(platformObject(flags.platform));
    const response =
      args.length === 1
        ? await this.client.open('GET', path`/images/${args[0] as string}/get`, { query: { platform } })
        : await this.client.open('GET', '/images/get', { query: { names: args, platform } });
    await writeOutput(response.body, flags.output, 'save image');
  }
}
