import { BaseCommand } from '../../base-command.js';
import { path } from '../../client/client.js';
import { parsePorts } from '../../run/ports.js';

export default class PortRm extends BaseCommand {
  static override usage = 'CONTAINER [[HOST_IP:]HOST_PORT:]PORT[/PROTO] [...]';
  static override description = 'A port without a host port stands for all that it is published on.';
  static override arity = { least: 2 };
  static override flags = {};

  async run(): Promise<void> {
    const [container, ...specs] = this.read(PortRm).args as [string, ...string[]];
    const { bindings } = parsePorts(specs, []);
    const remove = Object.fromEntries(
      Object.entries(bindings).map(([port, places]) => [port, places.some(({ HostPort }) => !HostPort) ? [] : places]),
    );
    await this.client.post(path`/gantry/v1/containers/${container}/ports`, { body: { Remove: remove } });
  }
}
