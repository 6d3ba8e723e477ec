import { BaseCommand } from '../base-command.js';
import { filterQuery } from '../client/client.js';
import { registryAuth } from '../client/credentials.js';
import { flag } from '../flags.js';
import { type ListShape, renderList } from '../render/list.js';
import { ellipsis } from '../render/units.js';

interface SearchResult {
  name: string;
  description: string;
  star_count: number;
  is_official: boolean;
}

const shape: ListShape = {
  headings: { Name: 'NAME', Description: 'DESCRIPTION', StarCount: 'STARS', IsOfficial: 'OFFICIAL', IsAutomated: 'AUTOMATED' },
  table: '{{.Name}}\t{{.Description}}\t{{.StarCount}}\t{{.IsOfficial}}',
  quiet: '{{.Name}}',
};

export default class Search extends BaseCommand {
  static override usage = 'TERM';
  static override arity = { least: 1, most: 1 };
  static override flags = {
    filter: flag.filter({ char: 'f', description: 'Show only what meets a condition' }),
    format: flag.string({ description: "'table', 'table TEMPLATE', 'json', or a Go template for each line" }),
    limit: flag.integer({ description: 'Show no more than this many' }),
    'no-trunc': flag.boolean({ description: 'Cut nothing short' }),
  };

  async run(): Promise<void> {
    const { flags, args } = this.read(Search);
    const term = args[0] as string;
    const results = await this.client.json<SearchResult[]>('GET', '/images/search', {
      query: { term, limit: flags.limit > 0 ? flags.limit : undefined, filters: filterQuery(flags.filter) },
      headers: { 'X-Registry-Auth': await registryAuth(this.configFolder, term) },
    });
    const rows = results.map((result) => {
      const description = result.description.replaceAll(/[\r\n]/g, ' ').trim();
      return {
        Name: result.name,
        Description: flags['no-trunc'] ? description : ellipsis(description, 45),
        StarCount: String(result.star_count),
        IsOfficial: result.is_official ? '[OK]' : '',
        IsAutomated: '',
      };
    });
    process.stdout.write(renderList(rows, shape, flags.format));
  }
}
