import { BaseCommand } from '../../base-command.js';
import { copyFlags, copyVolume } from '../../run/volume-copy.js';

export default class Clone extends BaseCommand {
  static override usage = 'VOLUME NEW_NAME';
  static override arity = { least: 2, most: 2 };
  static override flags = copyFlags;

  async run(): Promise<void> {
    const { flags, args } = this.read(Clone);
    await copyVolume(this.client, 'clone', args, flags);
  }
}
