import { invalid } from '@gantry/core/contracts/errors.js';
import type { Container } from '@gantry/core/container/container.js';
import { container } from './records.js';
import { FakeContainers } from './containers.js';
import { FakeExecs } from './execs.js';
import { FakeImages } from './images.js';
import { FakeNetworks } from './networks.js';
import { FakeVolumes } from './volumes.js';
import { FakeEvents } from './events.js';
import { FakeCheck, FakeStorage } from './storage.js';
import { FakeSystem } from './system.js';
import { Readable } from 'node:stream';
import { conflict, EngineError, invalid } from '@gantry/core/contracts/errors.js';
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
import type { CreateExec, Execs, ExecView } from '@gantry/core/container/execs.js';
import type { Images, Progress, ProgressSink } from '@gantry/core/image/images.js';
import type { Networks } from '@gantry/core/network/networks.js';
import type { EngineEvent, Events, System, SystemInfo, VersionInfo } from '@gantry/core/system/system.js';
import type { InstallPlugin, Plugin, PluginDocuments, PluginLife, Plugins } from '@gantry/core/plugin/plugins.js';
import type { Volume, Volumes } from '@gantry/core/volume/volumes.js';
import { container, digestOf, endpointState, image, network, state, unused } from './records.js';

const now = (): string => new Date().toISOString().replace('Z', '000000Z');

