import { BaseCommand } from '../../base-command.js';
import { path } from '../../client/client.js';
import { parseMount } from '../../run/mounts.js';

export default class MountAdd extends BaseCommand {
  static override usage = 'CONTAINER type=TYPE,source=SOURCE,target=TARGET[,...]';
  static override arity = { least: 2, most: 2 };
  static override flags = {};

  async run(): Promise<void> {
    const [container, mount] = this.read(MountAdd).args as [string, string];
    await this.client.post(path`/gantry/v1/containers/${container}/mounts`, { body: parseMount(mount) });
  }
}
