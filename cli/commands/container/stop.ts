import { flag } from '../../flags.js';
import { VerbCommand } from './names.js';

export default class Stop extends VerbCommand {
  static override flags = {
    signal: flag.string({ char: 's', description: 'Signal to send' }),
    time: flag.integer({ description: 'Seconds to wait before killing it', hidden: true }),
    timeout: flag.integer({ char: 't', description: 'Seconds to wait before killing it' }),
  };

  async run(): Promise<void> {
    const { flags, args, given } = this.read(Stop);
    if (given.has('time') && given.has('timeout')) throw new Error('conflicting options: cannot specify both --timeout and --time');
    const seconds = given.has('timeout') ? flags.timeout : given.has('time') ? flags.time : undefined;
    await this.post(args, 'stop', { t: seconds, signal: flags.signal || undefined });
  }
}
