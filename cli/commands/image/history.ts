import { BaseCommand } from '../../base-command.js';
import { path } from '../../client/client.js';
import { flag } from '../../flags.js';
import { renderList } from '../../render/list.js';
import { ago, ellipsis, humanSize, rfc3339Local, shortId } from '../../render/units.js';
import { platformObject } from './rm.js';

interface HistoryEntry {
  Id: string;
  Created: number;
  CreatedBy: string;
  Size: number;
  Comment: string;
}

const shape = (human: boolean): Parameters<typeof renderList>[1] => ({
  headings: { ID: 'IMAGE', CreatedSince: 'CREATED', CreatedAt: 'CREATED AT', CreatedBy: 'CREATED BY', Size: 'SIZE', Comment: 'COMMENT' },
  table: `{{.ID}}\t${human ? '{{.CreatedSince}}' : '{{.CreatedAt}}'}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}`,
  quiet: '{{.ID}}',
});

export default class History extends BaseCommand {
  static override usage = 'IMAGE';
  static override arity = { least: 1, most: 1 };
  static override flags = {
    format: flag.string({ description: "'table', 'table TEMPLATE', 'json', or a Go template for each line" }),
    human: flag.boolean({ char: 'H', description: 'Print sizes and dates for people', initial: true }),
    'no-trunc': flag.boolean({ description: 'Cut nothing short' }),
    platform: flag.string({ description: 'Show this platform of the image (os[/arch[/variant]])' }),
    quiet: flag.boolean({ char: 'q', description: 'Print ids only' }),
  };

  async run(): Promise<void> {
    const { flags, args } = this.read(History);
    const platform = flags.platform === '' ? undefined : JSON.stringify(platformObject(flags.platform));
    const entries = await this.client.get<HistoryEntry[]>(path`/images/${args[0] as string}/history`, { platform });
    const whole = flags['no-trunc'];
    const rows = entries.map((entry) => {
      const made = entry.CreatedBy.replaceAll('\t', ' ');
      // Some builders leave the time out, and the year 1970 would be a lie.
      const known = entry.Created > 0;
      return {
        ID: whole ? entry.Id : shortId(entry.Id),
        CreatedSince: known ? ago(entry.Created) : 'N/A',
        CreatedAt: known ? rfc3339Local(new Date(entry.Created * 1000)) : '',
        CreatedBy: whole ? made : ellipsis(made, 45),
        Size: flags.human ? humanSize(entry.Size, 3) : String(entry.Size),
        Comment: entry.Comment,
      };
    });
    process.stdout.write(renderList(rows, shape(flags.human), flags.format, flags.quiet));
  }
}
