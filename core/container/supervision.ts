import { setImmediate } from 'node:timers/promises';
import { messageOf } from '../contracts/errors.js';
import type { Exit } from '../contracts/runtime.js';
import { failpoint } from '../state/failpoint.js';
import type { Container } from './container.js';
import { HealthMonitor } from './health.js';
import type { LiveContainer } from './live.js';
import { tellLogDriver } from './logs.js';
import { releaseContainer } from './release.js';
import type { ContainerRoom } from './room.js';
import { hasHealthcheck } from './start.js';
import { nowNanoseconds, parseTime, rfc3339FromMs } from './times.js';

const FIRST_DELAY_MS = 100;
const LONGEST_DELAY_MS = 60_000;
/** Between two tries of a container whose plugin is away. */
const WAIT_FOR_PLUGIN_MS = 1_000;
/** A run of this length makes the next delay short again. */
const GOOD_RUN_MS = 10_000;

/** What a container's end can set off; the service gives it. */
export interface AfterExit {
  restart(id: string): Promise<void>;
  autoRemove(id: string): Promise<void>;
}

/** Watches over what runs: records its exit, cleans up, restarts it by its policy, and probes its health. */
export class Supervision {
  private readonly restarts = new Map<string, NodeJS.Timeout>();
  private readonly delays = new Map<string, number>();
  private readonly monitors = new Map<string, HealthMonitor>();
  private closed = false;

  constructor(
    private readonly room: ContainerRoom,
    private readonly after: AfterExit,
  ) {}

  /** From a start, or from meeting it again, to its exit. */
  watch(container: Container, live: LiveContainer): void {
    const { id } = container;
    if (hasHealthcheck(container)) {
      const monitor = new HealthMonitor(this.room, id, live);
      this.monitors.set(id, monitor);
      monitor.start();
    }
    tellLogDriver(this.room, container, live.ended);
    void live.task.wait().then((exit) => this.ended(id, live, exit));
  }

  /** The daemon stops: containers go on, nothing here does. */
  close(): void {
    this.closed = true;
    for (const timer of this.restarts.values()) clearTimeout(timer);
    for (const monitor of this.monitors.values()) monitor.stop();
    this.restarts.clear();
    this.monitors.clear();
  }

  /** A user stopped it while it waited for its restart. True when it did. The caller holds its lock. */
  cancelRestart(id: string): boolean {
    const timer = this.restarts.get(id);
    clearTimeout(timer);
    this.restarts.delete(id);
    this.delays.delete(id);
    if (!timer) return false;
    this.room.store.updateState(id, { status: 'exited', waitingFor: undefined });
    const code = this.room.store.byFullId(id)?.state.exitCode ?? 0;
    this.room.live.exited(id, { exitCode: code, error: undefined });
    return true;
  }

  /** A user started it: its restarts begin with the short delay again. */
  forgetDelay(id: string): void {
    this.delays.delete(id);
  }

  private async ended(id: string, live: LiveContainer, exit: Exit): Promise<void> {
    if (this.closed) return;
    this.monitors.get(id)?.stop();
    this.monitors.delete(id);
    try {
      await this.room.locks.run(id, () => this.finish(id, live, exit));
    } catch (error) {
      this.room.log.error('recording the end of a container failed', { container: id, error: messageOf(error) });
    }
  }

