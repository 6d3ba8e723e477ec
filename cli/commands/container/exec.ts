import { BaseCommand, CommandError, ExitError } from '../../base-command.js';
import { type Client, path } from '../../client/client.js';
import { readConfig } from '../../client/config-file.js';
import { flag } from '../../flags.js';
import { parseDetachKeys } from '../../run/detach-keys.js';
import { environmentEntry, readEnvironment } from '../../run/key-values.js';
import { converse } from '../../run/session.js';
import { stdinIsTerminal, stdoutIsTerminal, terminalSize } from '../../terminal.js';

export default class Exec extends BaseCommand {
  static override usage = 'CONTAINER COMMAND [ARG...]';
  static override arity = { least: 2 };
  static override interspersed = false;
  static override flags = {
    detach: flag.boolean({ char: 'd', description: 'Run in the background' }),
    'detach-keys': flag.string({ description: 'Keys that detach from the command' }),
    env: flag.list({ char: 'e', description: 'Set an environment variable', check: environmentEntry }),
    'env-file': flag.list({ description: 'Read environment variables from a file' }),
    interactive: flag.boolean({ char: 'i', description: 'Keep STDIN open' }),
    privileged: flag.boolean({ description: 'Give all privileges' }),
    tty: flag.boolean({ char: 't', description: 'Give it a terminal' }),
    user: flag.string({ char: 'u', description: 'User (name|uid[:group|gid])' }),
    workdir: flag.string({ char: 'w', description: 'Working directory' }),
  };

  async run(): Promise<void> {
    const { flags, args } = this.read(Exec);
    const [container, ...command] = args as [string, ...string[]];
    const { client } = this;
    const attach = !flags.detach;
    const detachKeys = flags['detach-keys'] || (await readConfig(this.configFolder)).detachKeys || '';
    parseDetachKeys(detachKeys);
    if (attach && flags.interactive && flags.tty && !stdinIsTerminal()) throw new Error('the input device is not a TTY');
    const size = terminalSize();
    const console = flags.tty && stdoutIsTerminal() ? { ConsoleSize: [size.height, size.width] } : {};
    const env = readEnvironment(flags['env-file'], flags.env);
    const { Id: id } = await client.post<{ Id: string }>(path`/containers/${container}/exec`, {
      body: {
        User: flags.user,
        Privileged: flags.privileged,
        Tty: flags.tty,
        AttachStdin: attach && flags.interactive,
        AttachStdout: attach,
        AttachStderr: attach,
        DetachKeys: detachKeys,
        ...(env.length > 0 ? { Env: env } : {}),
        WorkingDir: flags.workdir,
        Cmd: command,
        ...console,
      },
    });
    if (flags.detach) {
      await client.post(path`/exec/${id}/start`, { body: { Detach: true, Tty: flags.tty } });
      return;
    }
    const stream = await client.hijack(path`/exec/${id}/start`, { body: { Detach: false, Tty: flags.tty, ...console } });
    const { detached } = await converse(stream, {
      tty: flags.tty,
      stdin: flags.interactive,
      detachKeys,
      resize: (next) => void resizeExec(client, id, next),
    });
    if (detached) return;
    const { ExitCode: code } = await client.get<{ ExitCode: number | null }>(path`/exec/${id}/json`);
    if (code === null) throw new CommandError('the engine did not tell how the command ended', 255);
    if (code !== 0) throw new ExitError(code);
  }
}

const resizeExec = async (client: Client, id: string, { height, width }: { height: number; width: number }, tries = 5): Promise<void> => {
  try {
    await client.post(path`/exec/${id}/resize`, { query: { h: height, w: width } });
  } catch {
    // Right after the start the command may not have its terminal yet.
    if (tries > 1) setTimeout(() => void resizeExec(client, id, { height, width }, tries - 1), 20);
  }
};
