import { BaseCommand, warn } from '../../base-command.js';
import { flag } from '../../flags.js';
import { type ListShape, renderList } from '../../render/list.js';

interface Exposure {
  Ports: {
    Container: string;
    ContainerID: string;
    Network: string;
    Protocol: string;
    ContainerPort: number;
    Address: string;
    Port: number;
    Reach: string;
  }[];
  Warnings: string[];
}

const shape: ListShape = {
  headings: { Container: 'CONTAINER', Network: 'NETWORK', Target: 'PORT', Address: 'ADDRESS', From: 'REACHABLE FROM' },
  table: '{{.Container}}\t{{.Network}}\t{{.Target}}\t{{.Address}}\t{{.From}}',
  quiet: '{{.Container}}',
  raw: 'container: {{.Container}}\nnetwork: {{.Network}}\nport: {{.Target}}\naddress: {{.Address}}\nfrom: {{.From}}\n',
};

const sources: Readonly<Record<string, string>> = {
  'this-host': 'this host only',
  address: 'whoever reaches that address of the host',
  everyone: 'whoever reaches the host',
  routes: 'whoever has a route to that address',
  'host-network': "whoever reaches the host: the container's ports are the host's",
};

export default class Exposed extends BaseCommand {
  static override description = 'Containers that are not listed are reached by the host and by containers of their own networks only.';
  static override flags = { format: flag.string({ description: "'table', 'table TEMPLATE', 'json', or a Go template for each line" }) };

  async run(): Promise<void> {
    const { flags } = this.read(Exposed);
    const { Ports: ports, Warnings: warnings } = await this.client.get<Exposure>('/gantry/v1/networks/exposed');
    const rows = ports
      .map((port) => ({
        Container: port.Container || port.ContainerID.slice(0, 12),
        ContainerID: port.ContainerID,
        Network: port.Network,
        Target: port.ContainerPort === 0 ? 'all' : `${port.ContainerPort}/${port.Protocol}`,
        Address: place(port.Address, port.Port),
        From: sources[port.Reach] ?? port.Reach,
      }))
      .toSorted((a, b) => a.Container.localeCompare(b.Container, 'en', { numeric: true }));
    process.stdout.write(renderList(rows, shape, flags.format, false));
    for (const text of warnings) warn(`WARNING: ${text}`);
  }
}

const place = (address: string, port: number): string => {
  if (port === 0) return address || '*';
  return `${address.includes(':') ? `[${address}]` : address}:${port}`;
};
