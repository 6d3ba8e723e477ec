import type { ClusterStore } from './cluster.js';
import type { Host } from './host.js';
import type { IpamDriver } from './ipam.js';
import type { LogDriver } from './log.js';
import type { NetworkDriver } from './network.js';
import type { RuntimeDriver } from './runtime.js';
import type { StorageDriver } from './storage.js';
import type { VolumeDriver } from './volume.js';

/** Each kind of driver and the contract behind it. */
export interface DriverContracts {
  storage: StorageDriver;
  network: NetworkDriver;
  ipam: IpamDriver;
  volume: VolumeDriver;
  log: LogDriver;
  runtime: RuntimeDriver;
}

export type DriverKind = keyof DriverContracts;

/**
 * What a driver can do beyond its contract's bare methods. Declared in the manifest, asked for by
 * name, never guessed from the driver's name.
 */
export type Capability =
  /** storage: `applyDiff` of a layer may run before its parent's is done. */
  | 'parallel-apply'
  /** storage: `create` honours `quota`. */
  | 'quota'
  /** storage: diffs come from the driver's own records instead of a comparison of two trees. */
  | 'native-diff'
  /** network: endpoints may publish ports. */
  | 'publish'
  /** network: endpoints use a network namespace of their own (not for `host`). */
  | 'sandbox'
  /** network: containers on it find each other by name. */
  | 'service-discovery'
  /** network: the daemon makes one network of it at start and users cannot make more. */
  | 'predefined'
  /** network: an endpoint's link has no end on the host; when it leaves a sandbox that stays, the engine deletes the link there. */
  | 'sandbox-link'
  /** network: implements GlobalAllocation. */
  | 'global-allocation'
  /**
   * network: endpoints that it gives no gateway reach nothing beyond it; unless it is internal or `disableGateway` was said, the engine
   * gives their sandboxes a way out and publishes ports there.
   */
  | 'gateway-network'
  /** network: only one network of this driver may exist. */
  | 'single'
  /**
   * network: keeps its networks and endpoints by itself over restarts of the daemon, which does not give them again. Without it
   * `createNetwork` and `createEndpoint` are repeated at each start.
   */
  | 'keeps-state'
  /** ipam: implements LeaseAudit. */
  | 'lease-audit'
  /** ipam: pools and gateways are requested again at daemon start. */
  | 'request-replay'
  /** ipam: an address is asked for with the endpoint's MAC in the option `com.docker.network.endpoint.macaddress`. */
  | 'needs-mac'
  /** log: `read` works. */
  | 'read'
  /** volume: has no volumes but those that this engine made, so that nobody needs to ask it for others. */
  | 'volume-private'
  /** volume: forgets with the daemon who has what mounted, and is told again with `mount`. Others know it by themselves. */
  | 'volume-recount'
  /** volume: implements VolumeUsage. What lacks one of these is done by the engine on the mounted content, where that is possible. */
  | 'volume-usage'
  /** volume: implements VolumeResize. */
  | 'volume-resize'
  /** volume: implements VolumeRename. */
  | 'volume-rename'
  /** volume: implements VolumeClone. */
  | 'volume-clone'
  /** volume: implements VolumeSnapshot. */
  | 'volume-snapshot'
  /** volume: implements VolumeArchive. */
  | 'volume-archive';

export interface Logger {
  debug(message: string, fields?: Record<string, unknown>): void;
  info(message: string, fields?: Record<string, unknown>): void;
  warn(message: string, fields?: Record<string, unknown>): void;
  error(message: string, fields?: Record<string, unknown>): void;
}

/** All that a driver is handed. It reaches nothing else of the engine. */
export interface DriverEnv {
  /** A folder of its own on disk, kept across restarts and reboots. Exists, mode 0700 or 0710. */
  readonly root: string;
  /** A folder of its own on tmpfs, gone after a reboot. */
  readonly runRoot: string;
  /** Short word that differs between two daemons on one machine; part of every kernel name a driver makes. */
  readonly instance: string;
  /** The user's options for this driver (`--storage-opt`, daemon.json), in the driver's own words. */
  readonly options: Readonly<Record<string, string>>;
  readonly host: Host;
  /** State shared with other engines; absent when this one is alone. */
  readonly cluster?: ClusterStore;
  readonly log: Logger;
}

/** Whether this host can serve a driver. "Not here" is an answer with a reason, not an exception. */
export type Probe = { readonly ok: true; readonly note?: string } | { readonly ok: false; readonly reason: string };

/** What a driver says of itself. `drivers/index.ts` is a plain array of these. */
export interface DriverManifest<K extends DriverKind = DriverKind> {
  readonly kind: K;
  /** The word a user types. */
  readonly name: string;
  readonly capabilities: readonly Capability[];
  /**
   * storage: the options that it takes, as a user writes them (`btrfs.min_space`), so that a wrong one is refused when the daemon starts
   * and not when a container first needs the driver. Absent: nobody knows before it is opened.
   */
  readonly options?: readonly string[];
  /** Cheap, without lasting effect; may be called before `open` and at any later time. */
  probe(env: DriverEnv): Promise<Probe>;
  /** Makes it ready. Called once for each daemon; failing here leaves nothing behind. */
  open(env: DriverEnv): Promise<DriverContracts[K]>;
}

export type AnyManifest = { [K in DriverKind]: DriverManifest<K> }[DriverKind];

/** Where drivers come from: the in-tree list first, then plugins. The registry is handed these by the composition root. */
export interface DriverSource {
  /** For messages: "built in", "plugins". */
  readonly label: string;
  /** The manifest of one driver, or `undefined` when this source has none of that name. May be slow for plugins. */
  find<K extends DriverKind>(kind: K, name: string): Promise<DriverManifest<K> | undefined>;
  /** Names that are known without asking anybody; must be fast. */
  names(kind: DriverKind): readonly string[];
  /** Drivers that exist and that whoever made this build left out, to tell them from what nobody knows. */
  leftOut?(kind: DriverKind): readonly string[];
  /**
   * Names that may turn out to be of this kind once they are asked, for lists over all drivers; must be fast. A source without it
   * has told all in `names`.
   */
  candidates?(kind: DriverKind): readonly string[];
  /** Whether asking these drivers can take as long as another process likes. */
  readonly remote?: boolean;
}
