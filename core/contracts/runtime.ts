import type { LogTarget } from './log.js';

/** How a process ended. */
export interface Exit {
  /** 0 to 255; 128 + n for death by signal n. */
  readonly code: number;
  /** Wall clock, milliseconds since 1970. */
  readonly at: number;
  readonly oomKilled: boolean;
}

export interface CreateTask {
  /** 64 hex digits; also the id given to the OCI runtime. */
  readonly id: string;
  /** Holds `config.json` and `rootfs`. Kept until the task is deleted. */
  readonly bundle: string;
  /** A folder on disk for the exit status and what must survive a reboot. */
  readonly stateDir: string;
  readonly terminal: boolean;
  /** Rows and columns at the start; only with `terminal`. */
  readonly consoleSize?: readonly [number, number];
  /** Standard input is kept open for attached clients; otherwise it is /dev/null. */
  readonly openStdin: boolean;
  /** Standard input ends when the first attached client ends its own. */
  readonly stdinOnce: boolean;
  readonly log: LogTarget;
}

export interface ExecSpec {
  /** The OCI `process` object, whole. */
  readonly process: Readonly<Record<string, unknown>>;
  readonly terminal: boolean;
  readonly consoleSize?: readonly [number, number];
  readonly openStdin: boolean;
}

/** Bytes between one client and one process of a task. */
export interface TaskStream {
  /**
   * Output as it comes. The callback's promise is the back-pressure: the next chunk comes after it settles. A reader that
   * makes no progress for some seconds loses the stream (`ended` rejects); the container goes on.
   */
  onOutput(listener: (stream: 'stdout' | 'stderr', chunk: Buffer) => void | Promise<void>): void;
  /** Resolves once accepted. Input to a process that is gone is dropped silently, as a pipe's would be. */
  write(chunk: Buffer): Promise<void>;
  /** End of input. */
  closeStdin(): void;
  /** Resolves when the process' output ended and all of it was handed over. */
  readonly ended: Promise<void>;
  /** Leaves; the process stays. */
  detach(): void;
}

export interface TaskUsage {
  /** The runtime's own cgroup figures in the field's terms; a client's shape is made in core/api. */
  readonly cgroupVersion: 1 | 2;
  readonly readAt: number;
  readonly cpuTotalNs: number;
  readonly cpuUserNs: number;
  readonly cpuKernelNs: number;
  readonly cpuPerCoreNs: readonly number[];
  readonly throttledPeriods: number;
  readonly periods: number;
  readonly throttledNs: number;
  readonly memoryUsage: number;
  readonly memoryMax: number;
  readonly memoryLimit: number;
  /** memory.stat, key by key. */
  readonly memoryStat: Readonly<Record<string, number>>;
  readonly pids: number;
  readonly pidsLimit: number;
  readonly blkio: readonly {
    readonly major: number;
    readonly minor: number;
    readonly op: string;
    readonly bytes: number;
    readonly ios: number;
  }[];
}

/** Limits that can change while a task runs; OCI `linux.resources`. */
export type TaskResources = Readonly<Record<string, unknown>>;

/** A container's live process with its shim. */
export interface Task {
  readonly id: string;
  /** Pid of the container's first process in the host's namespace. */
  readonly pid: number;
  /** Starts the created process. Fails with the runtime's own words; the task can then only be deleted. */
  start(): Promise<void>;
  /**
   * Resolves when the first process ended and its exit is on disk, where it stays, also past a power cut, until the next `create`: whoever
   * records it need not wait for the disk again. Never rejects.
   */
  wait(): Promise<Exit>;
  /** A stream to the first process. Attached before `start`, it misses nothing. */
  attach(options: { stdin: boolean; stdout: boolean; stderr: boolean }): Promise<TaskStream>;
  resize(rows: number, columns: number): Promise<void>;
  /** To the first process; `conflict` when it is gone. */
  kill(signal: number): Promise<void>;
  /** Ends every process of the task through its cgroup. */
  killAll(): Promise<void>;
  pause(): Promise<void>;
  resume(): Promise<void>;
  update(resources: TaskResources): Promise<void>;
  usage(): Promise<TaskUsage>;
  /** Pids in the host's namespace of all processes of the task. */
  pids(): Promise<number[]>;
  /** Starts another process; its stream is attached before it runs. */
  exec(execId: string, spec: ExecSpec, attach: { stdin: boolean; stdout: boolean; stderr: boolean }): Promise<TaskProcess>;
  /** Takes away the runtime's state and cgroup and waits for the shim's end. Repeatable; kills what still runs. */
  delete(): Promise<void>;
}

export interface TaskProcess {
  readonly pid: number;
  readonly stream: TaskStream;
  wait(): Promise<Exit>;
  resize(rows: number, columns: number): Promise<void>;
  kill(signal: number): Promise<void>;
}

/** What is found of a task after a daemon's death. */
export type FoundTask =
  | { readonly state: 'running'; readonly task: Task }
  /** The first process ended while nobody watched; `exit` is what the shim wrote, or 137 at the time found when there is none. */
  | { readonly state: 'exited'; readonly exit: Exit; readonly task: Task }
  | { readonly state: 'absent' };

/** What a runtime driver drives: an OCI runtime behind one shim per container. */
export interface RuntimeDriver {
  /** For `docker info`: the program, and what its `features` say. */
  readonly path: string;
  /** Up to the point where the process exists and waits for `start`. On failure nothing of it is left. Missing executables are reported here or by `start`, in runc's wording, which clients parse. */
  create(options: CreateTask): Promise<Task>;
  /** Meets a task again. A shim that cannot be reached is not taken for a dead container: the kernel is asked. `absent` after a reboot. */
  find(options: { id: string; bundle: string; stateDir: string }): Promise<FoundTask>;
  /** The runtime's version line. */
  version(): Promise<string>;
  close(): Promise<void>;
}
