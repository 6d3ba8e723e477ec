import { BaseCommand, warn } from '../../base-command.js';
import { filterQuery } from '../../client/client.js';
import { readConfig } from '../../client/config-file.js';
import type { ContainerSummary } from '../../client/types.js';
import { flag } from '../../flags.js';
import { containerRow, containerShape } from '../../render/containers.js';
import { renderList } from '../../render/list.js';

export default class Ls extends BaseCommand {
  static override flags = {
    all: flag.boolean({ char: 'a', description: 'Show stopped containers too' }),
    filter: flag.filter({ char: 'f', description: 'Show only what meets a condition' }),
    format: flag.string({ description: "'table', 'table TEMPLATE', 'json', or a Go template for each line" }),
    last: flag.integer({ char: 'n', description: 'Show the last n containers, stopped ones too', initial: -1 }),
    latest: flag.boolean({ char: 'l', description: 'Show the newest container, stopped or not' }),
    'no-trunc': flag.boolean({ description: 'Cut nothing short' }),
    quiet: flag.boolean({ char: 'q', description: 'Print ids only' }),
    size: flag.boolean({ char: 's', description: 'Show sizes' }),
  };

  async run(): Promise<void> {
    const { flags } = this.read(Ls);
    if (flags.quiet && flags.format !== '') warn('WARNING: Ignoring custom format, because both --format and --quiet are set.');
    const format = flags.quiet ? '' : flags.format || (await readConfig(this.configFolder)).psFormat || '';
    const limit = flags.latest && flags.last === -1 ? 1 : flags.last;
    const size = flags.size || /\{\{[^}]*(\.Size\b|json \.\s*\}\})/.test(format);
    const containers = await this.client.get<ContainerSummary[]>('/containers/json', {
      all: flags.all || undefined,
      size: size || undefined,
      limit: limit > 0 ? limit : undefined,
      filters: filterQuery(flags.filter),
    });
    const rows = containers.map((each) => containerRow(each, flags['no-trunc']));
    process.stdout.write(renderList(rows, containerShape(flags.size), format, flags.quiet));
  }
}
