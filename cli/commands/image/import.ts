import { BaseCommand } from '../../base-command.js';
import { openInput } from '../../client/input-file.js';
import { parseReference } from '../../client/reference.js';
import { documents } from '../../client/stream.js';
import type { ProgressMessage } from '../../client/types.js';
import { flag } from '../../flags.js';
import { showProgress } from '../../render/progress.js';

export default class Import extends BaseCommand {
  static override usage = 'file|URL|- [REPOSITORY[:TAG]]';
  static override arity = { least: 1, most: 2 };
  static override flags = {
    change: flag.list({ char: 'c', description: 'Apply a Dockerfile instruction to the image' }),
    message: flag.string({ char: 'm', description: 'Message' }),
    platform: flag.string({ description: 'Platform of the image (os[/arch[/variant]])' }),
  };

  async run(): Promise<void> {
    const { flags, args } = this.read(Import);
    const [source, name] = args as [string, string?];
    if (name !== undefined) parseReference(name);
    const remote = /^(https?|ftp):\/\//.test(source);
    const response = await this.client.open('POST', '/images/create', {
      query: {
        fromSrc: remote ? source : '-',
        repo: name,
        message: flags.message || undefined,
        changes: flags.change,
        platform: flags.platform || undefined,
      },
      ...(remote ? {} : { body: await openInput(source), headers: { 'Content-Type': 'application/x-tar' } }),
    });
    await showProgress(documents<ProgressMessage>(response.body), process.stdout);
  }
}
