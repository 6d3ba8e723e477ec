import { Readable } from 'node:stream';
import { conflict, EngineError } from '@gantry/core/contracts/errors.js';
import { newId } from '@gantry/core/contracts/ids.js';
import type { LogEntry, ReadLogs } from '@gantry/core/contracts/log.js';
import type { PathStat } from '@gantry/core/contracts/host-files.js';
import type { Container, EndpointRequest } from '@gantry/core/container/container.js';
import type {
  AttachOptions,
  ClientStream,
  Containers,
  ContainerView,
  CreateContainer,
  StatsSample,
  WaitCondition,
  WaitResult,
} from '@gantry/core/container/containers.js';
import { container, digestOf, endpointState, state, unused } from './records.js';
import type { FakeEvents } from './events.js';

/** Fails as each named call is made; for tests of error answers. */
export type Failures = Map<string, Error>;

const now = (): string => new Date().toISOString().replace('Z', '000000Z');

interface Program {
  stdin: Buffer[];
  ended: boolean;
}

/**
 * Containers that run in memory. What one prints follows from its command: `cat` gives back its input, `fail` exits with 3 and
 * a line on stderr, `sleep` goes on until it is stopped, and anything else prints its arguments.
 */
export class FakeContainers implements Containers {
  readonly records = new Map<string, Container>();
  readonly calls: [string, ...unknown[]][] = [];
  readonly failures: Failures = new Map();
  readonly logLines = new Map<string, LogEntry[]>();
  private readonly clients = new Map<string, { stream: ClientStream; done: () => void }[]>();
  private readonly waiters = new Map<string, ((result: WaitResult) => void)[]>();
  private readonly programs = new Map<string, Program>();
  usage: StatsSample['usage'];

  constructor(private readonly events: FakeEvents) {}

  private called(name: string, ...args: unknown[]): void {
    this.calls.push([name, ...args]);
    const failure = this.failures.get(name);
    if (failure) throw failure;
  }

  add(record: Container): void {
    this.records.set(record.id, record);
  }

