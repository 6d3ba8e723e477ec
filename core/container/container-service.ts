import type { Readable } from 'node:stream';
import { inject, injectable } from 'tsyringe';
import { EngineError, conflict, invalid, isKind } from '../contracts/errors.js';
import type { PathStat } from '../contracts/host-files.js';
import type { Digest } from '../contracts/ids.js';
import type { LogEntry, LogForm, ReadLogs } from '../contracts/log.js';
import type { Change } from '../contracts/storage.js';
import type { MovedLayer } from '../layer/layers.js';
import type { Examination } from '../state/examination.js';
import { Tokens } from '../tokens.js';
import { archivePath, exportRootfs, extractArchive, statPath } from './archive.js';
import { commitContainer } from './commit.js';
import { connectNetwork, disconnectNetwork } from './connect.js';
import { addMount, removeMount } from './change-mounts.js';
import type { Container, EndpointRequest, MountRequest } from './container.js';
import { noSuchContainer } from './container-store.js';
import type {
  AttachOptions,
  ClientStream,
  CommitContainer,
  Containers,
  ContainerView,
  CreateContainer,
  Filters,
  ListContainers,
  StatsSample,
  TopResult,
  WaitCondition,
  WaitResult,
} from './containers.js';
import { createContainer } from './create.js';
import { isRunning, pruneMatcher } from './list-filters.js';
import { removeLink } from './links.js';
import { listContainers } from './list.js';
import { readLogRuns, readLogs } from './logs.js';
import { migrateContainer } from './migrate.js';
import { checkName } from './names.js';
import { changedBindings, type PortChange, setPorts } from './ports.js';
import { removeContainer } from './remove.js';
import { Restoration } from './restore.js';
import type { ContainerRoom } from './room.js';
import { checkStartable, startContainer } from './start.js';
import { sample } from './stats.js';
import { signalContainer, stopContainer } from './stop.js';
import { mountsImage } from './image-mounts.js';
import { examineStrays } from './strays.js';
import { attach } from './streams.js';
import { Supervision } from './supervision.js';
import { nowNanoseconds, parseTime } from './times.js';
import { top } from './top.js';
import { updateContainer } from './update.js';
import { detailedViewOf, withSize } from './view.js';
import { waitFor } from './wait.js';

/** The life of containers. Each operation is in a file of its own; here is who may do what when, under the container's lock. */
@injectable()
export class ContainerService implements Containers {
  private readonly supervision: Supervision;
  private readonly restoration: Restoration;

  constructor(@inject(Tokens.ContainerRoom) private readonly room: ContainerRoom) {
    this.supervision = new Supervision(room, {
      restart: (id) => this.restartAutomatically(id),
      autoRemove: (id) => removeContainer(room, this.supervision, id, { force: false, volumes: true }),
    });
    this.restoration = new Restoration(room, this.supervision);
  }

  /**
   * First part of a daemon's start, once the room is open: which containers still live. The composition root then gives the set
   * to `Networks.restore`, and only after that calls {@link restore}.
   */
  findLive(): Promise<ReadonlySet<string>> {
    return this.restoration.findLive();
  }

  /**
   * Last part of a daemon's start: tells layers and volumes which containers there are, takes the living back under supervision, records and cleans up what ended meanwhile,
   * finishes or undoes what a crash cut off, and starts what its restart policy wants running.
   */
  restore(): Promise<void> {
    return this.restoration.finish();
  }

  /** The daemon stops. Containers go on without it. */
  close(): void {
    this.supervision.close();
  }

  /** Who uses an image, for the image service's guard. From memory; a running user is preferred. */
  usersOf(imageId: Digest): { id: string; running: boolean } | undefined {
    let found: { id: string; running: boolean } | undefined;
    for (const container of this.room.store.list()) {
      if (container.imageId !== imageId && !mountsImage(container, imageId)) continue;
      const running = isRunning(container.state.status);
      if (running) return { id: container.id, running };
      found ??= { id: container.id, running };
    }
    return found;
  }

  create(request: CreateContainer): Promise<{ id: string; warnings: string[] }> {
    return createContainer(this.room, request);
  }

  list(options: ListContainers): Promise<ContainerView[]> {
    return listContainers(this.room, options);
  }

  async inspect(name: string, options: { size?: boolean } = {}): Promise<ContainerView> {
    const view = await detailedViewOf(this.room, this.room.store.get(name));
    return options.size === true ? withSize(this.room, view) : view;
  }

  async start(name: string): Promise<void> {
    const { id } = this.room.store.get(name);
    await this.locked(id, async (container) => {
      checkStartable(container);
      this.supervision.forgetDelay(id);
      await this.startNow(container, false);
    }).catch(async (error: unknown) => {
      const failed = this.room.store.byFullId(id);
      const refused = isKind(error, 'not-modified') || (isKind(error, 'conflict') && failed?.state.error === '');
      // A container that shall remove itself does so also when it never got to run.
      if (failed?.hostConfig.autoRemove && !refused && !isRunning(failed.state.status)) {
        await removeContainer(this.room, this.supervision, id, { force: false, volumes: true }).catch(() => undefined);
      }
      throw error;
    });
  }

