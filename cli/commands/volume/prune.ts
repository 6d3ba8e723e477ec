import { BaseCommand } from '../../base-command.js';
import { compareVersions } from '../../client/client.js';
import { flag } from '../../flags.js';
import { agree, printDeleted, printReclaimed, prune, pruneFlags } from '../../run/prune.js';

export default class Prune extends BaseCommand {
  static override flags = { all: flag.boolean({ char: 'a', description: 'Remove volumes with a name too' }), ...pruneFlags };

  async run(): Promise<void> {
    const { flags } = this.read(Prune);
    const old = compareVersions(await this.client.version(), '1.42') < 0;
    if (flags.all && flags.filter.some(([key]) => key === 'all'))
      throw new Error('conflicting options: cannot specify both --all and --filter all=1');
    // An engine before 1.42 has no such choice and removes those with a name in any case: the question must say so.
    const everything = flags.all || old;
    await agree(
      flags.force,
      everything
        ? 'This will remove all local volumes not used by at least one container.'
        : 'This will remove anonymous local volumes not used by at least one container.',
    );
    const answer = await prune(this.client, 'volumes', flags.all && !old ? [...flags.filter, ['all', 'true']] : flags.filter);
    printDeleted('Deleted Volumes:', answer.VolumesDeleted ?? []);
    printReclaimed(answer.SpaceReclaimed ?? 0);
  }
}