  find(name: string): Container {
    const wanted = name.replace(/^\//, '');
    for (const record of this.records.values()) if (record.id === wanted || record.name === wanted) return record;
    for (const record of this.records.values()) if (wanted.length > 1 && record.id.startsWith(wanted)) return record;
    throw new EngineError('not-found', `No such container: ${name}`);
  }

  change(record: Container, change: Partial<Container['state']>): Container {
    const next = { ...record, state: { ...record.state, ...change } };
    this.records.set(record.id, next);
    return next;
  }

  view(record: Container): ContainerView {
    const running = record.state.status === 'running';
    return {
      container: record,
      endpoints: running ? { bridge: endpointState() } : {},
      sandboxId: '',
      sandboxKey: '',
      logPath: '',
      hostnamePath: '',
      hostsPath: '',
      resolvConfPath: '',
      imageName: record.config.image,
      graph: {},
    };
  }

  async create(request: CreateContainer): Promise<{ id: string; warnings: string[] }> {
    this.called('create', request);
    if (request.config.image.startsWith('absent')) throw new EngineError('not-found', `No such image: ${request.config.image}:latest`);
    const id = newId();
    const name = request.name || `fake_${id.slice(0, 6)}`;
    for (const other of this.records.values()) {
      if (other.name === name) {
        throw conflict(
          `Conflict. The container name "/${name}" is already in use by container "${other.id}". You have to remove (or rename) that container to be able to reuse that name.`,
        );
      }
    }
    const words = [...(request.config.entrypoint ?? []), ...(request.config.cmd ?? ['sh'])];
    const networkMode = ['', 'default'].includes(request.hostConfig.networkMode) ? 'bridge' : request.hostConfig.networkMode;
    this.add(
      container({
        id,
        name,
        created: now(),
        path: words[0] ?? '',
        args: words.slice(1),
        config: request.config,
        hostConfig: { ...request.hostConfig, networkMode, logDriver: request.hostConfig.logDriver || 'json-file' },
        endpointRequests: request.endpoints,
        state: state(),
      }),
    );
    return { id, warnings: [] };
  }

  async list(options: { all: boolean; filters: ReadonlyMap<string, readonly string[]> }): Promise<ContainerView[]> {
    this.called('list', options);
    return [...this.records.values()]
      .filter((record) => options.all || record.state.status === 'running')
      .map((record) => this.view(record));
  }

  async inspect(name: string, options?: { size?: boolean }): Promise<ContainerView> {
    this.called('inspect', name, options);
    return this.view(this.find(name));
  }

  async start(name: string): Promise<void> {
    this.called('start', name);
    const record = this.find(name);
    if (record.state.status === 'running') throw new EngineError('not-modified', 'already started');
    this.change(record, { status: 'running', pid: 4242, startedAt: now() });
    this.programs.set(record.id, { stdin: [], ended: false });
    this.events.publish({
      type: 'container',
      action: 'start',
      id: record.id,
      attributes: { image: record.config.image, name: record.name },
    });
    void this.run(record);
  }

  private async run(record: Container): Promise<void> {
    const command = [record.path, ...record.args];
    const clients = this.clients.get(record.id) ?? [];
    const print = async (stream: 'stdout' | 'stderr', text: string): Promise<void> => {
      const entries = this.logLines.get(record.id) ?? [];
      entries.push({ stream, time: BigInt(Date.now()) * 1_000_000n, line: Buffer.from(text), attrs: {} });
      this.logLines.set(record.id, entries);
      await Promise.all(clients.map((client) => client.stream.write(stream, Buffer.from(text))));
    };
    if (command[0] === 'sleep') return;
    let exitCode = 0;
    if (command[0] === 'cat') {
      for (const client of clients)
        if (client.stream.input) for await (const chunk of client.stream.input) await print('stdout', chunk.toString());
    } else if (command[0] === 'fail') {
      await print('stderr', 'it failed\n');
      exitCode = 3;
    } else {
      await print('stdout', `${(command[0] === 'echo' ? record.args : command).join(' ')}\n`);
    }
    this.finish(record.id, exitCode);
  }

  finish(id: string, exitCode: number): void {
    const record = this.records.get(id);
    if (!record || record.state.status !== 'running') return;
    this.change(record, { status: 'exited', pid: 0, exitCode, finishedAt: now() });
    this.events.publish({
      type: 'container',
      action: 'die',
      id,
      attributes: { image: record.config.image, name: record.name, exitCode: String(exitCode) },
    });
    for (const client of this.clients.get(id) ?? []) client.done();
    this.clients.delete(id);
    if (record.hostConfig.autoRemove) this.records.delete(id);
    for (const done of this.waiters.get(id) ?? []) done({ exitCode, error: undefined });
    this.waiters.delete(id);
  }

  async stop(name: string, options: { timeout?: number; signal?: string }): Promise<void> {
    this.called('stop', name, options);
    const record = this.find(name);
    if (record.state.status !== 'running') throw new EngineError('not-modified', 'already stopped');
    this.finish(record.id, 143);
  }

  async restart(name: string, options: { timeout?: number; signal?: string }): Promise<void> {
    this.called('restart', name, options);
  }

  async kill(name: string, signal: string): Promise<void> {
    this.called('kill', name, signal);
    const record = this.find(name);
    if (record.state.status !== 'running') throw conflict(`cannot kill container: ${name}: container ${record.id} is not running`);
    this.finish(record.id, 137);
  }

  async pause(name: string): Promise<void> {
    this.called('pause', name);
  }

  async unpause(name: string): Promise<void> {
    this.called('unpause', name);
  }

  migrate = unused;
  examine = unused;

  async rename(name: string, newName: string): Promise<void> {
    this.called('rename', name, newName);
    const record = this.find(name);
    this.records.set(record.id, { ...record, name: newName });
  }

  async addMount(...args: Parameters<Containers['addMount']>): Promise<void> {
    this.called('addMount', ...args);
  }

  async removeMount(...args: Parameters<Containers['removeMount']>): Promise<void> {
    this.called('removeMount', ...args);
  }

  async changePorts(...args: Parameters<Containers['changePorts']>): Promise<void> {
    this.called('changePorts', ...args);
  }

  async update(...args: Parameters<Containers['update']>): Promise<{ warnings: string[] }> {
    this.called('update', ...args);
    return { warnings: [] };
  }

  async remove(name: string, options: { force: boolean; volumes: boolean }): Promise<void> {
    this.called('remove', name, options);
    this.records.delete(this.find(name).id);
  }

  async removeLink(...args: Parameters<Containers['removeLink']>): Promise<void> {
    this.called('removeLink', ...args);
  }

  async prune(filters: ReadonlyMap<string, readonly string[]>): Promise<{ deleted: string[]; spaceReclaimed: number }> {
    this.called('prune', filters);
    return { deleted: [], spaceReclaimed: 0 };
  }

  async wait(name: string, condition: WaitCondition, signal: AbortSignal): Promise<{ result: Promise<WaitResult> }> {
    this.called('wait', name, condition, signal);
    const record = this.find(name);
    if (condition === 'not-running' && record.state.status !== 'running') {
      return { result: Promise.resolve({ exitCode: record.state.exitCode, error: undefined }) };
    }
    const { promise, resolve } = Promise.withResolvers<WaitResult>();
    this.waiters.set(record.id, [...(this.waiters.get(record.id) ?? []), resolve]);
    return { result: promise };
  }

  async attach(name: string, options: AttachOptions, open: (info: { tty: boolean }) => Promise<ClientStream>): Promise<void> {
    this.called('attach', name, options);
    const record = this.find(name);
    const stream = await open({ tty: record.config.tty });
    if (!options.stream) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.clients.set(record.id, [...(this.clients.get(record.id) ?? []), { stream, done: resolve }]);
    stream.gone.addEventListener('abort', () => resolve());
    await promise;
  }

  async resize(name: string, rows: number, columns: number): Promise<void> {
    this.called('resize', name, rows, columns);
  }

  async top(name: string, psArgs: string): Promise<{ titles: string[]; processes: string[][] }> {
    this.called('top', name, psArgs);
    return { titles: ['PID', 'CMD'], processes: [['4242', 'sleep  1']] };
  }

  async sample(name: string): Promise<StatsSample> {
    this.called('sample', name);
    this.find(name);
    return { usage: this.usage, systemCpuNs: performance.now() * 1e6, onlineCpus: 2, networks: {} };
  }

  async logs(name: string, request: ReadLogs): Promise<{ tty: boolean; entries: AsyncIterable<LogEntry> }> {
    this.called('logs', name, request);
    const record = this.find(name);
    const lines = (this.logLines.get(record.id) ?? []).filter((entry) => request[entry.stream]);
    return {
      tty: record.config.tty,
      entries: Readable.from(request.tail === undefined ? lines : lines.slice(lines.length - request.tail)),
    };
  }

  logRuns(name: string, request: ReadLogs): Promise<{ tty: boolean; entries: AsyncIterable<LogEntry> }> {
    return this.logs(name, request);
  }

  async changes(name: string): Promise<{ path: string; kind: 'modified' | 'added' | 'deleted' }[]> {
    this.called('changes', name);
    return [
      { path: '/etc', kind: 'modified' },
      { path: '/etc/x', kind: 'added' },
      { path: '/etc/y', kind: 'deleted' },
    ];
  }

  async export(name: string): Promise<Readable> {
    this.called('export', name);
    return Readable.from([Buffer.from('tar')]);
  }

  stat: PathStat = { name: 'x', size: 3, mode: 0o100644, mtimeMs: 0, linkTarget: '' };
  extracted = Buffer.alloc(0);

  async statPath(name: string, path: string): Promise<PathStat> {
    this.called('statPath', name, path);
    return this.stat;
  }

  async archive(name: string, path: string): Promise<{ stat: PathStat; content: Readable }> {
    this.called('archive', name, path);
    return { stat: this.stat, content: Readable.from([Buffer.from('archive')]) };
  }

  async extract(
    name: string,
    path: string,
    content: Readable,
    options: { noOverwriteDirNonDir: boolean; copyUidGid: boolean },
  ): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of content) chunks.push(chunk as Buffer);
    this.extracted = Buffer.concat(chunks);
    this.called('extract', name, path, options);
  }

  async commit(...args: Parameters<Containers['commit']>): ReturnType<Containers['commit']> {
    this.called('commit', ...args);
    return digestOf('f');
  }

  async connect(networkName: string, name: string, request: EndpointRequest): Promise<void> {
    this.called('connect', networkName, name, request);
  }

  async disconnect(networkName: string, name: string, options: { force: boolean }): Promise<void> {
    this.called('disconnect', networkName, name, options);
  }
}
