import { BaseCommand } from '../../base-command.js';
import { filterQuery } from '../../client/client.js';
import { readConfig } from '../../client/config-file.js';
import { flag } from '../../flags.js';
import { type ListShape, renderList } from '../../render/list.js';

interface VolumeSummary {
  Name: string;
  Driver: string;
  Scope: string;
  Mountpoint: string;
  Labels: Record<string, string> | null;
  UsageData?: { Size: number; RefCount: number };
}

const shape: ListShape = {
  headings: {
    Name: 'VOLUME NAME',
    Driver: 'DRIVER',
    Scope: 'SCOPE',
    Mountpoint: 'MOUNTPOINT',
    Labels: 'LABELS',
    Links: 'LINKS',
    Size: 'SIZE',
    Availability: 'AVAILABILITY',
    Group: 'GROUP',
    Status: 'STATUS',
  },
  table: '{{.Driver}}\t{{.Name}}',
  quiet: '{{.Name}}',
  raw: 'name: {{.Name}}\ndriver: {{.Driver}}\n',
};

export default class Ls extends BaseCommand {
  static override flags = {
    filter: flag.filter({ char: 'f', description: 'Show only what meets a condition' }),
    format: flag.string({ description: "'table', 'table TEMPLATE', 'json', or a Go template for each line" }),
    quiet: flag.boolean({ char: 'q', description: 'Print names only' }),
  };

  async run(): Promise<void> {
    const { flags } = this.read(Ls);
    const { Volumes, Warnings } = await this.client.get<{ Volumes: VolumeSummary[] | null; Warnings?: string[] | null }>('/volumes', {
      filters: filterQuery(flags.filter),
    });
    for (const warning of Warnings ?? []) process.stderr.write(`WARNING: ${warning}\n`);
    const format = flags.format || (flags.quiet ? '' : ((await readConfig(this.configFolder)).volumesFormat ?? ''));
    const rows = (Volumes ?? [])
      .toSorted((left, right) => left.Name.localeCompare(right.Name, 'en', { numeric: true }))
      .map((volume) => ({
        Name: volume.Name,
        Driver: volume.Driver,
        Scope: volume.Scope,
        Mountpoint: volume.Mountpoint,
        Labels: Object.entries(volume.Labels ?? {})
          .map(([key, value]) => `${key}=${value}`)
          .join(','),
        Links: 'N/A',
        Size: 'N/A',
        Availability: 'N/A',
        Group: 'N/A',
        Status: 'N/A',
        Label: (name: unknown) => volume.Labels?.[String(name)] ?? '',
      }));
    process.stdout.write(renderList(rows, shape, format, flags.quiet));
  }
}
