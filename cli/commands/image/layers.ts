import type { LayerAnswer } from '@gantry/core/api/gantry/schema.js';
import { BaseCommand } from '../../base-command.js';
import { flag } from '../../flags.js';
import { type ListShape, renderList, type Row } from '../../render/list.js';
import { humanSize, shortId } from '../../render/units.js';

const shape: ListShape = {
  headings: {
    ChainID: 'CHAIN ID',
    DiffID: 'DIFF ID',
    Blob: 'BLOB',
    BlobSize: 'BLOB SIZE',
    Driver: 'DRIVER',
    Size: 'SIZE',
    UsedBy: 'USED BY',
    Snapshot: 'SNAPSHOT',
  },
  table: '{{.ChainID}}\t{{.BlobSize}}\t{{.Driver}}\t{{.Size}}\t{{.UsedBy}}',
  quiet: '{{.ChainID}}',
};

export default class Layers extends BaseCommand {
  static override usage = 'IMAGE';
  static override arity = { least: 1, most: 1 };
  static override flags = {
    format: flag.string({ description: "'table', 'table TEMPLATE', 'json', or a Go template for each line" }),
    'no-trunc': flag.boolean({ description: 'Cut nothing short' }),
    quiet: flag.boolean({ char: 'q', description: 'Print chain ids only' }),
  };

  async run(): Promise<void> {
    const { flags, args } = this.read(Layers);
    const layers = await this.client.get<LayerAnswer[]>('/gantry/v1/layers', { image: args[0] as string });
    process.stdout.write(
      renderList(
        layers.flatMap((layer) => rows(layer, flags['no-trunc'])),
        shape,
        flags.format,
        flags.quiet,
      ),
    );
  }
}

/** One line for each place where the layer is unpacked, and one for a layer that is a blob alone. */
const rows = (layer: LayerAnswer, whole: boolean): Row[] => {
  const short = (id: string): string => (whole ? id : shortId(id));
  const common = {
    ChainID: short(layer.ChainId),
    DiffID: short(layer.DiffId),
    Blob: short(layer.Blob),
    BlobSize: layer.BlobSize === null ? '<missing>' : humanSize(layer.BlobSize),
  };
  if (layer.Places.length === 0) return [{ ...common, Driver: '<none>', Size: '', UsedBy: '', Snapshot: '' }];
  return layer.Places.map((place) => ({
    ...common,
    Driver: place.Driver,
    Size: humanSize(place.Size),
    UsedBy: place.UsedBy.map(({ Kind, Id, Name }) => `${Kind} ${Name || short(Id)}`).join(', '),
    Snapshot: short(place.Snapshot),
  }));
};
