import { BaseCommand } from '../../base-command.js';
import { flag } from '../../flags.js';
import { agree, printDeleted, printReclaimed } from '../../run/prune.js';

export default class Prune extends BaseCommand {
  static override flags = {
    all: flag.boolean({ char: 'a', description: 'Remove unused layers of the default storage driver too' }),
    force: flag.boolean({ char: 'f', description: 'Do not ask' }),
  };

  async run(): Promise<void> {
    const { flags } = this.read(Prune);
    await agree(
      flags.force,
      `This will remove unpacked layers that no container uses${flags.all ? '' : ', except those of the default storage driver'}, and what crashes left.\nImages stay: their layers are unpacked again when they are needed.`,
    );
    const answer = await this.client.post<{ Removed: string[]; SpaceReclaimed: number }>('/gantry/v1/storage/prune', {
      query: { all: flags.all },
    });
    printDeleted('Removed layers:', answer.Removed);
    printReclaimed(answer.SpaceReclaimed);
  }
}
