/** What the shim is told to do with a container's output: it writes, so that logging goes on while the daemon is away. */
export type LogTarget =
  | {
      readonly kind: 'json-file';
      readonly path: string;
      /** Bytes before rotation; 0 for never. */
      readonly maxSize: number;
      /** Files kept, the live one included; at least 1. */
      readonly maxFiles: number;
      readonly compress: boolean;
      /** Added to each record as `attrs`. */
      readonly attrs: Readonly<Record<string, string>>;
    }
  | { readonly kind: 'none' };

export interface LogEntry {
  readonly stream: 'stdout' | 'stderr';
  /** Nanoseconds since 1970, UTC. */
  readonly time: bigint;
  /** The bytes written, line end included when there was one. */
  readonly line: Buffer;
  readonly attrs: Readonly<Record<string, string>>;
}

export interface ReadLogs {
  readonly stdout: boolean;
  readonly stderr: boolean;
  /** Lines from the end, after filtering by stream and time; undefined for all. */
  readonly tail?: number;
  /** Nanoseconds since 1970, inclusive. */
  readonly since?: bigint;
  readonly until?: bigint;
  /** Goes on with new entries until `signal` aborts or `ended` resolves and everything written was read; over rotations. */
  readonly follow: boolean;
  readonly signal?: AbortSignal;
  /** Resolves when the container will write no more. Only with `follow`. */
  readonly ended?: Promise<void>;
}

/** How lines are written out for Docker's clients. */
export interface LogForm {
  /** Each line behind the 8-byte head of its stream and length; not so for what came from a terminal. */
  readonly framed: boolean;
  /** Each line behind its time, nine digits of a second, and a space. */
  readonly timestamps: boolean;
}

export interface LogContainer {
  readonly id: string;
  readonly name: string;
  readonly imageId: string;
  readonly imageName: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly env: readonly string[];
  readonly entrypoint?: string;
  readonly args?: readonly string[];
  /** RFC 3339. */
  readonly created?: string;
  /** A folder for the container's log, kept until the container is removed. */
  readonly directory: string;
}

/** Where a container's output goes and how it comes back. */
export interface LogDriver {
  /** At container create: `invalid-parameter` names an unknown option or bad value. */
  validate(options: Readonly<Record<string, string>>): void;
  /** At container start. */
  target(container: LogContainer, options: Readonly<Record<string, string>>): Promise<LogTarget>;
  /**
   * The container runs, in this daemon's eyes from now on: it was started, or met again. For drivers that hand on what the shim
   * writes. `ended` resolves when it will write no more. Must not fail, and nobody waits for it.
   */
  running?(container: LogContainer, options: Readonly<Record<string, string>>, ended: Promise<void>): void;
  /** Host path of the live log for inspect, or ''. */
  path(container: LogContainer): string;
  /** Entries in the order they were written, objects not bytes. Only with the capability `read`. */
  read(container: LogContainer, options: Readonly<Record<string, string>>, request: ReadLogs): AsyncIterable<LogEntry>;
  /**
   * As `read`, in runs: a Buffer is any number of entries, written out in `form`, and stands for them; an entry comes as it is
   * where there was no faster way. A Buffer holds its bytes until the next item is asked for. Left out by a driver that has
   * no faster way at all.
   */
  readRuns?(
    container: LogContainer,
    options: Readonly<Record<string, string>>,
    request: ReadLogs,
    form: LogForm,
  ): AsyncIterable<LogEntry | Buffer>;
  /** Removes what `target` made; repeatable. */
  remove(container: LogContainer): Promise<void>;
  close(): Promise<void>;
}
