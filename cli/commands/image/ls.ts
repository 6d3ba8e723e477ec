import { BaseCommand, warn } from '../../base-command.js';
import { filterQuery } from '../../client/client.js';
import { readConfig } from '../../client/config-file.js';
import type { ImageSummary } from '../../client/types.js';
import { flag } from '../../flags.js';
import { imageRows, imageShape } from '../../render/images.js';
import { renderList } from '../../render/list.js';

export default class Ls extends BaseCommand {
  static override usage = '[REPOSITORY[:TAG]]';
  static override arity = { least: 0, most: 1 };
  static override flags = {
    all: flag.boolean({ char: 'a', description: 'Show intermediate images too' }),
    digests: flag.boolean({ description: 'Show digests' }),
    filter: flag.filter({ char: 'f', description: 'Show only what meets a condition' }),
    format: flag.string({ description: "'table', 'table TEMPLATE', 'json', or a Go template for each line" }),
    'no-trunc': flag.boolean({ description: 'Cut nothing short' }),
    quiet: flag.boolean({ char: 'q', description: 'Print ids only' }),
  };

  async run(): Promise<void> {
    const { flags, args } = this.read(Ls);
    const filters: [string, string][] = args[0] ? [...flags.filter, ['reference', args[0]]] : flags.filter;
    const images = await this.client.get<ImageSummary[]>('/images/json', { all: flags.all || undefined, filters: filterQuery(filters) });
    if (args[0] && images.length === 0 && args[0].length > 20 && /^[a-f0-9]+$/.test(args[0]))
      warn(`No images found matching "${args[0]}": did you mean "gantry image inspect ${args[0]}"?`);
    const format = flags.format || (flags.quiet ? '' : ((await readConfig(this.configFolder)).imagesFormat ?? ''));
    const digests = flags.digests || /\{\{[^}]*\.Digest\b/.test(format);
    const rows = [...images]
      .sort((left, right) => right.Created - left.Created)
      .flatMap((image) => imageRows(image, flags['no-trunc'], digests && !flags.quiet));
    process.stdout.write(renderList(rows, imageShape(flags.digests), format, flags.quiet));
  }
}
