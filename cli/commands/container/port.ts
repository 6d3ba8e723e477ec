import { BaseCommand, print } from '../../base-command.js';
import { path } from '../../client/client.js';
import type { ContainerDetails } from '../../client/types.js';

export default class Port extends BaseCommand {
  static override usage = 'CONTAINER [PRIVATE_PORT[/PROTO]]';
  static override arity = { least: 1, most: 2 };
  static override flags = {};

  async run(): Promise<void> {
    const [container, wanted] = this.read(Port).args as [string, string?];
    const details = await this.client.get<ContainerDetails>(path`/containers/${container}/json`);
    const ports = details.NetworkSettings.Ports ?? {};
    if (wanted !== undefined) {
      const [port, protocol = 'tcp'] = wanted.split('/', 2) as [string, string?];
      if (!/^\d+$/.test(port) || Number(port) > 65535) throw new Error(`invalid port (${wanted})`);
      const bindings = ports[`${port}/${protocol}`] ?? [];
      if (bindings.length === 0) throw new Error(`no public port '${wanted}' published for ${container}`);
      for (const line of bindings.map(address).sort()) print(line);
      return;
    }
    const lines = Object.entries(ports).flatMap(([port, bindings]) =>
      (bindings ?? []).map((binding) => ({ port, text: `${port} -> ${address(binding)}` })),
    );
    lines.sort((left, right) => Number.parseInt(left.port, 10) - Number.parseInt(right.port, 10) || (left.text < right.text ? -1 : 1));
    for (const line of lines) print(line.text);
  }
}

const address = ({ HostIp, HostPort }: { HostIp: string; HostPort: string }): string =>
  `${HostIp.includes(':') ? `[${HostIp}]` : HostIp}:${HostPort}`;