/** Fails as each named call is made; for tests of error answers. */
export type Failures = Map<string, Error>;

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

  async rename(name: string, newName: string): Promise<void> {
    this.called('rename', name, newName);
    const record = this.find(name);
    this.records.set(record.id, { ...record, name: newName });
  }

  async update(...args: Parameters<Containers['update']>): Promise<{ warnings: string[] }> {
    this.called('update', ...args);
    return { warnings: [] };
  }

  async remove(name: string, options: { force: boolean; volumes: boolean; link: boolean }): Promise<void> {
    this.called('remove', name, options);
    this.records.delete(this.find(name).id);
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

/** Execs that give back their input, or print their command. */
export class FakeExecs implements Execs {
  readonly views = new Map<string, ExecView>();
  readonly calls: [string, ...unknown[]][] = [];
  failStart: Error | undefined;

  constructor(private readonly containers: FakeContainers) {}

  async create(name: string, request: CreateExec): Promise<string> {
    this.calls.push(['create', name, request]);
    const id = newId();
    const containerId = this.containers.find(name).id;
    this.views.set(id, { id, containerId, running: false, exitCode: undefined, pid: 0, request, canRemove: false });
    return id;
  }

  inspect(id: string): ExecView {
    const view = this.views.get(id);
    if (!view) throw new EngineError('not-found', `No such exec instance: ${id}`);
    return view;
  }

  async start(...[id, options, open]: Parameters<Execs['start']>): Promise<void> {
    this.calls.push(['start', id, options]);
    const view = this.inspect(id);
    if (options.detach) return;
    const client = await open({ tty: view.request.tty });
    if (this.failStart) throw this.failStart;
    if (view.request.cmd[0] === 'cat' && client.input) {
      for await (const chunk of client.input) await client.write('stdout', chunk);
      await client.write('stdout', Buffer.from('bye\n'));
    } else {
      await client.write('stdout', Buffer.from(`${view.request.cmd.join(' ')}\n`));
    }
    this.views.set(id, { ...view, exitCode: 7 });
  }

  async resize(id: string, rows: number, columns: number): Promise<void> {
    this.calls.push(['resize', id, rows, columns]);
  }
}

export class FakeImages implements Images {
  stored = [image()];
  readonly calls: [string, ...unknown[]][] = [];
  /** What a pull, push, load or import tells, and how it ends. */
  progress: Progress[] = [];
  failure: Error | undefined;
  received = Buffer.alloc(0);

  private async tell(sink: ProgressSink): Promise<void> {
    for (const line of this.progress) {
      sink(line);
      await new Promise((resolve) => setImmediate(resolve));
    }
    if (this.failure) throw this.failure;
  }

  private async take(archive: Readable): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of archive) chunks.push(chunk as Buffer);
    this.received = Buffer.concat(chunks);
  }

  async list(options: Parameters<Images['list']>[0]): ReturnType<Images['list']> {
    this.calls.push(['list', options]);
    return this.stored;
  }

  async inspect(name: string): ReturnType<Images['inspect']> {
    this.calls.push(['inspect', name]);
    return this.resolve(name);
  }

  resolve(name: string): ReturnType<Images['resolve']> {
    const found = this.find(name);
    if (!found) throw new EngineError('not-found', `No such image: ${name}`);
    return found;
  }

  find(name: string): ReturnType<Images['find']> {
    const full = /[:@]/.test(name.slice(name.lastIndexOf('/') + 1)) ? name : `${name}:latest`;
    return this.stored.find(({ id, repoTags }) => id === name || repoTags.includes(full) || repoTags.includes(name));
  }

  async pull(...[request, sink]: Parameters<Images['pull']>): Promise<void> {
    this.calls.push(['pull', request]);
    await this.tell(sink);
  }

  async push(...[request, sink]: Parameters<Images['push']>): Promise<void> {
    this.calls.push(['push', request]);
    await this.tell(sink);
  }

  async tag(...args: Parameters<Images['tag']>): Promise<void> {
    this.calls.push(['tag', ...args]);
  }

  async remove(...args: Parameters<Images['remove']>): ReturnType<Images['remove']> {
    this.calls.push(['remove', ...args]);
    return [{ untagged: 'busybox:latest' }, { deleted: digestOf('a') }];
  }

  async prune(...args: Parameters<Images['prune']>): ReturnType<Images['prune']> {
    this.calls.push(['prune', ...args]);
    return { deleted: [], spaceReclaimed: 0 };
  }

  async history(name: string): ReturnType<Images['history']> {
    this.calls.push(['history', name]);
    return [{ id: '<missing>', created: '2026-01-01T00:00:00Z', createdBy: '/bin/sh -c a && b', tags: [], size: 1, comment: '' }];
  }

  async save(...args: Parameters<Images['save']>): ReturnType<Images['save']> {
    this.calls.push(['save', ...args]);
    return Readable.from([Buffer.from('saved')]);
  }

  async load(...[archive, options, sink]: Parameters<Images['load']>): Promise<void> {
    this.calls.push(['load', options]);
    await this.take(archive);
    await this.tell(sink);
  }

  async import(...[archive, request, sink]: Parameters<Images['import']>): ReturnType<Images['import']> {
    this.calls.push(['import', request]);
    await this.take(archive);
    await this.tell(sink);
    return digestOf('a');
  }

  async distribution(...args: Parameters<Images['distribution']>): ReturnType<Images['distribution']> {
    this.calls.push(['distribution', ...args]);
    return {
      mediaType: 'application/vnd.oci.image.index.v1+json',
      digest: digestOf('a'),
      size: 12,
      platforms: [{ os: 'linux', architecture: 'amd64', variant: '' }],
    };
  }

  async login(...args: Parameters<Images['login']>): ReturnType<Images['login']> {
    this.calls.push(['login', ...args]);
    if (args[0].password !== 'right') throw new EngineError('unauthorized', 'incorrect username or password');
    return { status: 'Login Succeeded', identityToken: '' };
  }

  async search(...args: Parameters<Images['search']>): ReturnType<Images['search']> {
    this.calls.push(['search', ...args]);
    return [{ name: 'busybox', description: 'small', stars: 9, official: true }];
  }

  commit = unused;
  applyChanges = unused;
  layersOf = unused;
  idOf = (name: string): ReturnType<Images['idOf']> => this.find(name)?.id;
  useGuard = unused;

  async usage(): ReturnType<Images['usage']> {
    return { layersSize: 4200000, images: this.stored.map((each) => ({ image: each, sharedSize: 0 })) };
  }
}

