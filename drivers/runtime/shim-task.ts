import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { conflict, EngineError, messageOf } from '@gantry/core/contracts/errors.js';
import type { Host } from '@gantry/core/contracts/host.js';
import type { Logger } from '@gantry/core/contracts/manifest.js';
import type { ExecSpec, Exit, Task, TaskProcess, TaskResources, TaskStream, TaskUsage } from '@gantry/core/contracts/runtime.js';
import { cgroupsOf, killCgroup, pidsOf, type Cgroups } from './cgroup.js';
import { readUsage } from './cgroup-usage.js';
import type { RuntimeCommand } from './runtime-command.js';
import { runtimeError } from './runtime-error.js';
import { ShimConnection, ShimError, ShimGone } from './shim-connection.js';
import { encodeFields, Frame, Reason, StreamFlag, type ExitFrame } from './shim-protocol.js';
import { ShimStream } from './shim-stream.js';
import { isAlive, readExitFile, type TaskFile } from './task-files.js';

const CONNECT_MS = 5000;
/** How long a shim may take from the kill of its container to its own end: the runtime's `delete` and its hooks run meanwhile. */
const DELETE_MS = 30_000;
const POLL_MS = 20;

export interface TaskParts {
  readonly id: string;
  readonly runFolder: string;
  readonly stateDir: string;
  readonly runtime: RuntimeCommand;
  readonly host: Host;
  readonly log: Logger;
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

const numberPayload = (value: number, name: string): Buffer => {
  const payload = Buffer.alloc(4 + name.length);
  payload.writeUInt32LE(value, 0);
  payload.write(name, 4, 'latin1');
  return payload;
};

const sizePayload = (rows: number, columns: number, name: string): Buffer => {
  const payload = Buffer.alloc(4 + name.length);
  payload.writeUInt16LE(Math.min(Math.max(rows, 0), 65535), 0);
  payload.writeUInt16LE(Math.min(Math.max(columns, 0), 65535), 2);
  payload.write(name, 4, 'latin1');
  return payload;
};

const flagsOf = (attach: { stdin: boolean; stdout: boolean; stderr: boolean }): number =>
  (attach.stdin ? StreamFlag.stdin : 0) | (attach.stdout ? StreamFlag.stdout : 0) | (attach.stderr ? StreamFlag.stderr : 0);

/** With the size in it: the program may look before the shim has set it. */
const processOf = ({ process, terminal, consoleSize }: ExecSpec): Record<string, unknown> =>
  terminal && consoleSize ? { consoleSize: { height: consoleSize[0], width: consoleSize[1] }, ...process } : { ...process };

/** The shim's refusals in the engine's kinds. */
function engineError(error: unknown): unknown {
  if (!(error instanceof ShimError)) return error;
  if (error.reason === Reason.conflict || error.reason === Reason.notFound) return conflict(error.message, error);
  return new EngineError(error.reason === Reason.protocol ? 'invalid-parameter' : 'system', error.message, { cause: error });
}

/** A container's first process through its shim; it also stands for what is left when both are gone. */
export class ShimTask implements Task {
  private readonly exited = Promise.withResolvers<Exit>();
  private readonly execs = new Map<string, (exit: Exit) => void>();
  private control: ShimConnection | undefined;
  private cgroups: Cgroups | undefined;
  private ended = false;
  private deleting: Promise<void> | undefined;

  constructor(
    private readonly parts: TaskParts,
    /** Who the shim and the first process are. */
    private readonly file: TaskFile,
    /** The shim's end, when it is this process' child. */
    private readonly shimEnded?: Promise<unknown>,
  ) {}

  get id(): string {
    return this.parts.id;
  }

  get pid(): number {
    return this.file.pid;
  }

  /** Takes the connection over which exits are told. */
  follow(control: ShimConnection): void {
    this.control = control;
    this.cgroups ??= cgroupsOf(this.pid);
    control.onExit((exit) => this.onExit(exit));
    void control.closed.then(() => this.onLost());
  }

