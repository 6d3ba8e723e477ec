import type { StorageAnswer } from '@gantry/core/api/gantry/schema.js';
import { BaseCommand } from '../../base-command.js';
import { flag } from '../../flags.js';
import { type ListShape, renderList } from '../../render/list.js';
import { humanSize } from '../../render/units.js';

const shape: ListShape = {
  headings: {
    Name: 'DRIVER',
    Default: 'DEFAULT',
    Layers: 'LAYERS',
    LayersSize: 'SIZE',
    Containers: 'CONTAINERS',
    ContainersSize: 'SIZE',
    Orphans: 'ORPHANS',
    OrphansSize: 'SIZE',
    Unavailable: 'CANNOT SERVE BECAUSE',
  },
  table:
    '{{.Name}}\t{{.Default}}\t{{.Layers}}\t{{.LayersSize}}\t{{.Containers}}\t{{.ContainersSize}}\t{{.Orphans}}\t{{.OrphansSize}}\t{{.Unavailable}}',
  quiet: '{{.Name}}',
};

export default class Ls extends BaseCommand {
  static override flags = {
    format: flag.string({ description: "'table', 'table TEMPLATE', 'json', or a Go template for each line" }),
    quiet: flag.boolean({ char: 'q', description: 'Print names only' }),
  };

  async run(): Promise<void> {
    const { flags } = this.read(Ls);
    const { Drivers, BlobsSize, LogsSize } = await this.client.get<StorageAnswer>('/gantry/v1/storage');
    const rows = Drivers.map((driver) => ({
      ...driver,
      Default: driver.Default ? '*' : '',
      LayersSize: humanSize(driver.LayersSize),
      ContainersSize: humanSize(driver.ContainersSize),
      OrphansSize: humanSize(driver.OrphansSize),
    }));
    process.stdout.write(renderList(rows, shape, flags.format, flags.quiet));
    if (flags.quiet || (flags.format !== '' && flags.format !== 'table')) return;
    process.stdout.write(`\nBlobs: ${humanSize(BlobsSize)}, for all drivers together. Logs of containers: ${humanSize(LogsSize)}.\n`);
  }
}
