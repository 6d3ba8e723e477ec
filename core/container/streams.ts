import { EngineError, conflict, isKind } from '../contracts/errors.js';
import type { Task, TaskStream } from '../contracts/runtime.js';
import type { Container } from './container.js';
import type { AttachOptions, ClientStream } from './containers.js';
import { DetachScanner, parseDetachKeys } from './detach-keys.js';
import { readLogs } from './logs.js';
import type { ContainerRoom } from './room.js';

/** How a client's stream came to its end. */
export type StreamEnd = 'ended' | 'detached' | 'gone';

/**
 * Carries bytes between a client and a process until the process' output ends, the client types the detach keys, or it goes away.
 * The client's end of input is passed on and its output goes on. Ends the client's side in every case.
 */
export async function pump(
  stream: TaskStream,
  client: ClientStream,
  options: {
    readonly stdin: boolean;
    /** Only a terminal's input is searched for them. */
    readonly detachKeys: Buffer | undefined;
    /** Settles before the client sees the end: what it asks next must be known by then. */
    readonly beforeEnd?: () => Promise<unknown>;
  },
): Promise<StreamEnd> {
  const { promise: left, resolve: leave } = Promise.withResolvers<StreamEnd>();
  const gone = (): void => leave('gone');
  client.gone.addEventListener('abort', gone, { once: true });
  if (client.gone.aborted) gone();
  stream.onOutput((kind, chunk) => client.write(kind, chunk));
  const input = options.stdin ? client.input?.[Symbol.asyncIterator]() : undefined;
  if (input) {
    carryInput(input, stream, options.detachKeys).then(
      (detached) => detached && leave('detached'),
      // A broken client is seen by `gone`; a broken task by `ended`.
      () => undefined,
    );
  }
  const ended = stream.ended.then(
    (): StreamEnd => 'ended',
    // The reader was too slow and lost its stream; the container goes on.
    (): StreamEnd => 'gone',
  );
  const end = await Promise.race([ended, left]);
  client.gone.removeEventListener('abort', gone);
  if (end === 'ended') await options.beforeEnd?.();
  else stream.detach();
  client.end();
  // Not awaited: an input that waits for its client's next byte ends when the connection does.
  void input?.return?.()?.catch(() => undefined);
  return end;
}

async function carryInput(input: AsyncIterator<Buffer>, stream: TaskStream, keys: Buffer | undefined): Promise<boolean> {
  const scanner = keys ? new DetachScanner(keys) : undefined;
  try {
    for (;;) {
      const next = await input.next();
      if (next.done === true) break;
      const { forward, detached } = scanner?.feed(next.value) ?? { forward: next.value, detached: false };
      if (forward.length > 0) await stream.write(forward);
      if (detached) return true;
    }
    const rest = scanner?.rest();
    if (rest && rest.length > 0) await stream.write(rest);
  } finally {
    // Also when the client broke off: whether that ends the process' input is for the shim to decide (stdinOnce).
    stream.closeStdin();
  }
  return false;
}

/**
 * Attaches a client to a container's first process: now, or, when there is none, to the next that is started. Returns when the
 * client's stream came to its end.
 */
export async function attach(
  room: ContainerRoom,
  container: Container,
  options: AttachOptions,
  open: (info: { tty: boolean }) => Promise<ClientStream>,
): Promise<void> {
  const { config, state } = container;
  const keys = parseDetachKeys(options.detachKeys);
  if (state.status === 'paused') throw conflict(`container ${container.id} is paused, unpause the container before attach`);
  if (state.status === 'restarting') throw conflict(`container ${container.id} is restarting, wait until the container is running`);
  const wants = { stdin: options.stdin && config.openStdin, stdout: options.stdout, stderr: options.stderr };

  // The stream is taken before the head of the answer goes out: when the client knows of it, nothing is missed any more.
  const pending = options.stream ? new Pending(wants) : undefined;
  const cancelPending = pending ? await connect(room, container.id, pending) : undefined;
  let client: ClientStream;
  try {
    client = await open({ tty: config.tty });
    room.publish(container, 'attach');
    if (options.logs) await replay(room, container, options, client);
  } catch (error) {
    cancelPending?.();
    pending?.abandon();
    throw error;
  }
  if (!pending) {
    client.end();
    return;
  }
  const gone = (): void => {
    cancelPending?.();
    pending.abandon();
  };
  client.gone.addEventListener('abort', gone, { once: true });
  if (client.gone.aborted) gone();
  const stream = await pending.stream;
  client.gone.removeEventListener('abort', gone);
  if (!stream) {
    client.end();
    return;
  }
  const end = await pump(stream, client, { stdin: wants.stdin, detachKeys: config.tty ? keys : undefined });
  if (end === 'detached') room.publish(room.store.byFullId(container.id) ?? container, 'detach');
}

/** A stream that is there now or comes with the next start. */
class Pending {
  private readonly settled = Promise.withResolvers<TaskStream | undefined>();
  private abandoned = false;
  readonly stream = this.settled.promise;

  constructor(private readonly wants: { stdin: boolean; stdout: boolean; stderr: boolean }) {}

  async connect(task: Task): Promise<void> {
    const stream = await task.attach(this.wants);
    if (this.abandoned) stream.detach();
    else this.settled.resolve(stream);
  }

  cancel(): void {
    this.settled.resolve(undefined);
  }

  /** The client is gone: what comes is let go at once. */
  abandon(): void {
    this.abandoned = true;
    this.settled.resolve(undefined);
  }
}

async function connect(room: ContainerRoom, id: string, pending: Pending): Promise<() => void> {
  const live = room.live.get(id);
  if (live) {
    try {
      await pending.connect(live.task);
      return () => undefined;
    } catch (error) {
      // It ended in this moment; its exit is being recorded.
      if (!isKind(error, 'conflict')) throw error;
      throw new EngineError('conflict', `container ${id} is not running`, { cause: error });
    }
  }
  return room.live.attachLater(id, pending);
}

/** What was logged before, ahead of what comes. */
async function replay(room: ContainerRoom, container: Container, options: AttachOptions, client: ClientStream): Promise<void> {
  const { stdout, stderr } = options;
  const entries = await readLogs(room, container, { stdout, stderr, follow: false, signal: client.gone });
  for await (const entry of entries) {
    if (client.gone.aborted) return;
    await client.write(entry.stream, entry.line);
  }
}
