import { VerbCommand } from './names.js';

export default class Unpause extends VerbCommand {
  static override flags = {};

  async run(): Promise<void> {
    await this.post(this.read(Unpause).args, 'unpause');
  }
}