  async stop(name: string, options: { timeout?: number; signal?: string }): Promise<void> {
    await stopContainer(this.room, this.supervision, this.room.store.get(name).id, options);
  }

  async restart(name: string, options: { timeout?: number; signal?: string }): Promise<void> {
    const { id } = this.room.store.get(name);
    await stopContainer(this.room, this.supervision, id, options).catch((error: unknown) => {
      if (!isKind(error, 'not-modified')) throw error;
    });
    await this.locked(id, async (container) => {
      checkStartable(container);
      this.supervision.forgetDelay(id);
      await this.startNow(container, false);
      this.room.publish(container, 'restart');
    });
  }

  async kill(name: string, signal: string): Promise<void> {
    const container = this.room.store.find(name);
    if (!container) throw new EngineError('not-found', `cannot kill container: ${name}: No such container: ${name}`);
    await signalContainer(this.room, this.supervision, container, name, signal);
  }

  async pause(name: string): Promise<void> {
    const { id } = this.room.store.get(name);
    await this.locked(id, async (container) => {
      const live = this.room.live.get(id);
      if (container.state.status === 'paused') throw conflict(`container ${id} is already paused`);
      if (container.state.status === 'restarting') throw conflict(`container ${id} is restarting, wait until the container is running`);
      if (!live) throw conflict(`container ${id} is not running`);
      await live.task.pause();
      this.room.store.updateState(id, { status: 'paused' });
      this.room.publish(container, 'pause');
    });
  }

  async unpause(name: string): Promise<void> {
    const { id } = this.room.store.get(name);
    await this.locked(id, async (container) => {
      const live = this.room.live.get(id);
      if (container.state.status !== 'paused' || !live) throw conflict(`container ${id} is not paused`);
      await live.task.resume();
      this.room.store.updateState(id, { status: 'running' });
      this.room.publish(container, 'unpause');
    });
  }

  async rename(name: string, newName: string): Promise<void> {
    const { id } = this.room.store.get(name);
    if (newName === '') throw invalid('Neither old nor new names may be empty');
    const bare = checkName(newName);
    await this.locked(id, async (container) => {
      if (container.name === bare) throw invalid('Renaming a container with the same name as its current name');
      if (container.state.status === 'removing' || container.state.status === 'dead') {
        throw conflict(`container ${id} is marked for removal and cannot be renamed`);
      }
      const renamed = { ...container, name: bare };
      this.room.store.put(renamed);
      try {
        await this.room.networks.rename(id, bare);
      } catch (error) {
        this.room.store.put({ ...(this.room.store.byFullId(id) ?? container), name: container.name });
        throw error;
      }
      this.room.publish(renamed, 'rename', { oldName: `/${container.name}` });
    });
  }

  async changePorts(name: string, change: PortChange): Promise<void> {
    const { id } = this.room.store.get(name);
    await this.locked(id, async (container) => {
      await setPorts(this.room, container, changedBindings(container.hostConfig.portBindings, change));
      this.room.publish(container, 'update');
    });
  }

  async addMount(name: string, mount: MountRequest): Promise<void> {
    const { id } = this.room.store.get(name);
    await this.locked(id, (container) => addMount(this.room, container, mount));
  }

  async removeMount(name: string, target: string): Promise<void> {
    const { id } = this.room.store.get(name);
    await this.locked(id, (container) => removeMount(this.room, container, target));
  }

  async update(name: string, change: Parameters<Containers['update']>[1]): Promise<{ warnings: string[] }> {
    const { id } = this.room.store.get(name);
    return this.locked(id, (container) => updateContainer(this.room, this.supervision, container, change));
  }

  async remove(name: string, options: { force: boolean; volumes: boolean }): Promise<void> {
    const { id, state } = this.room.store.get(name);
    if (state.status === 'removing' && this.room.locks.busy(id)) throw conflict(`removal of container ${name} is already in progress`);
    await removeContainer(this.room, this.supervision, id, options);
  }

  async removeLink(name: string, alias: string): Promise<void> {
    const { id } = this.room.store.get(name);
    await this.locked(id, (container) => removeLink(this.room, container, alias));
  }

  async prune(filters: Filters): Promise<{ deleted: string[]; spaceReclaimed: number }> {
    const matches = pruneMatcher(filters, nowNanoseconds(), (container) => parseTime(container.created));
    const deleted: string[] = [];
    let spaceReclaimed = 0;
    for (const { id } of this.room.store.list().filter(matches)) {
      const size = await this.room.layers.writableUsage(id).catch(() => 0);
      try {
        await removeContainer(this.room, this.supervision, id, { force: false, volumes: false });
      } catch (error) {
        // It was started in between, or somebody else removes it.
        if (isKind(error, 'conflict') || isKind(error, 'not-found')) continue;
        throw error;
      }
      deleted.push(id);
      spaceReclaimed += size;
    }
    this.room.events.publish({ type: 'container', action: 'prune', id: '', attributes: { reclaimed: String(spaceReclaimed) } });
    return { deleted, spaceReclaimed };
  }

