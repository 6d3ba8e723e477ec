import type { ClusterStatus } from '../contracts/cluster.js';
import type { PluginStatus } from '../contracts/plugin.js';

/** One event, in Docker's vocabulary of types and actions. */
export interface EngineEvent {
  readonly type: 'container' | 'image' | 'volume' | 'network' | 'daemon' | 'plugin' | 'builder';
  readonly action: string;
  readonly id: string;
  readonly attributes: Readonly<Record<string, string>>;
  /** Nanoseconds since 1970. */
  readonly time: bigint;
}

export type EventFilters = ReadonlyMap<string, readonly string[]>;

export interface Events {
  /** How many listen now. */
  readonly listeners: number;
  publish(event: Omit<EngineEvent, 'time'>): void;
  /** Past events from `since` on (those still remembered), then live ones without a gap, until `until`, `signal`, or for ever. The subscription is armed when this returns. */
  subscribe(options: { since?: bigint; until?: bigint; filters: EventFilters; signal: AbortSignal }): AsyncIterable<EngineEvent>;
}

export interface VersionInfo {
  readonly version: string;
  readonly gitCommit: string;
  readonly buildTime: string;
  readonly os: string;
  readonly arch: string;
  readonly kernelVersion: string;
  readonly nodeVersion: string;
  readonly components: readonly { name: string; version: string; details: Readonly<Record<string, string>> }[];
}

export interface DriverNames {
  readonly volume: readonly string[];
  readonly network: readonly string[];
  readonly log: readonly string[];
  readonly storage: readonly string[];
}

export interface SystemInfo {
  readonly id: string;
  readonly name: string;
  readonly containers: number;
  readonly running: number;
  readonly paused: number;
  readonly stopped: number;
  readonly images: number;
  readonly storageDriver: string;
  readonly storageStatus: readonly (readonly [string, string])[];
  /** `undefined` for an engine that is a member of no cluster. */
  readonly cluster: ClusterStatus | undefined;
  readonly drivers: DriverNames;
  /** KIND/NAME of the drivers of this build, and of those that were left out of it. */
  readonly driverSet: { readonly included: readonly string[]; readonly leftOut: readonly string[] };
  /** In-tree drivers that this host cannot serve, with the reason. */
  readonly unavailableDrivers: readonly { kind: string; name: string; reason: string }[];
  /** Plugins that were met, whoever runs them. */
  readonly plugins: readonly PluginStatus[];
  readonly memoryLimit: boolean;
  readonly swapLimit: boolean;
  readonly cpuCfs: boolean;
  readonly cpuShares: boolean;
  readonly cpuSet: boolean;
  readonly pidsLimit: boolean;
  readonly oomKillDisable: boolean;
  readonly ipv4Forwarding: boolean;
  readonly debug: boolean;
  readonly fileDescriptors: number;
  readonly goroutines: number;
  readonly eventListeners: number;
  readonly systemTime: string;
  readonly loggingDriver: string;
  readonly cgroupDriver: 'cgroupfs' | 'systemd';
  readonly cgroupVersion: '1' | '2';
  readonly kernelVersion: string;
  readonly operatingSystem: string;
  readonly osVersion: string;
  readonly arch: string;
  readonly cpus: number;
  readonly memoryTotal: number;
  readonly dataRoot: string;
  readonly labels: readonly string[];
  readonly serverVersion: string;
  readonly runtimes: Readonly<Record<string, { path: string; args: readonly string[] }>>;
  readonly defaultRuntime: string;
  readonly liveRestore: boolean;
  readonly initBinary: string;
  readonly securityOptions: readonly string[];
  readonly insecureRegistries: readonly string[];
  readonly registryMirrors: readonly string[];
  readonly defaultAddressPools: readonly { base: string; size: number }[];
  readonly warnings: readonly string[];
  readonly httpProxy: string;
  readonly httpsProxy: string;
  readonly noProxy: string;
}

export interface System {
  version(): VersionInfo;
  /** The default one's name; at once. */
  readonly storageDriver: string;
  info(): Promise<SystemInfo>;
}
