import { BaseCommand } from '../../base-command.js';
import { path } from '../../client/client.js';
import { parsePorts } from '../../run/ports.js';

export default class PortAdd extends BaseCommand {
  static override usage = 'CONTAINER [[HOST_IP:]HOST_PORT:]PORT[/PROTO] [...]';
  static override arity = { least: 2 };
  static override flags = {};

  async run(): Promise<void> {
    const [container, ...specs] = this.read(PortAdd).args as [string, ...string[]];
    await this.client.post(path`/gantry/v1/containers/${container}/ports`, { body: { Add: parsePorts(specs, []).bindings } });
  }
}
