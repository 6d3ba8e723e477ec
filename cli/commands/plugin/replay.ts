import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { exchange } from '@gantry/plugins/sdk/check/wire.js';
import { BaseCommand, print } from '../../base-command.js';
import { differences, readRecording } from '../../plugin/recording.js';
import { printable } from '../../render/quote.js';

export default class Replay extends BaseCommand {
  static override usage = 'FILE SOCKET';
  static override arity = { least: 2, most: 2 };
  static override flags = {};

  async run(): Promise<void> {
    const { args } = this.read(Replay);
    const [file, socket] = args as [string, string];
    let different = 0;
    for (const call of readRecording(readFileSync(file, 'utf8'), file)) {
      // Archives and log streams are not in a recording, so they cannot be sent again.
      if (/^(GraphDriver\.(Diff|ApplyDiff)|LogDriver\.ReadLogs)$/.test(call.Method)) {
        print(`skip  ${call.Method}: its bytes are not recorded`);
        continue;
      }
      const { status, text, answer } = await exchange(resolve(socket), call.Method, call.Request);
      const changed = [
        ...(call.Status !== undefined && call.Status !== status ? [`status was ${call.Status} and is ${status || `none (${text})`}`] : []),
        ...(call.Response === undefined ? [] : differences(call.Response, answer)),
      ];
      print(printable(`${changed.length === 0 ? 'same' : 'DIFF'}  ${call.Method} ${JSON.stringify(call.Request ?? null).slice(0, 200)}`));
      for (const line of changed) print(printable(`      ${line}`));
      if (changed.length > 0) different++;
    }
    if (different > 0) process.exitCode = 1;
  }
}
