import type { Readable } from 'node:stream';
import type { PathStat } from '../contracts/host-files.js';
import type { Digest } from '../contracts/ids.js';
import type { LogEntry, LogForm, ReadLogs } from '../contracts/log.js';
import type { TaskUsage } from '../contracts/runtime.js';
import type { Change } from '../contracts/storage.js';
import type { MovedLayer } from '../layer/layers.js';
import type { EndpointState } from '../network/networks.js';
import type { Examination } from '../state/examination.js';
import type { PortChange } from './ports.js';
import type { Container, ContainerConfig, EndpointRequest, HostConfig, MountRequest, Resources, RestartPolicy } from './container.js';

export interface CreateContainer {
  /** Without slash; '' for a made-up one. */
  readonly name: string;
  readonly platform: string;
  readonly config: ContainerConfig;
  readonly hostConfig: HostConfig;
  /** By network name or id. */
  readonly endpoints: Readonly<Record<string, EndpointRequest>>;
  /** '' for the daemon's default. `--storage-opt driver=NAME` has the same effect. */
  readonly storageDriver: string;
}

/** A container as `inspect` and `ps` show it: the record and what else is known of it now, from memory and records alone. */
export interface ContainerView {
  readonly container: Container;
  /** By network name. */
  readonly endpoints: Readonly<Record<string, EndpointState>>;
  readonly sandboxId: string;
  readonly sandboxKey: string;
  /** This and the paths below are '' in a list. */
  readonly logPath: string;
  readonly hostnamePath: string;
  readonly hostsPath: string;
  readonly resolvConfPath: string;
  /** The image's name now when it still names `imageId`, else what was given, else the id. */
  readonly imageName: string;
  /** `GraphDriver.Data`. */
  readonly graph: Readonly<Record<string, string>>;
  /** The AppArmor profile that it runs under; '' for none, and in a list. */
  readonly apparmorProfile?: string;
  /** Only when asked. */
  readonly size?: { readonly writable: number; readonly rootFs: number };
}

/** Values of one key are OR-ed, keys AND-ed; a key's meaning is the filter's own. */
export type Filters = ReadonlyMap<string, readonly string[]>;

export interface ListContainers {
  readonly all: boolean;
  /** 0 for none. */
  readonly limit: number;
  readonly size: boolean;
  /** ancestor before since exited expose publish health id is-task isolation label name network status volume */
  readonly filters: Filters;
}

/** One side of a client's stream: what core/api makes of a hijacked connection or websocket. */
export interface ClientStream {
  /** Back-pressure by the promise. `stream` is ignored for a terminal. */
  write(stream: 'stdout' | 'stderr' | 'system', chunk: Buffer): Promise<void>;
  /** Input chunks until the client's end of input; `undefined` when the client has no input. */
  readonly input: AsyncIterable<Buffer> | undefined;
  /** Aborts when the client is gone. */
  readonly gone: AbortSignal;
  /** Ends the output side; the client sees the end of the stream. */
  end(): void;
}

export interface AttachOptions {
  readonly stdin: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
  readonly logs: boolean;
  readonly stream: boolean;
  /** Docker's text (`ctrl-p,ctrl-q`); '' for the default. */
  readonly detachKeys: string;
}

export interface TopResult {
  readonly titles: readonly string[];
  readonly processes: readonly (readonly string[])[];
}

export interface StatsSample {
  readonly usage: TaskUsage | undefined;
  /** Host CPU time in nanoseconds and processors online, at the same moment. */
  readonly systemCpuNs: number;
  readonly onlineCpus: number;
  /** By interface name in the container. */
  readonly networks: Readonly<
    Record<
      string,
      {
        rxBytes: number;
        rxPackets: number;
        rxErrors: number;
        rxDropped: number;
        txBytes: number;
        txPackets: number;
        txErrors: number;
        txDropped: number;
      }
    >
  >;
}

export type WaitCondition = 'not-running' | 'next-exit' | 'removed';

export interface WaitResult {
  readonly exitCode: number;
  readonly error: string | undefined;
}

/**
 * Containers, by anything that names one: full id, exact name (with or without slash), or unique id prefix.
 * `not-found` and ambiguity are thrown by each method in Docker's words.
 */
