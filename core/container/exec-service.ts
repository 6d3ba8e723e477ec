import { inject, injectable } from 'tsyringe';
import { EngineError, conflict, invalid } from '../contracts/errors.js';
import { newId } from '../contracts/ids.js';
import type { TaskProcess } from '../contracts/runtime.js';
import { Tokens } from '../tokens.js';
import type { Container } from './container.js';
import type { ClientStream } from './containers.js';
import { parseDetachKeys } from './detach-keys.js';
import { readExecError, startProcess } from './exec-process.js';
import type { CreateExec, ExecView, Execs } from './execs.js';
import { LIMITS } from './limits.js';
import type { LiveContainer } from './live.js';
import type { ContainerRoom } from './room.js';
import { pump } from './streams.js';

/** One exec: from its creation until its container ends. Lives in memory alone. */
interface Exec {
  readonly id: string;
  readonly containerId: string;
  /** The run of the container that it belongs to. */
  readonly live: LiveContainer;
  readonly request: CreateExec;
  readonly detachKeys: Buffer;
  state: 'created' | 'starting' | 'running' | 'ended';
  exitCode: number | undefined;
  process: TaskProcess | undefined;
}

@injectable()
export class ExecService implements Execs {
  private readonly execs = new Map<string, Exec>();

  constructor(@inject(Tokens.ContainerRoom) private readonly room: ContainerRoom) {}

  async create(name: string, request: CreateExec): Promise<string> {
    const container = this.room.store.get(name);
    const live = this.running(container);
    if (request.cmd.length === 0) throw invalid('no exec command specified');
    if (request.workingDir !== '' && !request.workingDir.startsWith('/')) {
      throw invalid(`the working directory '${request.workingDir}' is invalid, it needs to be an absolute path`);
    }
    const id = newId();
    this.execs.set(id, {
      id,
      containerId: container.id,
      live,
      request,
      detachKeys: parseDetachKeys(request.detachKeys),
      state: 'created',
      exitCode: undefined,
      process: undefined,
    });
    this.room.store.remember(container.id, ({ execIds }) => ({ execIds: [...execIds, id] }));
    // With its container's run an exec is history.
    void live.ended.then(() => this.execs.delete(id));
    this.trim(container.id);
    this.publish(container, 'exec_create', id, request.cmd);
    return id;
  }

  inspect(id: string): ExecView {
    const exec = this.known(id);
    return {
      id,
      containerId: exec.containerId,
      running: exec.state === 'running' || exec.state === 'starting',
      exitCode: exec.exitCode,
      pid: exec.state === 'running' ? (exec.process?.pid ?? 0) : 0,
      request: exec.request,
      canRemove: exec.state === 'ended',
    };
  }

  async start(
    id: string,
    options: { detach: boolean; tty: boolean; consoleSize?: readonly [number, number] },
    open: (info: { tty: boolean }) => Promise<ClientStream>,
  ): Promise<void> {
    const exec = this.known(id);
    const container = this.room.store.get(exec.containerId);
    if (this.running(container) !== exec.live) throw conflict(`container ${container.id} is not running`);
    if (exec.state === 'ended') throw conflict(`exec command ${id} has already run`);
    if (exec.state !== 'created') throw conflict(`exec command ${id} is already running`);
    exec.state = 'starting';
    if (options.detach) {
      await this.launch(exec, container, options.consoleSize, { stdin: false, stdout: false, stderr: false });
      return;
    }
    const { attachStdin, attachStdout, attachStderr, tty } = exec.request;
    const client = await open({ tty }).catch((error: unknown) => {
      exec.state = 'created';
      throw error;
    });
    let process: TaskProcess;
    try {
      process = await this.launch(exec, container, options.consoleSize, { stdin: attachStdin, stdout: attachStdout, stderr: attachStderr });
    } catch (error) {
      // The head of the answer is out: the stream is where the user reads why.
      await client.write('stdout', Buffer.from(`${error instanceof Error ? error.message : String(error)}\r\n`)).catch(() => undefined);
      client.end();
      return;
    }
    const end = await pump(process.stream, client, {
      stdin: attachStdin,
      detachKeys: tty ? exec.detachKeys : undefined,
      // Clients ask for the exit code as soon as they see the end of the stream.
      beforeEnd: () => process.wait().then((exit) => this.ended(exec, exit.code)),
    });
    if (end === 'detached') this.publish(container, 'exec_detach', id, undefined);
  }

  async resize(id: string, rows: number, columns: number): Promise<void> {
    const exec = this.known(id);
    if (exec.state !== 'running' || !exec.process) throw conflict(`exec ${id} is not running`);
    await exec.process.resize(rows, columns);
  }

  private async launch(
    exec: Exec,
    container: Container,
    consoleSize: readonly [number, number] | undefined,
    attach: { stdin: boolean; stdout: boolean; stderr: boolean },
  ): Promise<TaskProcess> {
    const { id, request } = exec;
    this.publish(container, 'exec_start', id, request.cmd);
    let process: TaskProcess;
    try {
      process = await startProcess(this.room, container, exec.live, {
        id,
        args: request.cmd,
        env: request.env,
        workingDir: request.workingDir,
        user: request.user,
        privileged: request.privileged,
        terminal: request.tty,
        consoleSize: consoleSize ?? request.consoleSize,
        attach,
      });
    } catch (thrown) {
      const { exitCode, error } = readExecError(thrown);
      this.ended(exec, exitCode);
      throw error;
    }
    exec.process = process;
    exec.state = 'running';
    void process.wait().then(
      (exit) => this.ended(exec, exit.code),
      // Its container went, and with it whoever could tell.
      () => this.ended(exec, 137),
    );
    return process;
  }

  private ended(exec: Exec, exitCode: number): void {
    if (exec.state === 'ended') return;
    exec.state = 'ended';
    exec.exitCode = exitCode;
    const container = this.room.store.byFullId(exec.containerId);
    if (!container) return;
    this.room.store.remember(container.id, ({ execIds }) => ({ execIds: execIds.filter((id) => id !== exec.id) }));
    this.room.publish(container, 'exec_die', { execID: exec.id, exitCode: String(exitCode) });
  }

  private known(id: string): Exec {
    const exec = this.execs.get(id) ?? this.byPrefix(id);
    if (!exec) throw new EngineError('not-found', `No such exec instance: ${id}`);
    return exec;
  }

  private byPrefix(prefix: string): Exec | undefined {
    if (!/^[0-9a-f]{1,63}$/.test(prefix)) return undefined;
    const found = [...this.execs.values()].filter(({ id }) => id.startsWith(prefix));
    return found.length === 1 ? found[0] : undefined;
  }

  private running(container: Container): LiveContainer {
    const { id, state } = container;
    const live = this.room.live.get(id);
    if (state.status === 'paused') throw conflict(`container ${id} is paused, unpause the container before exec`);
    if (state.status === 'restarting') throw conflict(`container ${id} is restarting, wait until the container is running`);
    if (!live || state.status !== 'running') throw conflict(`container ${id} is not running`);
    return live;
  }

  /** A long life of health checks by hand must not fill the memory: the oldest ended ones are forgotten. */
  private trim(containerId: string): void {
    const ended = [...this.execs.values()].filter((exec) => exec.containerId === containerId && exec.state === 'ended');
    for (const exec of ended.slice(0, Math.max(0, ended.length - LIMITS.endedExecs))) this.execs.delete(exec.id);
  }

  private publish(container: Container, action: string, execId: string, command: readonly string[] | undefined): void {
    this.room.publish(container, command ? `${action}: ${command.join(' ')}` : action, { execID: execId });
  }
}
