import { BaseCommand } from '../../base-command.js';
import { path } from '../../client/client.js';
import { writeOutput } from '../../client/output-file.js';
import { flag } from '../../flags.js';

export default class Export extends BaseCommand {
  static override usage = 'CONTAINER';
  static override arity = { least: 1, most: 1 };
  static override flags = { output: flag.string({ char: 'o', description: 'Write to a file instead of STDOUT' }) };

  async run(): Promise<void> {
    const { flags, args } = this.read(Export);
    if (flags.output === '' && process.stdout.isTTY)
      throw new Error('cowardly refusing to save to a terminal. Use the -o flag or redirect');
    const response = await this.client.open('GET', path`/containers/${args[0] as string}/export`);
    await writeOutput(response.body, flags.output, 'export container');
  }
}
