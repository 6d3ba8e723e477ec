import { flag } from '../../flags.js';
import { VerbCommand } from './names.js';

export default class Kill extends VerbCommand {
  static override flags = { signal: flag.string({ char: 's', description: 'Signal to send' }) };

  async run(): Promise<void> {
    const { flags, args } = this.read(Kill);
    await this.post(args, 'kill', { signal: flags.signal || undefined });
  }
}
