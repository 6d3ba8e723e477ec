import { BaseCommand } from '../../base-command.js';
import { path } from '../../client/client.js';
import { writeOutput } from '../../client/output-file.js';
import { flag } from '../../flags.js';

export default class Export extends BaseCommand {
  static override usage = 'VOLUME';
  static override arity = { least: 1, most: 1 };
  static override flags = {
    freeze: flag.boolean({ description: 'Freeze the containers that use the volume meanwhile' }),
    output: flag.string({ char: 'o', description: 'Write to a file instead of STDOUT' }),
  };

  async run(): Promise<void> {
    const { flags, args } = this.read(Export);
    if (flags.output === '' && process.stdout.isTTY)
      throw new Error('cowardly refusing to save to a terminal. Use the -o flag or redirect');
    const response = await this.client.open('GET', path`/gantry/v1/volumes/${args[0] as string}/archive`, {
      query: { freeze: flags.freeze || undefined },
    });
    await writeOutput(response.body, flags.output, 'export volume');
  }
}
