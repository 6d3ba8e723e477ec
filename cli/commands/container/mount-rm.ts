import { BaseCommand } from '../../base-command.js';
import { path } from '../../client/client.js';

export default class MountRm extends BaseCommand {
  static override usage = 'CONTAINER TARGET';
  static override arity = { least: 2, most: 2 };
  static override flags = {};

  async run(): Promise<void> {
    const [container, target] = this.read(MountRm).args as [string, string];
    await this.client.delete(path`/gantry/v1/containers/${container}/mounts`, { target });
  }
}
