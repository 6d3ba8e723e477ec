import { BaseCommand } from '../../base-command.js';
import { path } from '../../client/client.js';
import { copyTo, demultiplex } from '../../client/stream.js';
import type { ContainerDetails } from '../../client/types.js';
import { flag } from '../../flags.js';
import { timestamp } from '../../render/timestamp.js';

export default class Logs extends BaseCommand {
  static override usage = 'CONTAINER';
  static override arity = { least: 1, most: 1 };
  static override flags = {
    details: flag.boolean({ description: 'Show what else was kept with each line' }),
    follow: flag.boolean({ char: 'f', description: 'Go on as more is written' }),
    since: flag.string({ description: 'Only what is newer than a time (2013-01-02T13:23:37Z) or an age (42m)' }),
    tail: flag.string({ char: 'n', description: 'Only the last n lines', initial: 'all' }),
    timestamps: flag.boolean({ char: 't', description: 'Show the time of each line' }),
    until: flag.string({ description: 'Only what is older than a time or an age' }),
  };

  async run(): Promise<void> {
    const { flags, args } = this.read(Logs);
    const query = {
      stdout: true,
      stderr: true,
      since: bound('since', flags.since),
      until: bound('until', flags.until),
      timestamps: flags.timestamps || undefined,
      follow: flags.follow || undefined,
      tail: flags.tail,
      details: flags.details || undefined,
    };
    const details = await this.client.get<ContainerDetails>(path`/containers/${args[0] as string}/json`);
    const response = await this.client.open('GET', path`/containers/${details.Id}/logs`, { query });
    if (details.Config.Tty) await copyTo(response.body, process.stdout);
    else await demultiplex(response.body, process.stdout, process.stderr);
  }
}

const bound = (name: string, text: string): string | undefined => {
  if (text === '') return undefined;
  try {
    return timestamp(text);
  } catch (error) {
    throw new Error(`invalid value for "${name}": ${(error as Error).message}`);
  }
};
