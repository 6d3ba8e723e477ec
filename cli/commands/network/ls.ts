import { BaseCommand } from '../../base-command.js';
import { filterQuery } from '../../client/client.js';
import { readConfig } from '../../client/config-file.js';
import { flag } from '../../flags.js';
import { type ListShape, renderList } from '../../render/list.js';
import { goTime, shortId } from '../../render/units.js';

interface NetworkSummary {
  Id: string;
  Name: string;
  Driver: string;
  Scope: string;
  Created: string;
  EnableIPv4?: boolean;
  EnableIPv6: boolean;
  Internal: boolean;
  Labels: Record<string, string> | null;
}

const shape: ListShape = {
  headings: {
    ID: 'NETWORK ID',
    Name: 'NAME',
    Driver: 'DRIVER',
    Scope: 'SCOPE',
    IPv4: 'IPV4',
    IPv6: 'IPV6',
    Internal: 'INTERNAL',
    Labels: 'LABELS',
    CreatedAt: 'CREATED AT',
  },
  table: '{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}',
  quiet: '{{.ID}}',
  raw: 'network_id: {{.ID}}\nname: {{.Name}}\ndriver: {{.Driver}}\nscope: {{.Scope}}\n',
};

export default class Ls extends BaseCommand {
  static override flags = {
    filter: flag.filter({ char: 'f', description: 'Show only what meets a condition' }),
    format: flag.string({ description: "'table', 'table TEMPLATE', 'json', or a Go template for each line" }),
    'no-trunc': flag.boolean({ description: 'Cut nothing short' }),
    quiet: flag.boolean({ char: 'q', description: 'Print ids only' }),
  };

  async run(): Promise<void> {
    const { flags } = this.read(Ls);
    const networks = await this.client.get<NetworkSummary[]>('/networks', { filters: filterQuery(flags.filter) });
    const format = flags.format || (flags.quiet ? '' : ((await readConfig(this.configFolder)).networksFormat ?? ''));
    const rows = networks
      .toSorted((left, right) => left.Name.localeCompare(right.Name, 'en', { numeric: true }))
      .map((network) => ({
        ID: flags['no-trunc'] ? network.Id : shortId(network.Id),
        Name: network.Name,
        Driver: network.Driver,
        Scope: network.Scope,
        IPv4: String(network.EnableIPv4 ?? false),
        IPv6: String(network.EnableIPv6),
        Internal: String(network.Internal),
        Labels: Object.entries(network.Labels ?? {})
          .map(([key, value]) => `${key}=${value}`)
          .join(','),
        CreatedAt: goTime(network.Created),
        Label: (name: unknown) => network.Labels?.[String(name)] ?? '',
      }));
    process.stdout.write(renderList(rows, shape, format, flags.quiet));
  }
}
