import { BaseCommand } from '../../base-command.js';
import { path } from '../../client/client.js';
import { demultiplex } from '../../client/stream.js';
import { flag } from '../../flags.js';

export default class Logs extends BaseCommand {
  static override usage = 'PLUGIN';
  static override arity = { least: 1, most: 1 };
  static override flags = {
    follow: flag.boolean({ char: 'f', description: 'Go on as more is written' }),
    tail: flag.string({ char: 'n', description: 'Only the last n lines', initial: 'all' }),
    timestamps: flag.boolean({ char: 't', description: 'Show the time of each line' }),
  };

  async run(): Promise<void> {
    const { flags, args } = this.read(Logs);
    const response = await this.client.open('GET', path`/gantry/v1/plugins/${args[0] as string}/logs`, {
      query: {
        follow: flags.follow || undefined,
        tail: flags.tail === 'all' ? undefined : flags.tail,
        timestamps: flags.timestamps || undefined,
      },
    });
    await demultiplex(response.body, process.stdout, process.stderr);
  }
}
