import { BaseCommand, print } from '../../base-command.js';
import { path } from '../../client/client.js';
import { flag } from '../../flags.js';
import { renderList } from '../../render/list.js';

const kinds = ['C', 'A', 'D'];

export default class Diff extends BaseCommand {
  static override usage = 'CONTAINER';
  static override arity = { least: 1, most: 1 };
  static override flags = { format: flag.string({ description: "'table', 'json', or a Go template for each line", hidden: true }) };

  async run(): Promise<void> {
    const { flags, args } = this.read(Diff);
    const changes = (await this.client.get<{ Path: string; Kind: number }[] | null>(path`/containers/${args[0] as string}/changes`)) ?? [];
    const rows = changes.map((change) => ({ Type: kinds[change.Kind] ?? '?', Path: change.Path }));
    if (flags.format === '') {
      for (const row of rows) print(`${row.Type} ${row.Path}`);
      return;
    }
    process.stdout.write(
      renderList(
        rows,
        { headings: { Type: 'CHANGE TYPE', Path: 'PATH' }, table: '{{.Type}}\t{{.Path}}', quiet: '{{.Path}}' },
        flags.format,
      ),
    );
  }
}
