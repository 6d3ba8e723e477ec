import type { ClusterSettings } from '../cluster/cluster-settings.js';
import type { Ulimit } from '../container/container.js';

/**
 * The daemon's configuration after flags, daemon.json and defaults were merged. One for each daemon, and read-only for everyone but its
 * reload (SIGHUP), which changes the values that are marked so: who uses one of these reads it each time.
 */
export interface Settings {
  /** Differs between two daemons on one machine; follows from the data root. 8 hex digits. */
  readonly instance: string;
  readonly version: string;
  /** What was built, and when (RFC 3339); '' when the build does not know. */
  readonly gitCommit: string;
  readonly buildTime: string;
  readonly dataRoot: string;
  /** On tmpfs. */
  readonly execRoot: string;
  /** Reloaded. */
  readonly debug: boolean;
  /** Reloaded. */
  readonly labels: readonly string[];
  /** '' chooses the best that the host serves. */
  readonly storageDriver: string;
  /** HOST:PORT where the engine's metrics are served, '' for nowhere on the network. */
  readonly metricsAddress: string;
  /** `driver.option` to value, or bare options for the default driver. */
  readonly storageOptions: Readonly<Record<string, string>>;
  /** Name of the default network's bridge (`gantry0` unless `--bridge`); `none` for no default network. */
  readonly bridge: string;
  /** CIDR of the default bridge's own address, '' to choose. */
  readonly bip: string;
  readonly fixedCidr: string;
  /** The default network has IPv6 too. */
  readonly ipv6: boolean;
  readonly fixedCidrV6: string;
  readonly mtu: number;
  readonly icc: boolean;
  readonly ipMasquerade: boolean;
  readonly ipForward: boolean;
  /** A process serves the published ports that the kernel cannot. */
  readonly userlandProxy: boolean;
  /** Host address that published ports bind to when none is given; '' for all. */
  readonly defaultHostIp: string;
  readonly dns: readonly string[];
  readonly dnsOptions: readonly string[];
  readonly dnsSearch: readonly string[];
  readonly defaultAddressPools: readonly { base: string; size: number }[];
  /** `undefined` for an engine that is alone. */
  readonly clusterStore: ClusterSettings | undefined;
  /** Reloaded. */
  readonly defaultRuntime: string;
  /** Reloaded. */
  readonly runtimes: Readonly<Record<string, { path: string; args: readonly string[] }>>;
  readonly logDriver: string;
  readonly logOptions: Readonly<Record<string, string>>;
  readonly cgroupParent: string;
  readonly init: boolean;
  readonly initPath: string;
  readonly shimPath: string;
  readonly nameServerPath: string;
  readonly nativeRuntimePath: string;
  readonly defaultShmSize: number;
  readonly defaultUlimits: readonly Ulimit[];
  readonly noNewPrivileges: boolean;
  /** '' for the built-in profile, `unconfined`, or a path. */
  readonly seccompProfile: string;
  /** Reloaded. */
  readonly defaultStopTimeout: number;
  /** Reloaded. */
  readonly shutdownTimeout: number;
  /** Names of the access plugins, in the order they are asked. */
  readonly authorizationPlugins: readonly string[];
  /** Folders of plugin sockets and of `.spec` and `.json` files, the first asked first. */
  readonly pluginFolders: { readonly sockets: readonly string[]; readonly specifications: readonly string[] };
  /** Reloaded. */
  readonly registryMirrors: readonly string[];
  /** Reloaded. */
  readonly insecureRegistries: readonly string[];
  /** Folders with HOST/*.crt, *.cert, *.key. */
  readonly certificateFolders: readonly string[];
  /** Reloaded. */
  readonly maxConcurrentDownloads: number;
  /** Reloaded. */
  readonly maxConcurrentUploads: number;
  /** Reloaded. */
  readonly maxDownloadAttempts: number;
}
