import { BaseCommand } from '../../base-command.js';
import { filterQuery } from '../../client/client.js';
import { readConfig } from '../../client/config-file.js';
import { flag } from '../../flags.js';
import { type ListShape, renderList } from '../../render/list.js';

interface PluginSummary {
  Id: string;
  Name: string;
  Enabled: boolean;
  PluginReference?: string;
  Config: { Description?: string };
}

const shape: ListShape = {
  headings: { ID: 'ID', Name: 'NAME', Description: 'DESCRIPTION', Enabled: 'ENABLED', PluginReference: 'PLUGIN REFERENCE' },
  table: '{{.ID}}\t{{.Name}}\t{{.Description}}\t{{.Enabled}}',
  quiet: '{{.ID}}',
  raw: 'plugin_id: {{.ID}}\nname: {{.Name}}\ndescription: {{.Description}}\nenabled: {{.Enabled}}\n',
};

export default class Ls extends BaseCommand {
  static override flags = {
    filter: flag.filter({ char: 'f', description: 'Show only what meets a condition, such as enabled=true' }),
    format: flag.string({ description: "'table', 'table TEMPLATE', 'json', or a Go template for each line" }),
    'no-trunc': flag.boolean({ description: 'Do not shorten anything' }),
    quiet: flag.boolean({ char: 'q', description: 'Print ids only' }),
  };

  async run(): Promise<void> {
    const { flags } = this.read(Ls);
    const plugins = await this.client.get<PluginSummary[] | null>('/plugins', { filters: filterQuery(flags.filter) });
    const whole = flags['no-trunc'];
    const format = flags.format || (flags.quiet ? '' : ((await readConfig(this.configFolder)).pluginsFormat ?? ''));
    const rows = (plugins ?? []).map(({ Id, Name, Enabled, PluginReference = '', Config }) => {
      const description = (Config.Description ?? '').replaceAll('\n', ' ').replaceAll('\r', ' ');
      return {
        ID: whole ? Id : Id.slice(0, 12),
        Name,
        Description: whole || description.length <= 45 ? description : `${description.slice(0, 44)}…`,
        Enabled: String(Enabled),
        PluginReference,
      };
    });
    process.stdout.write(renderList(rows, shape, format, flags.quiet));
  }
}
