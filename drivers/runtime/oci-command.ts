import { existsSync, mkdirSync } from 'node:fs';
import { Socket } from 'node:net';
import { join } from 'node:path';
import { conflict, EngineError, messageOf, unavailable } from '@gantry/core/contracts/errors.js';
import type { DriverEnv } from '@gantry/core/contracts/manifest.js';
import type { LogTarget } from '@gantry/core/contracts/log.js';
import type { Child } from '@gantry/core/contracts/host-process.js';
import type { CreateTask, FoundTask, RuntimeDriver, Task } from '@gantry/core/contracts/runtime.js';
import { RUNTIME_ENVIRONMENT, RuntimeCommand } from './runtime-command.js';
import { runtimeError } from './runtime-error.js';
import { ShimConnection, ShimError } from './shim-connection.js';
import { encodeFields, Frame, Reason, type FieldValue } from './shim-protocol.js';
import { ShimTask, type TaskParts } from './shim-task.js';
import { bootId, isAlive, parseTaskFile, readExitFile, readTaskFile, removeExitFile, type TaskFile } from './task-files.js';

export interface OciCommandOptions {
  /** The OCI runtime. */
  readonly path: string;
  /** Arguments before the runtime's own, such as `--systemd-cgroup`. */
  readonly args: readonly string[];
  readonly shim: string;
  /** The runtime lets its container go when ROOT/ID/exec.fifo is read, so that no program is run to start it. */
  readonly startsByFifo: boolean;
}

const SHIM_MS = 10_000;
/** A shim that is busy ending, or stopped by hand, is asked again for this long. */
const FIND_MS = 3000;

const escapeForGo = (character: string): string => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;

/** As Go prints a map: keys in order, and what could end a script element or a JavaScript line escaped. */
function attributesJson(attrs: Readonly<Record<string, string>>): string {
  const sorted = Object.fromEntries(Object.entries(attrs).sort(([a], [b]) => (a < b ? -1 : 1)));
  return JSON.stringify(sorted).replace(/[<>&\u2028\u2029]/g, escapeForGo);
}

function logFields(log: LogTarget): Record<string, FieldValue> {
  if (log.kind === 'none') return {};
  return {
    logPath: log.path,
    logMaxSize: log.maxSize,
    logMaxFiles: log.maxFiles,
    logCompress: log.compress,
    logAttrs: Object.keys(log.attrs).length > 0 ? attributesJson(log.attrs) : undefined,
  };
}

/** Any runtime that speaks the OCI command line, behind one shim for each container. */
export class OciCommandDriver implements RuntimeDriver {
  private readonly runtime: RuntimeCommand;

  constructor(
    private readonly env: DriverEnv,
    private readonly options: OciCommandOptions,
  ) {
    this.runtime = new RuntimeCommand(env.host.process, options.path, options.args, join(env.runRoot, 'state'));
  }

  get path(): string {
    return this.options.path;
  }

  version(): Promise<string> {
    return this.runtime.version();
  }

  async close(): Promise<void> {}

  async create(options: CreateTask): Promise<Task> {
    const parts = this.parts(options.id, options.stateDir);
    await this.makeRoom(parts);
    const { control, shim } = this.startShim(parts);
    try {
      // Asked in one breath: a shim that was started by this daemon speaks its protocol.
      const greeted = control.hello(SHIM_MS);
      const created = control.request(Frame.create, this.createFields(options));
      created.catch(() => undefined);
      await greeted;
      const answer = await created;
      const file = parseTaskFile(answer.toString('utf8', 4));
      if (!file) throw new EngineError('system', `the shim of container ${options.id} did not say who it is`);
      const task = new ShimTask(parts, file, shim.exited);
      task.follow(control);
      return task;
    } catch (error) {
      throw await this.undo(parts, control, error);
    }
  }