export interface Containers {
  create(request: CreateContainer): Promise<{ id: string; warnings: string[] }>;
  list(options: ListContainers): Promise<ContainerView[]>;
  inspect(name: string, options?: { size?: boolean }): Promise<ContainerView>;
  /** `not-modified` when it runs. */
  start(name: string): Promise<void>;
  /** `not-modified` when it does not run. `timeout` in seconds, undefined for the container's own, -1 for ever. Goes on when the caller goes away. */
  stop(name: string, options: { timeout?: number; signal?: string }): Promise<void>;
  restart(name: string, options: { timeout?: number; signal?: string }): Promise<void>;
  kill(name: string, signal: string): Promise<void>;
  pause(name: string): Promise<void>;
  unpause(name: string): Promise<void>;
  rename(name: string, newName: string): Promise<void>;
  /** `portBindings` replaces those of before. */
  update(
    name: string,
    change: { resources: Partial<Resources>; restartPolicy?: RestartPolicy; portBindings?: HostConfig['portBindings'] },
  ): Promise<{ warnings: string[] }>;
  /** Publishes more and fewer ports, at once for a running container; all of it or nothing. */
  changePorts(name: string, change: PortChange): Promise<void>;
  /** One more mount, at once for a running container; on failure everything is as before. */
  addMount(name: string, mount: MountRequest): Promise<void>;
  /** One mount less, at once for a running container: open files in it stay open. */
  removeMount(name: string, target: string): Promise<void>;
  remove(name: string, options: { force: boolean; volumes: boolean }): Promise<void>;
  /** Takes away the legacy link that the container knows as `alias`; also while it runs. */
  removeLink(name: string, alias: string): Promise<void>;
  prune(filters: Filters): Promise<{ deleted: string[]; spaceReclaimed: number }>;
  /** Armed when the promise of this call resolves; `result` comes when it happens. */
  wait(name: string, condition: WaitCondition, signal: AbortSignal): Promise<{ result: Promise<WaitResult> }>;
  /** Checks that it can attach, then `open` is called for the client's side (the answer's head goes out), then streams until its end. */
  attach(name: string, options: AttachOptions, open: (info: { tty: boolean }) => Promise<ClientStream>): Promise<void>;
  resize(name: string, rows: number, columns: number): Promise<void>;
  top(name: string, psArgs: string): Promise<TopResult>;
  /** Undefined usage when it does not run. */
  sample(name: string): Promise<StatsSample>;
  logs(name: string, request: ReadLogs): Promise<{ tty: boolean; entries: AsyncIterable<LogEntry> }>;
  /** As `logs`, faster: a Buffer is a run of entries that are already written out, framed unless there is a terminal; it holds its bytes until the next is asked for. */
  logRuns(
    name: string,
    request: ReadLogs,
    form: Pick<LogForm, 'timestamps'>,
  ): Promise<{ tty: boolean; entries: AsyncIterable<LogEntry | Buffer> }>;
  changes(name: string): Promise<Change[]>;
  /** The whole root file system as an archive, volumes not included. */
  export(name: string): Promise<Readable>;
  statPath(name: string, path: string): Promise<PathStat>;
  /** `docker cp` out. */
  archive(name: string, path: string): Promise<{ stat: PathStat; content: Readable }>;
  /** `docker cp` in; `content` may be compressed. */
  extract(name: string, path: string, content: Readable, options: { noOverwriteDirNonDir: boolean; copyUidGid: boolean }): Promise<void>;
  commit(name: string, request: CommitContainer): Promise<Digest>;
  /** Moves a stopped container's files to another storage driver. `conflict` while it runs; on failure they are where they were. */
  migrate(name: string, storageDriver: string): Promise<MovedLayer>;
  /** Compares records with bundles, folders and mounts. Safe beside all other calls. */
  examine(examination: Examination): Promise<void>;

  /**
   * Puts the container on one more network (by its name or id): recorded for a stopped container, which joins at its next start,
   * and joined at once by a running one. `forbidden` when it is on it already, or when host or none is mixed with others.
   */
  connect(network: string, container: string, request: EndpointRequest): Promise<void>;
  /** The reverse; `force` also for an endpoint whose container or live state is in doubt. */
  disconnect(network: string, container: string, options: { force: boolean }): Promise<void>;
}

export interface CommitContainer {
  readonly repository: string;
  readonly tag: string;
  readonly comment: string;
  readonly author: string;
  readonly pause: boolean;
  /** Dockerfile instructions. */
  readonly changes: readonly string[];
  /** Overrides of the container's own configuration. */
  readonly config: Partial<ContainerConfig>;
}