export class FakeNetworks implements Networks {
  readonly calls: [string, ...unknown[]][] = [];
  readonly networks = new Map([['bridge', network()]]);

  async create(request: Parameters<Networks['create']>[0]): ReturnType<Networks['create']> {
    this.calls.push(['create', request]);
    const id = newId();
    this.networks.set(request.name, network({ ...request, id }));
    return { id, warning: '' };
  }

  async list(filters: ReadonlyMap<string, readonly string[]>): ReturnType<Networks['list']> {
    this.calls.push(['list', filters]);
    return [...this.networks.values()].map((each) => ({ network: each, containers: {} }));
  }

  async inspect(name: string): ReturnType<Networks['inspect']> {
    const found = this.find(name);
    if (!found) throw new EngineError('not-found', `network ${name} not found`);
    return {
      network: found,
      containers: {
        ['c'.repeat(64)]: { name: 'web', endpointId: 'e'.repeat(64), mac: '02:42:ac:11:00:02', ipv4: '172.17.0.2/16', ipv6: '' },
      },
    };
  }

  async remove(name: string): Promise<void> {
    this.calls.push(['remove', name]);
    if (name === 'bridge') throw new EngineError('forbidden', 'bridge is a pre-defined network and cannot be removed');
    this.networks.delete(name);
  }

  async prune(filters: ReadonlyMap<string, readonly string[]>): Promise<string[]> {
    this.calls.push(['prune', filters]);
    return [];
  }

  find(name: string): ReturnType<Networks['find']> {
    return this.networks.get(name) ?? [...this.networks.values()].find(({ id }) => id === name);
  }

  openSandbox = unused;
  closeSandbox = unused;
  join = unused;
  leave = unused;
  endpointsOf = unused;
  sandboxOf = unused;
  rename = unused;
  nameFiles = unused;
  counters = unused;
  restore = unused;
}

export class FakeVolumes implements Volumes {
  readonly calls: [string, ...unknown[]][] = [];
  readonly volumes = new Map<string, Volume>();

  async create(request: Parameters<Volumes['create']>[0]): Promise<Volume> {
    this.calls.push(['create', request]);
    const name = request.name || newId();
    const old = this.volumes.get(name);
    const driver = request.driver || 'local';
    if (old && old.driver !== driver) throw conflict(`volume ${name} exists with driver ${old.driver}`);
    const made: Volume = old ?? {
      name,
      driver,
      created: '2026-01-01T00:00:00Z',
      labels: request.labels,
      options: request.options,
      scope: 'local',
      mountpoint: `/volumes/${name}`,
      anonymous: request.name === '',
    };
    this.volumes.set(name, made);
    return made;
  }

  async list(filters: ReadonlyMap<string, readonly string[]>): ReturnType<Volumes['list']> {
    this.calls.push(['list', filters]);
    return { volumes: [...this.volumes.values()], warnings: [] };
  }

  async inspect(name: string): ReturnType<Volumes['inspect']> {
    const found = this.volumes.get(name);
    if (!found) throw new EngineError('not-found', `get ${name}: no such volume`);
    return found;
  }

  async remove(name: string, options: { force: boolean }): Promise<void> {
    this.calls.push(['remove', name, options]);
    this.volumes.delete(name);
  }

  async prune(...args: Parameters<Volumes['prune']>): ReturnType<Volumes['prune']> {
    this.calls.push(['prune', ...args]);
    return { deleted: ['old'], spaceReclaimed: 5 };
  }

  async usage(): ReturnType<Volumes['usage']> {
    return { size: 10, references: 1 };
  }

  reference = unused;
  dereference = unused;
  mount = unused;
  unmount = unused;
  fill = unused;
  settle = unused;

  async clone(name: string, request: Parameters<Volumes['clone']>[1]): Promise<Volume> {
    this.calls.push(['clone', name, request]);
    return this.create({ name: request.to, driver: 'local', options: {}, labels: request.labels });
  }

