import { BaseCommand, ExitError, forEachName, SeveralErrors } from '../../base-command.js';
import { path } from '../../client/client.js';
import { readConfig } from '../../client/config-file.js';
import type { ContainerDetails } from '../../client/types.js';
import { flag } from '../../flags.js';
import { parseDetachKeys } from '../../run/detach-keys.js';
import { converse, proxySignals } from '../../run/session.js';
import { stdinIsTerminal } from '../../terminal.js';
import { exitCode, resizeContainer } from './run.js';

export default class Start extends BaseCommand {
  static override usage = 'CONTAINER [CONTAINER...]';
  static override arity = { least: 1 };
  static override flags = {
    attach: flag.boolean({ char: 'a', description: 'Show its output and pass signals to it' }),
    'detach-keys': flag.string({ description: 'Keys that detach from the container' }),
    interactive: flag.boolean({ char: 'i', description: 'Connect stdin' }),
  };

  async run(): Promise<void> {
    const { flags, args } = this.read(Start);
    if (flags.attach || flags.interactive) return this.attached(args, flags.interactive, flags['detach-keys']);
    try {
      await forEachName(args, async (name) => {
        await this.client.post(path`/containers/${name}/start`);
        return name;
      });
    } catch (error) {
      if (!(error instanceof SeveralErrors)) throw error;
      throw new SeveralErrors([...error.messages, `Error: failed to start containers: ${failed(args, error.messages).join(', ')}`]);
    }
  }

  private async attached(names: readonly string[], interactive: boolean, keys: string): Promise<void> {
    if (names.length > 1) throw new Error('you cannot start and attach multiple containers at once');
    const { client } = this;
    const details = await client.get<ContainerDetails>(path`/containers/${names[0] as string}/json`);
    const { Id: id, Config: config } = details;
    const stdin = interactive && config.OpenStdin;
    if (stdin && config.Tty && !stdinIsTerminal()) throw new Error('the input device is not a TTY');
    const detachKeys = keys || (await readConfig(this.configFolder)).detachKeys || '';
    parseDetachKeys(detachKeys);
    const stopProxy = config.Tty ? () => undefined : proxySignals(client, id);
    const stream = await client.hijack(path`/containers/${id}/attach`, {
      query: { stream: true, stdin: stdin || undefined, stdout: true, stderr: true, detachKeys: detachKeys || undefined },
    });
    const exited = await exitCode(client, id, details.HostConfig.AutoRemove ? 'removed' : 'next-exit');
    try {
      await client.post(path`/containers/${id}/start`);
    } catch (error) {
      stream.socket.destroy();
      throw error;
    }
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

/** Names that the messages are about; messages come in the order of the names. */
const failed = (names: readonly string[], messages: readonly string[]): readonly string[] =>
  messages.length === names.length ? names : names.filter((name) => messages.some((message) => message.includes(name)));
