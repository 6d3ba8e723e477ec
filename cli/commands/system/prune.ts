import { BaseCommand } from '../../base-command.js';
import { ApiError } from '../../client/client.js';
import { flag } from '../../flags.js';
import { agree, deletedImages, printDeleted, printReclaimed, prune, type PruneAnswer, pruneFlags } from '../../run/prune.js';

export default class Prune extends BaseCommand {
  static override flags = {
    all: flag.boolean({ char: 'a', description: 'Remove every image that no container uses' }),
    ...pruneFlags,
    volumes: flag.boolean({ description: 'Remove anonymous volumes too' }),
  };

  async run(): Promise<void> {
    const { flags } = this.read(Prune);
    if (flags.volumes && flags.filter.some(([key]) => key === 'until'))
      throw new Error('ERROR: The "until" filter is not supported with "--volumes"');
    const parts = [
      'all stopped containers',
      'all networks not used by at least one container',
      ...(flags.volumes ? ['all anonymous volumes not used by at least one container'] : []),
      flags.all ? 'all images without at least one container associated to them' : 'all dangling images',
      'unused build cache',
    ];
    await agree(flags.force, `This will remove:\n${parts.map((part) => `  - ${part}`).join('\n')}\n`);
    const { client } = this;
    let reclaimed = 0;
    const step = async (
      kind: string,
      filters: readonly (readonly [string, string])[],
      tell: (answer: PruneAnswer) => void,
    ): Promise<void> => {
      const answer = await prune(client, kind, filters);
      tell(answer);
      reclaimed += answer.SpaceReclaimed ?? 0;
    };
    await step('containers', flags.filter, (answer) => printDeleted('Deleted Containers:', answer.ContainersDeleted ?? []));
    await step('networks', flags.filter, (answer) => printDeleted('Deleted Networks:', answer.NetworksDeleted ?? []));
    if (flags.volumes) await step('volumes', flags.filter, (answer) => printDeleted('Deleted Volumes:', answer.VolumesDeleted ?? []));
    await step('images', [...flags.filter, ['dangling', String(!flags.all)]], (answer) =>
      printDeleted('Deleted Images:', deletedImages(answer)),
    );
    try {
      await step('build', flags.filter, (answer) => printDeleted('Deleted build cache objects:', answer.CachesDeleted ?? []));
    } catch (error) {
      // An engine without a builder has no cache to clean.
      if (!(error instanceof ApiError) || ![404, 501].includes(error.status)) throw error;
    }
    printReclaimed(reclaimed);
  }
}
