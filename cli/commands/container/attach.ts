import { BaseCommand, ExitError } from '../../base-command.js';
import { path } from '../../client/client.js';
import { readConfig } from '../../client/config-file.js';
import type { ContainerDetails } from '../../client/types.js';
import { flag } from '../../flags.js';
import { parseDetachKeys } from '../../run/detach-keys.js';
import { converse, proxySignals } from '../../run/session.js';
import { stdinIsTerminal, terminalSize } from '../../terminal.js';
import { exitCode, resizeContainer } from './run.js';

export default class Attach extends BaseCommand {
  static override usage = 'CONTAINER';
  static override arity = { least: 1, most: 1 };
  static override flags = {
    'detach-keys': flag.string({ description: 'Keys that detach from the container' }),
    'no-stdin': flag.boolean({ description: 'Leave STDIN alone' }),
    'sig-proxy': flag.boolean({ description: 'Pass signals to the process', initial: true }),
  };

  async run(): Promise<void> {
    const { flags, args } = this.read(Attach);
    const { client } = this;
    const { Id: id, Config: config, State: state } = await client.get<ContainerDetails>(path`/containers/${args[0] as string}/json`);
    if (!state.Running) throw new Error('cannot attach to a stopped container, start it first');
    if (state.Paused) throw new Error('cannot attach to a paused container, unpause it first');
    if (state.Restarting) throw new Error('cannot attach to a restarting container, wait until it is running');
    const stdin = !flags['no-stdin'] && config.OpenStdin;
    if (stdin && config.Tty && !stdinIsTerminal()) throw new Error('the input device is not a TTY');
    const detachKeys = flags['detach-keys'] || (await readConfig(this.configFolder)).detachKeys || '';
    parseDetachKeys(detachKeys);
    const stopProxy = flags['sig-proxy'] && !config.Tty ? proxySignals(client, id) : () => undefined;
    const exited = await exitCode(client, id, 'not-running');
    const stream = await client.hijack(path`/containers/${id}/attach`, {
      query: { stream: true, stdin: stdin || undefined, stdout: true, stderr: true, detachKeys: detachKeys || undefined },
    });
    // Someone may have detached at this very size, and a shell draws its prompt again only when the size changes.
    const { height, width } = terminalSize();
    if (config.Tty && height > 0) await resizeContainer(client, id, { height: height + 1, width: width + 1 });
    const { detached } = await converse(stream, {
      tty: config.Tty,
      stdin,
      detachKeys,
      resize: (size) => void resizeContainer(client, id, size),
    });
    const code = detached ? 0 : await exited();
    stopProxy();
    if (code !== 0) throw new ExitError(code);
  }
}