  /** There is no shim to be told by. */
  settle(exit: Exit): void {
    this.ended = true;
    this.exited.resolve(exit);
    // Whatever joined the container ended with it.
    for (const told of this.execs.values()) told({ code: 137, at: Date.now(), oomKilled: false });
    this.execs.clear();
  }

  async start(): Promise<void> {
    try {
      await this.ask(Frame.start);
    } catch (error) {
      if (error instanceof ShimError && error.reason === Reason.runtime) {
        throw await runtimeError('start', join(this.parts.runFolder, 'runtime.log'), error.message);
      }
      throw engineError(error);
    }
  }

  wait(): Promise<Exit> {
    return this.exited.promise;
  }

  async attach(options: { stdin: boolean; stdout: boolean; stderr: boolean }): Promise<TaskStream> {
    const connection = await this.connect();
    try {
      await connection.request(Frame.attach, undefined, flagsOf(options));
    } catch (error) {
      connection.close();
      throw engineError(error);
    }
    return new ShimStream(connection);
  }

  resize(rows: number, columns: number): Promise<void> {
    return this.resizeOf('', rows, columns);
  }

  kill(signal: number): Promise<void> {
    return this.killOf('', signal);
  }

  async killAll(): Promise<void> {
    if (this.cgroups) await killCgroup(this.cgroups, this.parts.host.process);
  }

  async pause(): Promise<void> {
    await this.parts.runtime.run('pause', [this.id], this.parts.runFolder);
  }

  async resume(): Promise<void> {
    await this.parts.runtime.run('resume', [this.id], this.parts.runFolder);
  }

  async update(resources: TaskResources): Promise<void> {
    await this.parts.runtime.run('update', ['-r', '-', this.id], this.parts.runFolder, Buffer.from(JSON.stringify(resources)));
  }

  async usage(): Promise<TaskUsage> {
    if (!this.cgroups) throw conflict(`container ${this.id} is not running`);
    return readUsage(this.cgroups);
  }

  async pids(): Promise<number[]> {
    return this.cgroups ? pidsOf(this.cgroups) : [];
  }

  async exec(execId: string, spec: ExecSpec, attach: { stdin: boolean; stdout: boolean; stderr: boolean }): Promise<TaskProcess> {
    const name = `exec-${execId}`;
    const file = (suffix: string): string => join(this.parts.runFolder, `${name}.${suffix}`);
    const exit = Promise.withResolvers<Exit>();
    if (this.ended) throw conflict(`container ${this.id} is not running`);
    let connection: ShimConnection | undefined;
    // Heard of before it can happen; told on the connection that every exec shares, since a stream may be lost.
    this.execs.set(name, exit.resolve);
    try {
      await writeFile(file('json'), JSON.stringify(processOf(spec)), { mode: 0o600 });
      connection = await this.connect();
      const fields = encodeFields({
        name,
        terminal: spec.terminal,
        openStdin: spec.openStdin,
        rows: spec.consoleSize?.[0],
        columns: spec.consoleSize?.[1],
        ...attach,
      });
      const pid = (await connection.request(Frame.exec, fields)).readUInt32LE(0);
      return {
        pid,
        stream: new ShimStream(connection),
        wait: () => exit.promise,
        resize: (rows, columns) => this.resizeOf(name, rows, columns),
        kill: (signal) => this.killOf(name, signal),
      };
    } catch (error) {
      this.execs.delete(name);
      connection?.close();
      if (error instanceof ShimError && error.reason === Reason.runtime) {
        throw await runtimeError('exec', file('log'), error.message);
      }
      throw engineError(error);
    } finally {
      await Promise.all(['json', 'log'].map((suffix) => rm(file(suffix), { force: true })));
    }
  }

  delete(): Promise<void> {
    this.deleting ??= this.remove().catch((error: unknown) => {
      this.deleting = undefined;
      throw error;
    });
    return this.deleting;
  }