  private async finish(id: string, live: LiveContainer, exit: Exit): Promise<void> {
    const container = this.room.store.byFullId(id);
    if (!container || this.room.live.get(id) !== live) return;
    // The record first: with the task goes the only other place that knows the exit code. A cleanup that a crash cuts off is
    // found by the bundle, which goes last.
    const delay = this.restartDelay(container, exit, performance.now() - live.since);
    this.recordExit(id, exit, delay === undefined ? 'exited' : 'restarting');
    failpoint('container.exit.1');
    const deleted = live.task.delete().catch((error: unknown) => {
      this.room.log.warn('deleting a task failed', { container: id, error: messageOf(error) });
    });
    failpoint('container.exit.2');
    // The signal that ended it is told first: its answer came before the exit, perhaps in one piece with it.
    await setImmediate();
    // Before the networks are left, as clients that follow events know it. Who acts on it waits for this lock.
    this.publishExit(id, exit);
    await releaseContainer(this.room, container, deleted);
    failpoint('container.exit.3');
    this.room.live.delete(id);
    live.end();
    this.room.live.exited(id, { exitCode: exit.code, error: undefined });
    if (delay !== undefined) this.scheduleRestart(id, delay);
    // Not under the lock that is held here.
    else if (container.hostConfig.autoRemove) void setImmediate().then(() => this.autoRemove(id));
  }

  /** Writes how a container ended. Also for one that ended while no daemon watched. */
  recordExit(id: string, exit: Exit, status: 'exited' | 'restarting'): void {
    const record = ({ state }: Container): Partial<Container> => ({
      state: { ...state, status, pid: 0, exitCode: exit.code, oomKilled: exit.oomKilled, finishedAt: rfc3339FromMs(exit.at) },
      execIds: [],
    });
    // Also on a full disk, which is what many of them end of. After a power cut the task's own exit file tells it once more.
    this.room.db.freeing(() => this.room.commit(false, () => this.room.store.update(id, record)));
  }

  /** Tells how a container ended; the caller holds its lock, and gives back what it used only then. */
  publishExit(id: string, exit: Exit): void {
    const container = this.room.store.byFullId(id);
    if (!container) return;
    if (exit.oomKilled) this.room.publish(container, 'oom');
    const seconds = (nowNanoseconds() - parseTime(container.state.startedAt)) / 1_000_000_000n;
    this.room.publish(container, 'die', { exitCode: String(exit.code), execDuration: String(seconds < 0n ? 0n : seconds) });
  }

  /** Milliseconds until the restart that the policy asks for; `undefined` for none. */
  restartDelay(container: Container, exit: Exit, ranMs: number): number | undefined {
    const { name, maximumRetryCount } = container.hostConfig.restartPolicy;
    const wanted =
      !container.manuallyStopped &&
      !this.closed &&
      (name === 'always' ||
        name === 'unless-stopped' ||
        (name === 'on-failure' && exit.code !== 0 && (maximumRetryCount === 0 || container.restartCount < maximumRetryCount)));
    if (!wanted) {
      this.delays.delete(container.id);
      return undefined;
    }
    const last = ranMs >= GOOD_RUN_MS ? undefined : this.delays.get(container.id);
    const delay = last === undefined ? FIRST_DELAY_MS : Math.min(last * 2, LONGEST_DELAY_MS);
    this.delays.set(container.id, delay);
    return delay;
  }

  scheduleRestart(id: string, delay: number): void {
    const timer = setTimeout(() => {
      this.after.restart(id).catch((error: unknown) => {
        this.room.log.warn('restarting a container failed', { container: id, error: messageOf(error) });
      });
    }, delay);
    this.restarts.set(id, timer);
  }

  /** Tries again soon: nobody tells when a plugin comes back, and to ask one that is away costs little. */
  waitForPlugin(id: string): void {
    if (!this.closed) this.scheduleRestart(id, WAIT_FOR_PLUGIN_MS);
  }

  /** The restart's timer has fired; true when nobody cancelled it. */
  takeRestart(id: string): boolean {
    return this.restarts.delete(id);
  }

  private async autoRemove(id: string): Promise<void> {
    try {
      await this.after.autoRemove(id);
    } catch (error) {
      this.room.log.warn('removing a container automatically failed', { container: id, error: messageOf(error) });
      const code = this.room.store.byFullId(id)?.state.exitCode ?? 0;
      this.room.live.removalFailed(id, { exitCode: code, error: messageOf(error) });
    }
  }
}