  async find({ id, stateDir }: { id: string; bundle: string; stateDir: string }): Promise<FoundTask> {
    const parts = this.parts(id, stateDir);
    const file = await readTaskFile(parts.runFolder);
    const sameBoot = file !== undefined && file.boot === (await bootId());
    if (file && sameBoot) {
      const deadline = performance.now() + FIND_MS;
      while (isAlive(this.env.host.process, file.shim, file.shimStart)) {
        const found = await this.meet(parts, file);
        if (found) return found;
        if (performance.now() > deadline) {
          throw unavailable(`the shim of container ${id} (pid ${file.shim}) runs but does not answer`);
        }
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
    const exit = await readExitFile(stateDir, parts.runFolder);
    if (!exit && !sameBoot) {
      await this.env.host.files.removeTree(parts.runFolder);
      return { state: 'absent' };
    }
    const nobody: TaskFile = { boot: '', shim: 0, shimStart: 0, pid: 0, start: 0 };
    const task = new ShimTask(parts, file && sameBoot ? file : nobody);
    const settled = exit ?? (await this.endOrphan(parts, file ?? nobody));
    task.settle(settled);
    return { state: 'exited', exit: settled, task };
  }

  /** The task over a new connection; `undefined` when the shim does not answer now. */
  private async meet(parts: TaskParts, file: TaskFile): Promise<FoundTask | undefined> {
    let control: ShimConnection;
    try {
      control = await ShimConnection.connect(parts.runFolder, 1000);
    } catch {
      return undefined;
    }
    // Created meanwhile: the file now knows the first process.
    const current = (await readTaskFile(parts.runFolder)) ?? file;
    const exit = await readExitFile(parts.stateDir, parts.runFolder);
    if (current.pid === 0 && !exit) {
      // Whoever was making it died before it was told that it had succeeded: undone, as that one would have.
      await control.request(Frame.delete).catch(() => undefined);
      control.close();
      return undefined;
    }
    const task = new ShimTask(parts, current);
    task.follow(control);
    if (!exit) return { state: 'running', task };
    task.settle(exit);
    return { state: 'exited', exit, task };
  }

  /** The shim was killed: its container has lost its streams and whoever would report its end, so it is ended. */
  private async endOrphan(parts: TaskParts, file: TaskFile): Promise<{ code: number; at: number; oomKilled: boolean }> {
    this.env.log.warn('the shim of a container is gone; the container is ended', { container: parts.id });
    if (file.pid > 0) this.env.host.process.signal(file.pid, file.start, 9);
    if (this.runtime.knows(parts.id)) {
      await this.runtime
        .delete(parts.id, parts.runFolder)
        .catch((error: unknown) => this.env.log.warn('deleting an orphan failed', { container: parts.id, error: messageOf(error) }));
    }
    return { code: 137, at: Date.now(), oomKilled: false };
  }

  private parts(id: string, stateDir: string): TaskParts {
    const { host, log, runRoot } = this.env;
    return { id, stateDir, runFolder: join(runRoot, 'tasks', id), runtime: this.runtime, host, log };
  }

  /** What an earlier run of the container left is taken away, but never under a living shim. */
  private async makeRoom(parts: TaskParts): Promise<void> {
    if (existsSync(parts.runFolder)) {
      const file = await readTaskFile(parts.runFolder);
      if (file && file.boot === (await bootId()) && isAlive(this.env.host.process, file.shim, file.shimStart)) {
        throw conflict(`container ${parts.id} has a task already`);
      }
      if (this.runtime.knows(parts.id)) await this.runtime.delete(parts.id, parts.runFolder);
      await this.env.host.files.removeTree(parts.runFolder);
    } else if (this.runtime.knows(parts.id)) {
      await this.runtime.delete(parts.id, parts.runFolder);
    }
    await removeExitFile(parts.stateDir);
    // In memory, and each less than a hop through the thread pool.
    mkdirSync(parts.runFolder, { recursive: true, mode: 0o700 });
    mkdirSync(this.runtime.root, { recursive: true, mode: 0o700 });
  }

  private startShim(parts: TaskParts): { control: ShimConnection; shim: Child } {
    const { process } = this.env.host;
    const [ours, theirs] = process.socketPair();
    let shim: Child;
    try {
      shim = process.spawn({
        path: this.options.shim,
        args: [this.options.shim, parts.id],
        env: RUNTIME_ENVIRONMENT,
        cwd: parts.runFolder,
        fds: [-1, -1, -1, theirs],
        newSession: true,
      });
    } catch (error) {
      process.closeFd(ours);
      throw new EngineError('system', `cannot start the shim: ${messageOf(error)}`, { cause: error });
    } finally {
      process.closeFd(theirs);
    }
    return { control: new ShimConnection(new Socket({ fd: ours, readable: true, writable: true })), shim };
  }

  private createFields(options: CreateTask): Buffer {
    return encodeFields({
      id: options.id,
      bundle: options.bundle,
      stateDir: options.stateDir,
      runtime: this.options.path,
      argument: this.options.args,
      root: this.runtime.root,
      execFifo: this.options.startsByFifo ? join(this.runtime.root, options.id, 'exec.fifo') : undefined,
      terminal: options.terminal,
      openStdin: options.openStdin,
      stdinOnce: options.stdinOnce,
      rows: options.consoleSize?.[0],
      columns: options.consoleSize?.[1],
      ...logFields(options.log),
    });
  }

  private async undo(parts: TaskParts, control: ShimConnection, error: unknown): Promise<unknown> {
    let failure = error;
    if (error instanceof ShimError && error.reason === Reason.runtime) {
      failure = await runtimeError('create', join(parts.runFolder, 'runtime.log'), error.message);
    } else if (error instanceof ShimError) {
      failure = new EngineError('system', error.message, { cause: error });
    } else if (!(error instanceof EngineError)) {
      failure = new EngineError('system', `the shim of container ${parts.id} failed: ${messageOf(error)}`, { cause: error });
    }
    await control.request(Frame.delete).catch(() => undefined);
    await Promise.race([control.closed, new Promise((resolve) => setTimeout(resolve, SHIM_MS).unref())]);
    control.close();
    try {
      if (this.runtime.knows(parts.id)) await this.runtime.delete(parts.id, parts.runFolder);
      await this.env.host.files.removeTree(parts.runFolder);
    } catch (undoing) {
      this.env.log.warn('a failed create left something', { container: parts.id, error: messageOf(undoing) });
    }
    return failure;
  }
}
