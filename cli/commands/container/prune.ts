import { BaseCommand } from '../../base-command.js';
import { agree, printDeleted, printReclaimed, prune, pruneFlags } from '../../run/prune.js';

export default class Prune extends BaseCommand {
  static override flags = pruneFlags;

  async run(): Promise<void> {
    const { flags } = this.read(Prune);
    await agree(flags.force, 'This will remove all stopped containers.');
    const answer = await prune(this.client, 'containers', flags.filter);
    printDeleted('Deleted Containers:', answer.ContainersDeleted ?? []);
    printReclaimed(answer.SpaceReclaimed ?? 0);
  }
}
