import type { Task } from '../contracts/runtime.js';
import type { WaitResult } from './containers.js';

/** A stream that a client asked for before there was a process: it is connected between the task's create and start. */
export interface PendingAttach {
  connect(task: Task): Promise<void>;
  /** The start failed or the container was removed. */
  cancel(): void;
}

/** What is known of a container while its process lives. */
export interface LiveContainer {
  readonly task: Task;
  /** Monotonic milliseconds; the start of this run, or when the daemon met it again. */
  readonly since: number;
  /** Resolves when all output of the first process was written to the log and everything was recorded. */
  readonly ended: Promise<void>;
  readonly end: () => void;
}

/** Live tasks, waiting attaches and waits, by container id: what only memory knows. */
export class LiveContainers {
  private readonly live = new Map<string, LiveContainer>();
  private readonly pending = new Map<string, Set<PendingAttach>>();
  private readonly exits = new Map<string, Set<(result: WaitResult) => void>>();
  private readonly removals = new Map<string, Set<(result: WaitResult) => void>>();

  get(id: string): LiveContainer | undefined {
    return this.live.get(id);
  }

  add(id: string, task: Task): LiveContainer {
    const { promise: ended, resolve: end } = Promise.withResolvers<void>();
    const live = { task, since: performance.now(), ended, end };
    this.live.set(id, live);
    return live;
  }

  delete(id: string): void {
    this.live.delete(id);
  }

  ids(): string[] {
    return [...this.live.keys()];
  }

  /** Kept until the next start takes it; the returned function takes it back. */
  attachLater(id: string, attach: PendingAttach): () => void {
    const set = this.pending.get(id) ?? new Set();
    this.pending.set(id, set.add(attach));
    return () => {
      set.delete(attach);
      if (set.size === 0 && this.pending.get(id) === set) this.pending.delete(id);
    };
  }

  takePending(id: string): PendingAttach[] {
    const set = this.pending.get(id);
    this.pending.delete(id);
    return set ? [...set] : [];
  }

  onExit(id: string, listener: (result: WaitResult) => void): () => void {
    return listen(this.exits, id, listener);
  }

  onRemoval(id: string, listener: (result: WaitResult) => void): () => void {
    return listen(this.removals, id, listener);
  }

  exited(id: string, result: WaitResult): void {
    tell(this.exits, id, result);
  }

  removed(id: string, result: WaitResult): void {
    tell(this.exits, id, result);
    tell(this.removals, id, result);
    for (const attach of this.takePending(id)) attach.cancel();
  }

  /** An automatic removal failed: those who wait for it hear why. */
  removalFailed(id: string, result: WaitResult): void {
    tell(this.removals, id, result);
  }
}

type Listeners = Map<string, Set<(result: WaitResult) => void>>;

function listen(all: Listeners, id: string, listener: (result: WaitResult) => void): () => void {
  const set = all.get(id) ?? new Set();
  all.set(id, set.add(listener));
  return () => {
    set.delete(listener);
    if (set.size === 0 && all.get(id) === set) all.delete(id);
  };
}

function tell(all: Listeners, id: string, result: WaitResult): void {
  const set = all.get(id);
  all.delete(id);
  for (const listener of set ?? []) listener(result);
}
