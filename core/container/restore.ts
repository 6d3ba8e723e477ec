import { readdir } from 'node:fs/promises';
import { messageOf } from '../contracts/errors.js';
import type { FoundTask } from '../contracts/runtime.js';
import { Examination } from '../state/examination.js';
import type { Intent } from '../state/journal.js';
import type { Container } from './container.js';
import { settleMountIntent } from './change-mounts.js';
import { layersOf } from './image-mounts.js';
import { isRunning } from './list-filters.js';
import { releaseContainer } from './release.js';
import { finishRemoval } from './remove.js';
import type { ContainerRoom } from './room.js';
import { examineStrays } from './strays.js';
import type { Supervision } from './supervision.js';

/** What a container that ran is said to have ended with when a reboot took everything that knew. */
const LOST_EXIT_CODE = 255;

/**
 * Brings records and kernel together at the daemon's start, in two halves between which the networks do the same: they must
 * know who lives. Everything here can be cut off and done again.
 */
export class Restoration {
  private readonly found = new Map<string, FoundTask>();
  /** Not running, but something of them may be left. */
  private readonly leftovers = new Set<string>();
  /** Nobody could say whether they run. */
  private readonly unknown = new Set<string>();
  private intents: Intent[] = [];

  constructor(
    private readonly room: ContainerRoom,
    private readonly supervision: Supervision,
  ) {}

  /** Ids of the containers whose first process still runs, or may. What was half started is taken away here. */
  async findLive(): Promise<ReadonlySet<string>> {
    const { room } = this;
    this.intents = room.journal.pending().filter(({ kind }) => kind.startsWith('container.'));
    const halfStarted = new Set(this.intents.filter(({ kind }) => kind === 'container.start').map(({ subject }) => subject));
    // A bundle is the last that goes: where there is one, a cleanup was cut off, or files were being copied.
    const bundles = new Set(await names(room.paths.bundles));
    const candidates = room.store.list().filter(({ id, state }) => isRunning(state.status) || halfStarted.has(id) || bundles.has(id));
    await Promise.all(candidates.map((container) => this.find(container, halfStarted.has(container.id))));
    const running = [...this.found].filter(([, found]) => found.state === 'running').map(([id]) => id);
    return new Set([...running, ...this.unknown]);
  }

  private async find(container: Container, halfStarted: boolean): Promise<void> {
    const { room } = this;
    const { id } = container;
    try {
      const { driver } = await room.drivers.get('runtime', container.runtime);
      const found = await driver.find({ id, bundle: room.paths.bundle(id), stateDir: room.paths.task(id) });
      if (!halfStarted && container.state.status !== 'restarting' && isRunning(container.state.status)) {
        this.found.set(id, found);
        return;
      }
      // A start that was never answered: whoever asked knows nothing of it and will ask again. Or an end that is recorded already.
      if (found.state !== 'absent') await found.task.delete();
      this.leftovers.add(id);
    } catch (error) {
      // "Cannot tell" is not "dead": nothing of it is touched, and the record stays as it is.
      room.log.error('cannot tell whether a container still runs', { container: id, error: messageOf(error) });
      this.unknown.add(id);
    }
  }

  /** After the networks were restored. */
  async finish(): Promise<void> {
    const { room } = this;
    for (const intent of this.intents) await this.settleIntent(intent);
    const known = new Set(room.store.list().map(({ id }) => id));
    await room.layers.settle(new Set(room.store.list().flatMap(layersOf)));
    await room.volumes.settle(known);
    for (const container of room.store.list()) {
      try {
        await room.locks.run(container.id, () => this.settle(container.id));
      } catch (error) {
        room.log.error('restoring a container failed', { container: container.id, error: messageOf(error) });
      }
    }
    await examineStrays(room, new Examination(true, room.log), this.unknown);
    this.found.clear();
    this.leftovers.clear();
    this.intents = [];
  }

  private async settleIntent(intent: Intent): Promise<void> {
    const { room } = this;
    const id = intent.subject;
    const container = room.store.byFullId(id);
    try {
      if (intent.kind === 'container.mount' || intent.kind === 'container.unmount') return await settleMountIntent(room, intent);
      if (intent.kind === 'container.create' && !container) {
        await room.layers.removeWritable(id);
        await room.host.files.removeTree(room.paths.folder(id));
      }
      room.journal.end(intent);
    } catch (error) {
      // It stays in the journal for the next start.
      room.log.error('undoing a cut-off operation failed', { container: id, kind: intent.kind, error: messageOf(error) });
    }
  }

  private async settle(id: string): Promise<void> {
    const { room, supervision } = this;
    const container = room.store.byFullId(id);
    if (!container || this.unknown.has(id)) return;
    const { status } = container.state;
    if (this.leftovers.has(id)) await releaseContainer(room, container);
    if (status === 'removing') {
      await finishRemoval(room, container, container.hostConfig.autoRemove);
      return;
    }
    if (status === 'running' || status === 'paused') {
      const found = this.found.get(id) ?? { state: 'absent' };
      if (found.state === 'running') {
        await this.takeBack(container, found);
        return;
      }
      if (found.state === 'exited') await found.task.delete();
      const exit = found.state === 'exited' ? found.exit : { code: LOST_EXIT_CODE, at: Date.now(), oomKilled: false };
      const delay = supervision.restartDelay(container, exit, 0);
      supervision.recordExit(id, exit, delay === undefined ? 'exited' : 'restarting');
      supervision.publishExit(id, exit);
      await releaseContainer(room, container);
      if (delay !== undefined) supervision.scheduleRestart(id, delay);
    } else if (status === 'restarting') {
      supervision.scheduleRestart(id, 0);
    } else if (status === 'exited' && this.wantsToRun(container)) {
      room.store.updateState(id, { status: 'restarting' });
      supervision.scheduleRestart(id, 0);
    }
    const now = room.store.byFullId(id);
    if (now?.state.status === 'exited' && now.hostConfig.autoRemove) await finishRemoval(room, now, true);
  }

  private async takeBack(container: Container, found: Extract<FoundTask, { state: 'running' }>): Promise<void> {
    const { room } = this;
    const { id } = container;
    // Layer and volumes are counted as in use again; the drivers find their mounts already there.
    for (const layer of layersOf(container)) await room.layers.acquireWritable(layer);
    for (const point of container.mounts) if (point.type === 'volume') await room.volumes.mount(point.name, id);
    const live = room.live.add(id, found.task);
    const record = room.store.update(id, ({ state }) => ({ state: { ...state, pid: found.task.pid }, execIds: [] }));
    this.supervision.watch(record ?? container, live);
  }

  /** A daemon's start is also the start of what shall always run, even if a user had stopped it. */
  private wantsToRun({ hostConfig, manuallyStopped }: Container): boolean {
    const { name } = hostConfig.restartPolicy;
    return name === 'always' || (name === 'unless-stopped' && !manuallyStopped);
  }
}

const names = (path: string): Promise<string[]> => readdir(path).catch(() => []);