  async wait(name: string, condition: WaitCondition, signal: AbortSignal): Promise<{ result: Promise<WaitResult> }> {
    return { result: waitFor(this.room, this.room.store.get(name), condition, signal) };
  }

  async attach(name: string, options: AttachOptions, open: (info: { tty: boolean }) => Promise<ClientStream>): Promise<void> {
    await attach(this.room, this.room.store.get(name), options, open);
  }

  async resize(name: string, rows: number, columns: number): Promise<void> {
    const container = this.room.store.get(name);
    const live = this.room.live.get(container.id);
    if (!live) throw conflict(`cannot resize a stopped container: container ${container.id} is not running`);
    await live.task.resize(rows, columns);
    this.room.publish(container, 'resize', { height: String(rows), width: String(columns) });
  }

  async top(name: string, psArgs: string): Promise<TopResult> {
    return top(this.room, this.room.store.get(name), psArgs);
  }

  async sample(name: string): Promise<StatsSample> {
    return sample(this.room, this.room.store.get(name));
  }

  async logs(name: string, request: ReadLogs): Promise<{ tty: boolean; entries: AsyncIterable<LogEntry> }> {
    const container = this.room.store.get(name);
    return { tty: container.config.tty, entries: await readLogs(this.room, container, request) };
  }

  async logRuns(
    name: string,
    request: ReadLogs,
    { timestamps }: Pick<LogForm, 'timestamps'>,
  ): Promise<{ tty: boolean; entries: AsyncIterable<LogEntry | Buffer> }> {
    const container = this.room.store.get(name);
    const { tty } = container.config;
    return { tty, entries: await readLogRuns(this.room, container, request, { timestamps, framed: !tty }) };
  }

  async changes(name: string): Promise<Change[]> {
    return this.room.layers.writableChanges(this.room.store.get(name).id);
  }

  async export(name: string): Promise<Readable> {
    return exportRootfs(this.room, this.usable(name));
  }

  async statPath(name: string, path: string): Promise<PathStat> {
    return statPath(this.room, this.usable(name), path);
  }

  async archive(name: string, path: string): Promise<{ stat: PathStat; content: Readable }> {
    return archivePath(this.room, this.usable(name), path);
  }

  async extract(
    name: string,
    path: string,
    content: Readable,
    options: { noOverwriteDirNonDir: boolean; copyUidGid: boolean },
  ): Promise<void> {
    await extractArchive(this.room, this.usable(name), path, content, options);
  }

  async commit(name: string, request: CommitContainer): Promise<Digest> {
    return commitContainer(this.room, this.usable(name), request);
  }

  async migrate(name: string, storageDriver: string): Promise<MovedLayer> {
    const { id } = this.room.store.get(name);
    return this.locked(id, (container) => migrateContainer(this.room, container, storageDriver));
  }

  examine(examination: Examination): Promise<void> {
    return examineStrays(this.room, examination, new Set());
  }

  async connect(network: string, name: string, request: EndpointRequest): Promise<void> {
    const { id } = this.room.store.get(name);
    await this.locked(id, (container) => connectNetwork(this.room, network, container, request));
  }

  async disconnect(network: string, name: string, options: { force: boolean }): Promise<void> {
    const known = this.room.store.find(name);
    if (!known) {
      if (!options.force) throw noSuchContainer(name);
      // What is left of a container that nobody remembers.
      const left = await this.room.networks.leave(network, name, { force: true });
      if (!left) throw new EngineError('not-found', `endpoint ${name} not found`);
      return;
    }
    await this.locked(known.id, (container) => disconnectNetwork(this.room, network, container, options));
  }

  /** A container whose files are there. */
  private usable(name: string): Container {
    const container = this.room.store.get(name);
    const { status } = container.state;
    if (status === 'removing' || status === 'dead') throw conflict(`container ${container.id} is marked for removal`);
    return container;
  }

  /** Runs `work` under the container's lock with the record as it is then. */
  private locked<T>(id: string, work: (container: Container) => Promise<T>): Promise<T> {
    return this.room.locks.run(id, async () => {
      const container = this.room.store.byFullId(id);
      if (!container) throw noSuchContainer(id);
      return work(container);
    });
  }

  /** The caller holds the lock. */
  private async startNow(container: Container, automatic: boolean): Promise<void> {
    const live = await startContainer(this.room, container, automatic);
    this.supervision.watch(this.room.store.byFullId(container.id) ?? container, live);
  }

  private async restartAutomatically(id: string): Promise<void> {
    await this.room.locks.run(id, async () => {
      const container = this.room.store.byFullId(id);
      if (!this.supervision.takeRestart(id) || container?.state.status !== 'restarting') return;
      try {
        await this.startNow(container, true);
      } catch (error) {
        if (this.room.store.byFullId(id)?.state.waitingFor !== undefined) {
          this.supervision.waitForPlugin(id);
          return;
        }
        if (error instanceof EngineError) this.room.log.warn('a restart failed', { container: id, error: error.message });
        throw error;
      }
    });
  }
}
