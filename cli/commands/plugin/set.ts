import { BaseCommand } from '../../base-command.js';
import { path } from '../../client/client.js';

export default class Set extends BaseCommand {
  static override usage = 'PLUGIN KEY=VALUE [KEY=VALUE...]';
  static override arity = { least: 2 };
  static override flags = {};

  async run(): Promise<void> {
    const [plugin, ...settings] = this.read(Set).args as [string, ...string[]];
    await this.client.post(path`/plugins/${plugin}/set`, { body: settings });
  }
}