  private async remove(): Promise<void> {
    const { host, runFolder, runtime, id, log } = this.parts;
    if (this.control?.open) {
      if (!this.ended) {
        // By cgroup first: a frozen process takes no signal.
        await this.killAll().catch((error: unknown) => log.warn('killing a cgroup failed', { container: id, error: messageOf(error) }));
        await this.ask(Frame.delete).catch(() => undefined);
      }
    }
    await this.untilShimEnded();
    this.control?.close();
    if (runtime.knows(id)) await runtime.delete(id, runFolder);
    await host.files.removeTree(runFolder);
    if (!this.ended) this.settle({ code: 137, at: Date.now(), oomKilled: false });
  }

  /** Waits for the shim's own end, and after a while sees to it. */
  private async untilShimEnded(): Promise<void> {
    const { host, id, log } = this.parts;
    const alive = (): boolean => isAlive(host.process, this.file.shim, this.file.shimStart);
    if (this.shimEnded) {
      const late = Promise.withResolvers<void>();
      const timer = setTimeout(late.resolve, DELETE_MS);
      await Promise.race([this.shimEnded, late.promise]);
      clearTimeout(timer);
    } else {
      // Somebody else's child since the daemon was started anew.
      for (const deadline = performance.now() + DELETE_MS; alive() && performance.now() < deadline;) await sleep(this.ended ? 2 : POLL_MS);
    }
    if (!alive()) return;
    log.warn('a shim did not end and is killed', { container: id, shim: this.file.shim });
    host.process.signal(this.file.shim, this.file.shimStart, 9);
    await sleep(POLL_MS);
  }

  private async connect(): Promise<ShimConnection> {
    try {
      return await ShimConnection.connect(this.parts.runFolder, CONNECT_MS);
    } catch (error) {
      if (this.ended || !isAlive(this.parts.host.process, this.file.shim, this.file.shimStart)) {
        throw conflict(`container ${this.id} is not running`, error);
      }
      throw new EngineError('unavailable', `the shim of container ${this.id} does not answer: ${messageOf(error)}`, { cause: error });
    }
  }

  private async ask(type: number, payload?: Buffer): Promise<Buffer> {
    const notRunning = (): EngineError => conflict(`container ${this.id} is not running`);
    if (!this.control?.open) throw notRunning();
    return this.control.request(type, payload).catch((error: unknown) => {
      // It was about to end when it was asked.
      throw error instanceof ShimGone && this.ended ? notRunning() : error;
    });
  }

  private async killOf(name: string, signal: number): Promise<void> {
    try {
      await this.ask(Frame.kill, numberPayload(signal, name));
    } catch (error) {
      throw engineError(error);
    }
  }

  private async resizeOf(name: string, rows: number, columns: number): Promise<void> {
    try {
      await this.ask(Frame.resize, sizePayload(rows, columns, name));
    } catch (error) {
      throw engineError(error);
    }
  }

  private onExit({ name, code, at, oomKilled }: ExitFrame): void {
    const exit = { code, at, oomKilled };
    if (name === '') {
      this.settle(exit);
      return;
    }
    this.execs.get(name)?.(exit);
    this.execs.delete(name);
  }

  /** The connection broke although the container has not ended: the kernel tells which of the two it was. */
  private async onLost(): Promise<void> {
    if (this.ended) return;
    const { host, stateDir, runFolder, runtime, id, log } = this.parts;
    if (isAlive(host.process, this.file.shim, this.file.shimStart)) {
      try {
        const control = await ShimConnection.connect(runFolder, CONNECT_MS);
        this.follow(control);
        return;
      } catch (error) {
        log.warn('a shim does not answer', { container: id, error: messageOf(error) });
        while (isAlive(host.process, this.file.shim, this.file.shimStart)) await sleep(500);
      }
    }
    const exit = await readExitFile(stateDir, runFolder);
    if (!exit) {
      log.warn('a shim was killed; its container is ended', { container: id });
      // Nobody holds its streams any more and nobody would hear of its end.
      await this.killAll().catch(() => undefined);
      if (runtime.knows(id)) await runtime.delete(id, runFolder).catch(() => undefined);
    }
    this.settle(exit ?? { code: 137, at: Date.now(), oomKilled: false });
  }
}
