import { BaseCommand } from '../../base-command.js';
import { flag } from '../../flags.js';
import { agree, deletedImages, printDeleted, printReclaimed, prune, pruneFlags } from '../../run/prune.js';

export default class Prune extends BaseCommand {
  static override flags = { all: flag.boolean({ char: 'a', description: 'Remove every image that no container uses' }), ...pruneFlags };

  async run(): Promise<void> {
    const { flags } = this.read(Prune);
    await agree(
      flags.force,
      flags.all
        ? 'This will remove all images without at least one container associated to them.'
        : 'This will remove all dangling images.',
    );
    const answer = await prune(this.client, 'images', [...flags.filter, ['dangling', String(!flags.all)]]);
    printDeleted('Deleted Images:', deletedImages(answer));
    printReclaimed(answer.SpaceReclaimed ?? 0);
  }
}
