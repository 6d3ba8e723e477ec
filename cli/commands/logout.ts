import { BaseCommand, print } from '../base-command.js';
import { eraseCredentials, hubServer, serverKey } from '../client/credentials.js';

export default class Logout extends BaseCommand {
  static override usage = '[SERVER]';
  static override arity = { least: 0, most: 1 };
  static override flags = {};

  async run(): Promise<void> {
    const { args } = this.read(Logout);
    const server = args[0] ? serverKey(args[0]) : hubServer;
    print(`Removing login credentials for ${server}`);
    await eraseCredentials(this.configFolder, server);
  }
}
