import { BaseCommand } from '../../base-command.js';
import { check, checkFlags } from '../../run/check.js';

export default class Check extends BaseCommand {
  static override flags = checkFlags;

  async run(): Promise<void> {
    const { flags } = this.read(Check);
    await check(this.client, flags, false);
  }
}
