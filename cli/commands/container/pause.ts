import { VerbCommand } from './names.js';

export default class Pause extends VerbCommand {
  static override flags = {};

  async run(): Promise<void> {
    await this.post(this.read(Pause).args, 'pause');
  }
}