  async snapshot(name: string, request: Parameters<Volumes['snapshot']>[1]): Promise<Volume> {
    this.calls.push(['snapshot', name, request]);
    return this.create({ name: request.to, driver: 'local', options: {}, labels: request.labels });
  }

  async rename(name: string, to: string): Promise<Volume> {
    this.calls.push(['rename', name, to]);
    return { ...(await this.inspect(name)), name: to };
  }

  async resize(name: string, bytes: number): Promise<void> {
    this.calls.push(['resize', name, bytes]);
  }

  async exportFrom(name: string, options: { freeze: boolean }): Promise<Readable> {
    this.calls.push(['export', name, options]);
    return Readable.from([Buffer.from('archive')]);
  }

  async importInto(name: string, archive: Readable): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of archive as AsyncIterable<Buffer>) chunks.push(chunk);
    this.calls.push(['import', name, Buffer.concat(chunks).toString()]);
  }
}

/** No plugin is there but those that a test puts in. */
export class FakePlugins implements Plugins {
  readonly calls: [string, ...unknown[]][] = [];
  readonly plugins = new Map<string, Plugin>();

  list(filters: ReadonlyMap<string, readonly string[]>): Plugin[] {
    this.calls.push(['list', filters]);
    return [...this.plugins.values()];
  }

  inspect(name: string): Plugin {
    const found = this.plugins.get(name);
    if (!found) throw new EngineError('not-found', `plugin ${JSON.stringify(name)} not found`);
    return found;
  }

  life = (): PluginLife => ({ state: 'stopped', pid: 0, restarts: 0, lastError: '' });
  documents = (): PluginDocuments => ({ config: {}, mounts: [], devices: [] });

  async privileges(remote: string): Promise<{ name: string; description: string; value: string[] }[]> {
    this.calls.push(['privileges', remote]);
    return [{ name: 'network', description: 'permissions to access a network', value: ['host'] }];
  }

  pulledName = ({ remote, name }: Pick<InstallPlugin, 'remote' | 'name'>): string => name || remote;

  async pull(request: InstallPlugin, progress: ProgressSink): Promise<void> {
    this.calls.push(['pull', request]);
    progress({ status: 'done' });
  }

  async create(name: string, archive: Readable): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of archive as AsyncIterable<Buffer>) chunks.push(chunk);
    this.calls.push(['create', name, Buffer.concat(chunks).toString()]);
  }

  async enable(name: string, options: { timeout: number }): Promise<void> {
    this.calls.push(['enable', name, options]);
  }

  async disable(name: string, options: { force: boolean }): Promise<void> {
    this.calls.push(['disable', name, options]);
  }

  async set(name: string, changes: readonly string[]): Promise<void> {
    this.calls.push(['set', name, changes]);
  }

  upgrade = unused;
  push = unused;
  logs = unused;

  async remove(name: string): Promise<Plugin> {
    return this.inspect(name);
  }
}

/** Remembers all and hands on live ones. */
export class FakeEvents implements Events {
  readonly past: EngineEvent[] = [];
  readonly subscriptions: Parameters<Events['subscribe']>[0][] = [];
  private readonly subscribers = new Set<(event: EngineEvent) => void>();

  get listeners(): number {
    return this.subscribers.size;
  }

  publish(event: Omit<EngineEvent, 'time'>): void {
    const timed = { ...event, time: BigInt(Date.now()) * 1_000_000n + 7n };
    this.past.push(timed);
    for (const deliver of this.subscribers) deliver(timed);
  }

