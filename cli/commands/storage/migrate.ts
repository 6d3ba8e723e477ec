import type { MigrationStepAnswer } from '@gantry/core/api/gantry/schema.js';
import { BaseCommand, CommandError, print } from '../../base-command.js';
import { documents } from '../../client/stream.js';
import { flag } from '../../flags.js';
import { shortId } from '../../render/units.js';

export default class Migrate extends BaseCommand {
  static override usage = '--from DRIVER --to DRIVER';
  static override flags = {
    from: flag.string({ description: 'Storage driver that gives its images and stopped containers away' }),
    to: flag.string({ description: 'Storage driver that gets them' }),
  };

  async run(): Promise<void> {
    const { flags } = this.read(Migrate);
    if (flags.from === '' || flags.to === '') throw new CommandError('both --from and --to are required', 125, true);
    const response = await this.client.open('POST', '/gantry/v1/storage/migrate', { query: { from: flags.from, to: flags.to } });
    const counts = { moved: 0, skipped: 0, failed: 0 };
    for await (const step of documents<MigrationStepAnswer | { error: string }>(response.body)) {
      if ('error' in step) throw new Error(step.error);
      counts[step.Outcome]++;
      print(
        `${step.Outcome.padEnd(7)} ${step.Kind.padEnd(9)} ${step.Name || shortId(step.Id)}${step.Reason === '' ? '' : `: ${step.Reason}`}`,
      );
    }
    print(`Moved ${counts.moved}, skipped ${counts.skipped}, failed ${counts.failed}.`);
    if (counts.skipped + counts.failed > 0) throw new CommandError(`not everything was moved from ${flags.from} to ${flags.to}`, 1);
  }
}
