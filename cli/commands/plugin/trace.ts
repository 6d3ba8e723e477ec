import { createWriteStream } from 'node:fs';
import { BaseCommand } from '../../base-command.js';
import { path } from '../../client/client.js';
import { documents, put } from '../../client/stream.js';
import { flag } from '../../flags.js';
import { callLine, type RecordedCall } from '../../plugin/recording.js';
import { printable } from '../../render/quote.js';

export default class Trace extends BaseCommand {
  static override usage = 'PLUGIN';
  static override arity = { least: 1, most: 1 };
  static override flags = {
    record: flag.string({ description: 'Keep the calls in a file that `gantry plugin replay` repeats' }),
  };

  async run(): Promise<void> {
    const { flags, args } = this.read(Trace);
    const response = await this.client.open('GET', path`/gantry/v1/plugins/${args[0] as string}/trace`);
    const record = flags.record === '' ? undefined : createWriteStream(flags.record, { mode: 0o600 });
    for await (const call of documents<RecordedCall>(response.body)) {
      if (record) await put(record, Buffer.from(`${JSON.stringify(call)}\n`));
      await put(process.stdout, Buffer.from(`${printable(callLine(call))}\n`));
    }
  }
}