  subscribe(options: Parameters<Events['subscribe']>[0]): AsyncIterable<EngineEvent> {
    this.subscriptions.push(options);
    const waiting = options.since === undefined ? [] : this.past.filter(({ time }) => time >= (options.since ?? 0n));
    let wake = (): void => undefined;
    const listener = (event: EngineEvent): void => {
      waiting.push(event);
      wake();
    };
    this.subscribers.add(listener);
    const ended = options.until !== undefined && options.until <= BigInt(Date.now()) * 1_000_000n;
    options.signal.addEventListener('abort', () => wake());
    const subscribers = this.subscribers;
    return (async function* () {
      for (;;) {
        const event = waiting.shift();
        if (event) yield event;
        else if (ended || options.signal.aborted) break;
        else await new Promise<void>((resolve) => (wake = resolve));
      }
      subscribers.delete(listener);
    })();
  }
}

export class FakeSystem implements System {
  readonly storageDriver = 'overlay2';

  version(): VersionInfo {
    return {
      version: '0.1.0',
      gitCommit: 'abc',
      buildTime: '2026-01-01T00:00:00Z',
      os: 'linux',
      arch: 'amd64',
      kernelVersion: '6.18',
      nodeVersion: 'v26',
      components: [],
    };
  }

  async info(): Promise<SystemInfo> {
    return {
      id: 'engine',
      name: 'host',
      containers: 1,
      running: 1,
      paused: 0,
      stopped: 0,
      images: 1,
      storageDriver: 'overlay2',
      storageStatus: [['Backing Filesystem', 'ext4']],
      drivers: {
        volume: ['local'],
        network: ['bridge', 'host', 'none'],
        log: ['json-file', 'none'],
        storage: ['overlay2'],
      },
      unavailableDrivers: [],
      memoryLimit: true,
      swapLimit: true,
      cpuCfs: true,
      cpuShares: true,
      cpuSet: true,
      pidsLimit: true,
      oomKillDisable: false,
      ipv4Forwarding: true,
      debug: false,
      fileDescriptors: 30,
      goroutines: 1,
      eventListeners: 0,
      systemTime: '2026-01-01T00:00:00Z',
      loggingDriver: 'json-file',
      cgroupDriver: 'cgroupfs',
      cgroupVersion: '2',
      kernelVersion: '6.18',
      operatingSystem: 'Debian',
      osVersion: '12',
      arch: 'x86_64',
      cpus: 2,
      memoryTotal: 1 << 30,
      dataRoot: '/data',
      labels: [],
      serverVersion: '0.1.0',
      runtimes: { native: { path: 'gantry-runtime', args: [] } },
      defaultRuntime: 'native',
      liveRestore: true,
      initBinary: 'gantry-init',
      securityOptions: ['name=seccomp,profile=builtin', 'name=cgroupns'],
      insecureRegistries: ['10.0.0.0/8', 'registry.test:5000'],
      registryMirrors: [],
      defaultAddressPools: [],
      warnings: [],
      httpProxy: '',
      httpsProxy: '',
      noProxy: '',
    };
  }
}

/** A whole engine in memory, for tests of what stands in front of it. */
export class FakeServices {
  readonly events = new FakeEvents();
  readonly containers = new FakeContainers(this.events);
  readonly execs = new FakeExecs(this.containers);
  readonly images = new FakeImages();
  readonly networks = new FakeNetworks();
  readonly volumes = new FakeVolumes();
  readonly storage = new FakeStorage();
  readonly check = new FakeCheck();
  readonly managedPlugins = new FakePlugins();
  readonly system = new FakeSystem();

  /** One container that exists. */
  container(change: Partial<Container> = {}): Container {
    const record = container(change);
    this.containers.add(record);
    return record;
  }

  static badRequest = invalid('bad');
}

/** A log that keeps quiet and remembers. */
export class FakeLog {
  readonly lines: { level: string; message: string; fields?: Record<string, unknown> }[] = [];
  debug = this.writer('debug');
  info = this.writer('info');
  warn = this.writer('warn');
  error = this.writer('error');

  private writer(level: string) {
    return (message: string, fields?: Record<string, unknown>): void => {
      this.lines.push({ level, message, ...(fields ? { fields } : {}) });
    };
  }
}
