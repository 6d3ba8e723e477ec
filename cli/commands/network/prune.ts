import { BaseCommand } from '../../base-command.js';
import { agree, printDeleted, prune, pruneFlags } from '../../run/prune.js';

export default class Prune extends BaseCommand {
  static override flags = pruneFlags;

  async run(): Promise<void> {
    const { flags } = this.read(Prune);
    await agree(flags.force, 'This will remove all custom networks not used by at least one container.');
    printDeleted('Deleted Networks:', (await prune(this.client, 'networks', flags.filter)).NetworksDeleted ?? []);
  }
}
