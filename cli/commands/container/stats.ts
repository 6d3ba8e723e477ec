import { BaseCommand, SeveralErrors } from '../../base-command.js';
import { ApiError, filterQuery, path } from '../../client/client.js';
import { readConfig } from '../../client/config-file.js';
import { documents } from '../../client/stream.js';
import type { ContainerSummary } from '../../client/types.js';
import { flag } from '../../flags.js';
import { renderList } from '../../render/list.js';
import { type StatsSample, statsRow, statsShape } from '../../render/stats.js';

const redrawEvery = 500;

export default class Stats extends BaseCommand {
  static override usage = '[CONTAINER...]';
  static override arity = { least: 0 };
  static override flags = {
    all: flag.boolean({ char: 'a', description: 'Show stopped containers too' }),
    format: flag.string({ description: "'table', 'table TEMPLATE', 'json', or a Go template for each line" }),
    'no-stream': flag.boolean({ description: 'Show one sample and end' }),
    'no-trunc': flag.boolean({ description: 'Cut nothing short' }),
  };

  private readonly samples = new Map<string, StatsSample | undefined>();
  private readonly failures: string[] = [];

  async run(): Promise<void> {
    const { flags, args } = this.read(Stats);
    const format = flags.format || (await readConfig(this.configFolder)).statsFormat || '';
    const everything = args.length === 0;
    for (const name of everything ? await this.running(flags.all) : args) this.samples.set(name, undefined);
    if (flags['no-stream']) {
      await Promise.all([...this.samples.keys()].map((name) => this.sample(name)));
      this.failIfAny();
      process.stdout.write(this.table(format, flags['no-trunc']));
      return;
    }
    const followed = [...this.samples.keys()].map((name) => this.follow(name, everything));
    // A name that is not there is told at once, before the screen is taken.
    await Promise.race([Promise.all(followed), new Promise((resolve) => setTimeout(resolve, redrawEvery))]);
    this.failIfAny();
    if (everything) void this.watch(flags.all);
    while (everything || this.samples.size > 0) {
      const table = this.table(format, flags['no-trunc']);
      process.stdout.write(process.stdout.isTTY ? `\u001b[H${table.replaceAll('\n', '\u001b[K\n')}\u001b[J` : table);
      await new Promise((resolve) => setTimeout(resolve, redrawEvery));
    }
  }

  private failIfAny(): void {
    if (this.failures.length > 0) throw new SeveralErrors(this.failures);
  }

  private table(format: string, whole: boolean): string {
    const rows = [...this.samples].map(([name, sample]) => statsRow(name, sample, whole));
    return renderList(rows, statsShape(true), format);
  }

  private async running(all: boolean): Promise<string[]> {
    const containers = await this.client.get<ContainerSummary[]>('/containers/json', { all: all || undefined });
    return containers.map((each) => each.Id);
  }

  private async sample(name: string): Promise<void> {
    try {
      this.samples.set(name, await this.client.get<StatsSample>(path`/containers/${name}/stats`, { stream: false }));
    } catch (error) {
      this.failures.push((error as Error).message);
    }
  }

  private async follow(name: string, quietly: boolean): Promise<void> {
    try {
      const response = await this.client.open('GET', path`/containers/${name}/stats`, { query: { stream: true } });
      for await (const sample of documents<StatsSample>(response.body)) if (this.samples.has(name)) this.samples.set(name, sample);
    } catch (error) {
      if (!quietly) this.failures.push((error as Error).message);
    }
    this.samples.delete(name);
  }

  /** New containers come into the table as they start. */
  private async watch(all: boolean): Promise<void> {
    const response = await this.client
      .open('GET', '/events', {
        query: { filters: filterQuery([['type', 'container'], ['event', 'start'], ...(all ? ([['event', 'create']] as const) : [])]) },
      })
      .catch((error: unknown) => {
        if (error instanceof ApiError) return undefined;
        throw error;
      });
    if (!response) return;
    for await (const event of documents<{ Actor: { ID: string } }>(response.body)) {
      if (this.samples.has(event.Actor.ID)) continue;
      this.samples.set(event.Actor.ID, undefined);
      void this.follow(event.Actor.ID, true);
    }
  }
}
