import type { Digest } from '../contracts/ids.js';

/** What an image or a user says about the process of a container. The names are the OCI image configuration's where it has one. */
export interface ProcessConfig {
  readonly user: string;
  /** `port/protocol`. */
  readonly exposedPorts: readonly string[];
  /** `KEY=value`; in a request also `KEY` alone, which removes. */
  readonly env: readonly string[];
  /** `undefined`: the image's; empty: none. */
  readonly entrypoint: readonly string[] | undefined;
  readonly cmd: readonly string[] | undefined;
  /** Paths that become anonymous volumes. */
  readonly volumes: readonly string[];
  readonly workingDir: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly stopSignal: string;
  readonly healthcheck: Healthcheck | undefined;
  readonly shell: readonly string[] | undefined;
  readonly onBuild: readonly string[];
}

export interface Healthcheck {
  /** `['NONE']`, `['CMD', …]`, `['CMD-SHELL', line]`; empty inherits the image's. */
  readonly test: readonly string[];
  /** Nanoseconds; 0 inherits or takes the default. */
  readonly interval: number;
  readonly timeout: number;
  readonly startPeriod: number;
  readonly startInterval: number;
  readonly retries: number;
}

/** The portable part of a container's configuration: what would be the same on another host. */
export interface ContainerConfig extends ProcessConfig {
  /** As the user gave it. */
  readonly image: string;
  readonly hostname: string;
  readonly domainname: string;
  readonly attachStdin: boolean;
  readonly attachStdout: boolean;
  readonly attachStderr: boolean;
  readonly tty: boolean;
  readonly openStdin: boolean;
  readonly stdinOnce: boolean;
  readonly networkDisabled: boolean;
  /** Seconds; undefined for the daemon's default of 10. */
  readonly stopTimeout: number | undefined;
  readonly macAddress: string;
}

export interface MountRequest {
  readonly type: 'bind' | 'volume' | 'tmpfs' | 'image';
  readonly source: string;
  readonly target: string;
  readonly readOnly: boolean;
  readonly consistency?: string;
  readonly bind?: {
    propagation: string;
    nonRecursive: boolean;
    createMountpoint: boolean;
    readOnlyNonRecursive: boolean;
    readOnlyForceRecursive: boolean;
  };
  readonly volume?: {
    noCopy: boolean;
    labels: Record<string, string>;
    driver: string;
    driverOptions: Record<string, string>;
    subpath: string;
  };
  readonly tmpfs?: { sizeBytes: number; mode: number; options: readonly (readonly string[])[] };
  readonly image?: { subpath: string };
}

export interface Ulimit {
  readonly name: string;
  readonly soft: number;
  readonly hard: number;
}

export interface DeviceRequest {
  readonly pathOnHost: string;
  readonly pathInContainer: string;
  readonly cgroupPermissions: string;
}

/** Devices asked for by what they are (GPUs, CDI names), for a device driver to resolve. */
export interface DeviceClassRequest {
  /** '' for any; `cdi` for CDI names. */
  readonly driver: string;
  /** -1 for all. */
  readonly count: number;
  readonly deviceIds: readonly string[];
  /** OR of ANDs. */
  readonly capabilities: readonly (readonly string[])[];
  readonly options: Readonly<Record<string, string>>;
}

/** Limits; 0, '' and [] mean "not set". Bytes, nanoseconds, microseconds as the name says. Echoed as given. */
export interface Resources {
  readonly cpuShares: number;
  readonly nanoCpus: number;
  readonly cpuPeriod: number;
  readonly cpuQuota: number;
  readonly cpuRealtimePeriod: number;
  readonly cpuRealtimeRuntime: number;
  readonly cpusetCpus: string;
  readonly cpusetMems: string;
  readonly memory: number;
  readonly memoryReservation: number;
  /** -1 unlimited. */
  readonly memorySwap: number;
  readonly memorySwappiness: number | undefined;
  readonly oomKillDisable: boolean | undefined;
  readonly pidsLimit: number | undefined;
  readonly cgroupParent: string;
  readonly blkioWeight: number;
  readonly blkioWeightDevice: readonly { path: string; weight: number }[];
  readonly blkioDeviceReadBps: readonly { path: string; rate: number }[];
  readonly blkioDeviceWriteBps: readonly { path: string; rate: number }[];
  readonly blkioDeviceReadIops: readonly { path: string; rate: number }[];
  readonly blkioDeviceWriteIops: readonly { path: string; rate: number }[];
  readonly devices: readonly DeviceRequest[];
  readonly deviceCgroupRules: readonly string[];
  readonly deviceRequests: readonly DeviceClassRequest[];
  readonly ulimits: readonly Ulimit[];
}

export interface RestartPolicy {
  readonly name: '' | 'no' | 'always' | 'unless-stopped' | 'on-failure';
  readonly maximumRetryCount: number;
}

