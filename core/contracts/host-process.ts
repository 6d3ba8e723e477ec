export interface SpawnOptions {
  readonly path: string;
  /** argv, the first element included. */
  readonly args: readonly string[];
  readonly env: readonly string[];
  readonly cwd?: string;
  /** Descriptor numbers of this process that become 0, 1, 2, 3 … in the child; -1 is /dev/null. Nothing else is inherited. */
  readonly fds: readonly number[];
  /** Starts a session of its own, so that no signal to the daemon's group reaches it. */
  readonly newSession?: boolean;
  /** PR_SET_PDEATHSIG is never set: children outlive the daemon unless it ends them. */
}

export interface ChildExit {
  /** Exit code, or 128 + signal. */
  readonly code: number;
}

export interface Child {
  readonly pid: number;
  /** Resolves when it was reaped. */
  readonly exited: Promise<ChildExit>;
}

export interface CompanionOptions {
  /** Its file, or its name where the engine's own programs are. */
  readonly program: string;
  /** Of its control socket. Who may enter its folder may command it; a missing one is made for this user alone. */
  readonly socket: string;
  /** Of its protocol. One that speaks another is ended. */
  readonly version: string;
  /** It ended while somebody was connected to it and had not called `disconnect`. */
  readonly ended: () => void;
}

/**
 * A program beside the daemon that outlives it, and is told what to do through a socket: for each request a connection, with lines of
 * words and descriptors, and one line back.
 */
export interface Companion {
  /** Whether one runs that we are connected to, as far as we have heard. */
  readonly connected: boolean;
  /** Connects to one that a former daemon left; resolves to what it says that it does, or to `undefined` when there is none. */
  find(): Promise<readonly string[] | undefined>;
  /** Starts one, in the place of any that does not answer, and connects to it. */
  start(): Promise<void>;
  /** Sends lines and descriptors, which stay the caller's; resolves to the words of the answer. Throws what was wrong, or that there is none. */
  ask(lines: readonly string[], descriptors?: readonly number[]): Promise<readonly string[]>;
  /** Hears no more of it; it goes on. */
  disconnect(): void;
  /** Ends it, and waits for its end a while. */
  quit(): Promise<void>;
}

export interface HostProcess {
  /** The program is not started and not looked for. */
  companion(options: CompanionOptions): Companion;
  /** clone(CLONE_VM|CLONE_VFORK): does not copy the daemon's page tables. Throws with `code` when the program cannot be executed. */
  spawn(options: SpawnOptions): Child;
  /** A connected pair of unix stream sockets, close-on-exec, for `net.Socket({ fd })` on one side and a child on the other. */
  socketPair(): [number, number];
  /** pipe2(O_CLOEXEC): [read end, write end]. */
  pipe(): [number, number];
  closeFd(fd: number): void;
  /** Start time of a process in clock ticks since boot (field 22 of its stat), or `undefined` when there is none or it is a zombie: tells a reused pid. */
  startTime(pid: number): number | undefined;
  /** Sends through a pidfd after comparing the start time; false when that process is gone. */
  signal(pid: number, startTime: number, signal: number): boolean;
  /** Tells a service manager lines of NAME=value (sd_notify(3)); `address` is its socket: a path, or an abstract name after '@'. Never waits. */
  notifyService(address: string, state: string): void;
  /** Runs a program to its end and collects what it printed, up to `limit` bytes of each stream. For rare calls, not for a container's path. */
  run(options: {
    path: string;
    args: readonly string[];
    env: readonly string[];
    cwd?: string;
    input?: Buffer;
    limit?: number;
    timeoutMs?: number;
  }): Promise<{ code: number; stdout: Buffer; stderr: Buffer }>;
}
