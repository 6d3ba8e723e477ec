import { BaseCommand, CommandError, ExitError, print } from '../../base-command.js';
import { type Client, path, readAll } from '../../client/client.js';
import { readConfig } from '../../client/config-file.js';
import type { HttpResponse } from '../../client/http.js';
import { flag } from '../../flags.js';
import { createBody } from '../../run/create-body.js';
import { checkPullPolicy, createContainer, startExitCode } from '../../run/create-container.js';
import type { CreateBody } from '../../run/body.js';
import { parseDetachKeys } from '../../run/detach-keys.js';
import { converse, proxySignals } from '../../run/session.js';
import { containerFlags } from '../../run-flags.js';
import { stdinIsTerminal, terminalSize } from '../../terminal.js';

export default class Run extends BaseCommand {
  static override usage = 'IMAGE [COMMAND] [ARG...]';
  static override arity = { least: 1 };
  static override interspersed = false;
  static override flags = {
    ...containerFlags,
    detach: flag.boolean({ char: 'd', description: 'Run in the background and print the id' }),
    'detach-keys': flag.string({ description: 'Keys that detach from the container' }),
    'sig-proxy': flag.boolean({ description: 'Pass signals to the process', initial: true }),
  };

  async run(): Promise<void> {
    const { flags, args, given } = this.read(Run);
    const [image, ...command] = args as [string, ...string[]];
    checkPullPolicy(flags.pull);
    const body = usage(() => createBody(flags, given, image, command));
    if (flags.detach) {
      if (flags.attach.length > 0) throw new CommandError('conflicting options: cannot specify both --attach and --detach', 125);
      Object.assign(body, { AttachStdin: false, AttachStdout: false, AttachStderr: false, StdinOnce: false });
    } else if (body.AttachStdin && body.Tty && !stdinIsTerminal()) throw new Error('the input device is not a TTY');
    const detachKeys = flags['detach-keys'] || (await readConfig(this.configFolder)).detachKeys || '';
    usage(() => parseDetachKeys(detachKeys));

    const id = await failsWith125(() => createContainer(this.client, this.configFolder, flags, body));
    if (flags.detach) {
      await start(this.client, id);
      print(id);
      return;
    }
    const code = await runAttached(this.client, id, body, { remove: flags.rm, detachKeys, proxy: flags['sig-proxy'] });
    if (code !== 0) throw new ExitError(code);
  }
}

/** A contradiction between flags ends as Docker ends it. */
export const usage = <T>(make: () => T): T => {
  try {
    return make();
  } catch (error) {
    throw new CommandError((error as Error).message, 125, true);
  }
};

const failsWith125 = async <T>(act: () => Promise<T>): Promise<T> => {
  try {
    return await act();
  } catch (error) {
    throw error instanceof CommandError ? error : new CommandError((error as Error).message, 125, true);
  }
};

const start = async (client: Client, id: string): Promise<void> => {
  try {
    await client.post(path`/containers/${id}/start`);
  } catch (error) {
    const { message } = error as Error;
    throw new CommandError(message, startExitCode(message), true);
  }
};

/** Attach, then wait, then start: in any other order a short container would be over before we listen. */
const runAttached = async (
  client: Client,
  id: string,
  body: CreateBody,
  options: { remove: boolean; detachKeys: string; proxy: boolean },
): Promise<number> => {
  const attached = body.AttachStdin || body.AttachStdout || body.AttachStderr;
  const stopProxy = options.proxy ? proxySignals(client, id) : () => undefined;
  const stream = attached ? await failsWith125(() => attach(client, id, body, options.detachKeys)) : undefined;
  const exited = await exitCode(client, id, options.remove ? 'removed' : 'next-exit');
  try {
    await start(client, id);
  } catch (error) {
    stream?.socket.destroy();
    // The engine removes what did not start; a script that looks for the container next must not find it.
    if (options.remove) await exited();
    throw error;
  }
  try {
    if (stream) {
      const resize = (size: { height: number; width: number }): void => void resizeContainer(client, id, size);
      const { detached } = await converse(stream, { tty: body.Tty, stdin: body.AttachStdin, detachKeys: options.detachKeys, resize });
      if (detached) return 0;
    } else if (!options.remove) print(id);
    return await exited();
  } finally {
    stopProxy();
  }
};

const attach = async (client: Client, id: string, body: CreateBody, detachKeys: string): Promise<HttpResponse> =>
  client.hijack(path`/containers/${id}/attach`, {
    query: {
      stream: true,
      stdin: body.AttachStdin || undefined,
      stdout: body.AttachStdout || undefined,
      stderr: body.AttachStderr || undefined,
      detachKeys: detachKeys || undefined,
    },
  });

/** Resolves when the engine listens for the exit; the result resolves with the exit code. */
export const exitCode = async (client: Client, id: string, condition: string): Promise<() => Promise<number>> => {
  const response = await client.open('POST', path`/containers/${id}/wait`, { query: { condition } });
  const answer = readAll(response).then((text) => JSON.parse(text) as { StatusCode: number; Error?: { Message: string } | null });
  answer.catch(() => undefined);
  return async () => {
    const { StatusCode, Error: failure } = await answer;
    if (failure?.Message) throw new CommandError(failure.Message, 125);
    return StatusCode;
  };
};

export const resizeContainer = async (
  client: Client,
  id: string,
  { height, width }: { height: number; width: number } = terminalSize(),
): Promise<void> => {
  if (height === 0 && width === 0) return;
  // The container may be over already, and then its size is of no interest.
  await client.post(path`/containers/${id}/resize`, { query: { h: height, w: width } }).catch(() => undefined);
};