/** The part that belongs to this host. */
export interface HostConfig extends Resources {
  /** `source:target[:options]`, as given. */
  readonly binds: readonly string[];
  readonly mounts: readonly MountRequest[];
  /** target to options. */
  readonly tmpfs: Readonly<Record<string, string>>;
  readonly volumesFrom: readonly string[];
  readonly volumeDriver: string;
  readonly containerIdFile: string;
  readonly logDriver: string;
  readonly logOptions: Readonly<Record<string, string>>;
  /** `default`, `bridge`, `host`, `none`, `container:ID` or a network's name or id. */
  readonly networkMode: string;
  /** `port/protocol` to what was asked for it. */
  readonly portBindings: Readonly<Record<string, readonly { hostIp: string; hostPort: string }[]>>;
  readonly publishAllPorts: boolean;
  readonly restartPolicy: RestartPolicy;
  readonly autoRemove: boolean;
  readonly consoleSize: readonly [number, number];
  readonly annotations: Readonly<Record<string, string>>;
  readonly capAdd: readonly string[];
  readonly capDrop: readonly string[];
  readonly privileged: boolean;
  readonly readonlyRootfs: boolean;
  readonly securityOpt: readonly string[];
  /** undefined: Docker's default list; []: none. */
  readonly maskedPaths: readonly string[] | undefined;
  readonly readonlyPaths: readonly string[] | undefined;
  readonly groupAdd: readonly string[];
  readonly cgroupnsMode: string;
  readonly ipcMode: string;
  readonly pidMode: string;
  readonly utsMode: string;
  readonly usernsMode: string;
  readonly oomScoreAdj: number;
  readonly shmSize: number;
  readonly sysctls: Readonly<Record<string, string>>;
  readonly runtime: string;
  readonly init: boolean | undefined;
  readonly dns: readonly string[];
  readonly dnsOptions: readonly string[];
  readonly dnsSearch: readonly string[];
  readonly extraHosts: readonly string[];
  readonly links: readonly string[];
  readonly storageOptions: Readonly<Record<string, string>>;
}

/** What a user asks of one endpoint. */
export interface EndpointRequest {
  readonly ipv4Address: string;
  readonly ipv6Address: string;
  readonly linkLocalIps: readonly string[];
  readonly aliases: readonly string[];
  readonly links: readonly string[];
  readonly macAddress: string;
  readonly driverOptions: Readonly<Record<string, string>>;
  readonly gatewayPriority: number;
}

export type ContainerStatus = 'created' | 'running' | 'paused' | 'restarting' | 'removing' | 'exited' | 'dead';

/** As `info` counts them: one that waits for its restart is meant to run. */
export function countStates(states: Iterable<ContainerStatus>): { running: number; paused: number; stopped: number } {
  const counts = { running: 0, paused: 0, stopped: 0 };
  for (const status of states)
    counts[status === 'paused' ? status : status === 'running' || status === 'restarting' ? 'running' : 'stopped']++;
  return counts;
}

export interface HealthLogEntry {
  readonly start: string;
  readonly end: string;
  readonly exitCode: number;
  readonly output: string;
}

export interface HealthState {
  readonly status: 'starting' | 'healthy' | 'unhealthy';
  readonly failingStreak: number;
  readonly log: readonly HealthLogEntry[];
}

/** Times are RFC 3339 with nanoseconds, or '' for never. */
export interface ContainerState {
  readonly status: ContainerStatus;
  readonly pid: number;
  readonly exitCode: number;
  readonly error: string;
  readonly oomKilled: boolean;
  readonly startedAt: string;
  readonly finishedAt: string;
  readonly health: HealthState | undefined;
  /** The plugin that a container is `restarting` for: it is away, and `error` says what became of the last try. */
  readonly waitingFor?: string | undefined;
}

/** A mount that a container has, resolved. */
export interface MountPoint {
  readonly type: 'bind' | 'volume' | 'tmpfs' | 'image';
  /** Volume name, '' for others. */
  readonly name: string;
  /** Host path. */
  readonly source: string;
  readonly destination: string;
  readonly driver: string;
  readonly mode: string;
  readonly readWrite: boolean;
  readonly propagation: string;
  /** An anonymous volume of this container, to be removed with it. */
  readonly anonymous: boolean;
  readonly noCopy: boolean;
  readonly subpath: string;
  readonly tmpfsOptions: string;
  /** Bind without the mounts below the source. */
  readonly nonRecursive?: boolean;
  /** Whether mounts below a read-only bind are read-only too: if the kernel can, not, or else fail. */
  readonly recursiveReadOnly?: 'enabled' | 'disabled' | 'forced';
  /** The source is made as a folder when it is missing. */
  readonly createSource?: boolean;
}

/** The record of one container, whole; what the database keeps. */
export interface Container {
  readonly id: string;
  /** Without slash. */
  readonly name: string;
  readonly created: string;
  readonly imageId: Digest;
  readonly platform: string;
  /** The first program and its arguments after image and request were merged. */
  readonly path: string;
  readonly args: readonly string[];
  /** Merged with the image's. */
  readonly config: ContainerConfig;
  readonly hostConfig: HostConfig;
  /** By network name as given. */
  readonly endpointRequests: Readonly<Record<string, EndpointRequest>>;
  readonly storageDriver: string;
  readonly runtime: string;
  readonly mounts: readonly MountPoint[];
  readonly state: ContainerState;
  readonly restartCount: number;
  /** It is being removed with its anonymous volumes, by whoever finishes that. */
  readonly removesVolumes?: true;
  /** Stopped by a user, so that `unless-stopped` and `always` leave it so. */
  readonly manuallyStopped: boolean;
  readonly execIds: readonly string[];
}
