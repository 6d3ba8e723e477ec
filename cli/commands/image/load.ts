import { BaseCommand } from '../../base-command.js';
import { openInput } from '../../client/input-file.js';
import { documents, copyTo } from '../../client/stream.js';
import type { ProgressMessage } from '../../client/types.js';
import { flag } from '../../flags.js';
import { showProgress } from '../../render/progress.js';
import { stdinIsTerminal, stdoutIsTerminal } from '../../terminal.js';
import { platformObject } from './rm.js';

export default class Load extends BaseCommand {
  static override flags = {
    input: flag.string({ char: 'i', description: 'Read from a file instead of STDIN' }),
    platform: flag.string({ description: 'Load only this platform (os[/arch[/variant]])' }),
    quiet: flag.boolean({ char: 'q', description: 'Show no progress' }),
  };

  async run(): Promise<void> {
    const { flags } = this.read(Load);
    if (flags.input === '' && stdinIsTerminal()) throw new Error('requested load from stdin, but stdin is empty');
    const body = await openInput(flags.input || '-');
    const response = await this.client.open('POST', '/images/load', {
      query: {
        quiet: flags.quiet || !stdoutIsTerminal(),
        platform: flags.platform === '' ? undefined : JSON.stringify(platformObject(flags.platform)),
      },
      headers: { 'Content-Type': 'application/x-tar' },
      body,
    });
    if (response.headers.get('content-type')?.startsWith('application/json'))
      await showProgress(documents<ProgressMessage>(response.body), process.stdout);
    else await copyTo(response.body, process.stdout);
  }
}
