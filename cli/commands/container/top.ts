import { BaseCommand } from '../../base-command.js';
import { path } from '../../client/client.js';
import { align } from '../../render/table.js';

export default class Top extends BaseCommand {
  static override usage = 'CONTAINER [ps OPTIONS]';
  static override arity = { least: 1 };
  static override interspersed = false;
  static override flags = {};

  async run(): Promise<void> {
    const [container, ...options] = this.read(Top).args as [string, ...string[]];
    const query = options.length > 0 ? { ps_args: options.join(' ') } : {};
    const { Titles, Processes } = await this.client.get<{ Titles: string[]; Processes: string[][] | null }>(
      path`/containers/${container}/top`,
      query,
    );
    const text = [Titles, ...(Processes ?? [])].map((cells) => cells.join('\t')).join('\n');
    process.stdout.write(`${align(text, { minimum: 20, padding: 3 })}\n`);
  }
}
