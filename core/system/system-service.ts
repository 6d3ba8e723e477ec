import { randomUUID } from 'node:crypto';
import { availableParallelism, hostname, machine, release, totalmem } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { inject, injectable } from 'tsyringe';
import { countStates } from '../container/container.js';
import type { Containers } from '../container/containers.js';
import type { PluginDirectory } from '../contracts/plugin.js';
import type { ClusterStatus } from '../contracts/cluster.js';
import type { DriverKind, Logger } from '../contracts/manifest.js';
import { messageOf } from '../contracts/errors.js';
import type { DriverRegistry } from '../extension/driver-registry.js';
import type { Images } from '../image/images.js';
import type { Layers } from '../layer/layers.js';
import type { Networks } from '../network/networks.js';
import type { Database } from '../state/database.js';
import { Tokens } from '../tokens.js';
import { cgroupFeatures, type CgroupFeatures } from './cgroup-features.js';
import { isSwitchedOn, kernelHas, openDescriptors, operatingSystem, withoutCredentials } from './host-facts.js';
import type { Settings } from './settings.js';
import type { Events, System, SystemInfo, VersionInfo } from './system.js';

/** Milliseconds that `info` waits for what it has never known; after that it shows what was known last. */
const PATIENCE = 100;
const KINDS: readonly DriverKind[] = ['storage', 'network', 'ipam', 'volume', 'log', 'runtime'];
const OCI_ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'amd64', arm64: 'arm64', arm: 'arm', ia32: '386', ppc64: 'ppc64le' };

/** A value that may take long to get: asked for again in the background, while the last answer is shown. */
class Remembered<T> {
  private known: { value: T } | undefined;
  private pending: Promise<void> | undefined;

  constructor(
    private readonly ask: () => Promise<T>,
    private readonly failed: (error: unknown) => void,
  ) {}

  /** The last answer, or `absent` when the first one takes longer than {@link PATIENCE}. */
  async get(absent: T): Promise<T> {
    this.pending ??= this.refresh();
    if (!this.known) await Promise.race([this.pending, sleep(PATIENCE, undefined, { ref: false })]);
    return this.known ? this.known.value : absent;
  }

  private async refresh(): Promise<void> {
    try {
      this.known = { value: await this.ask() };
    } catch (error) {
      this.failed(error);
    } finally {
      this.pending = undefined;
    }
  }
}

type Unavailable = SystemInfo['unavailableDrivers'];

/** What the engine says of itself and of its host. Reads only, and never waits for a driver that is slow. */
@injectable()
export class SystemService implements System {
  private cluster: { status(): ClusterStatus } | undefined;
  private engineId: string | undefined;
  private cgroup: CgroupFeatures | undefined;
  private unavailable: Unavailable | undefined;
  private readonly storageStatus: Remembered<readonly (readonly [string, string])[]>;
  private readonly networkWarnings: Remembered<readonly string[]>;
  private readonly probes: Remembered<Unavailable>;

  constructor(
    @inject(Tokens.Settings) private readonly settings: Settings,
    @inject(Tokens.Database) private readonly db: Database,
    @inject(Tokens.Drivers) private readonly drivers: DriverRegistry,
    @inject(Tokens.Containers) private readonly containers: Containers,
    @inject(Tokens.Images) private readonly images: Images,
    @inject(Tokens.Layers) private readonly layers: Layers,
    @inject(Tokens.Events) private readonly events: Events,
    @inject(Tokens.Plugins) private readonly plugins: PluginDirectory,
    @inject(Tokens.Networks) private readonly networks: Networks,
    @inject(Tokens.Log) log: Logger,
  ) {
    const failed =
      (what: string) =>
      (error: unknown): void =>
        log.warn(`${what} is not known`, { error: messageOf(error) });
    this.storageStatus = new Remembered(() => this.layers.status(), failed('the status of the storage driver'));
    this.networkWarnings = new Remembered(() => this.networks.hostWarnings(), failed('what stands in the way of containers traffic'));
    this.probes = new Remembered(() => this.probe(), failed('which drivers can serve'));
  }

  /** Before the engine serves: it is a member of a cluster. */
  useCluster(cluster: { status(): ClusterStatus }): void {
    this.cluster = cluster;
  }

  get storageDriver(): string {
    return this.layers.defaultDriver.name;
  }

  version(): VersionInfo {
    const { version, gitCommit, buildTime } = this.settings;
    return {
      version,
      gitCommit,
      buildTime,
      os: 'linux',
      arch: OCI_ARCHITECTURES[process.arch] ?? process.arch,
      kernelVersion: release(),
      nodeVersion: process.version,
      components: ['gantry-shim', 'gantry-runtime', 'gantry-init', 'gantry-dns', 'gantry-proxy'].map((name) => ({
        name,
        version,
        details: { GitCommit: gitCommit },
      })),
    };
  }

  async info(): Promise<SystemInfo> {
    const { settings } = this;
    const [views, images, storageStatus, unavailable, networkWarnings] = await Promise.all([
      this.containers.list({ all: true, limit: 0, size: false, filters: new Map() }),
      this.images.list({ all: false, filters: new Map() }),
      this.storageStatus.get([]),
      this.unavailable ?? this.probes.get([]),
      this.networkWarnings.get([]),
    ]);
    const counts = countStates(views.map(({ container }) => container.state.status));
    const cgroup = (this.cgroup ??= cgroupFeatures());
    const os = operatingSystem();
    const ipv4Forwarding = isSwitchedOn('/proc/sys/net/ipv4/ip_forward');
    const { defaultDriver } = this.layers;
    const cluster = this.cluster?.status();
    return {
      id: this.id(),
      name: hostname(),
      containers: views.length,
      ...counts,
      images: images.length,
      storageDriver: defaultDriver.name,
      storageStatus: defaultDriver.reason ? [...storageStatus, ['Chosen because', defaultDriver.reason]] : storageStatus,
      cluster,
      drivers: {
        volume: this.names('volume'),
        network: this.names('network'),
        log: this.names('log'),
        storage: this.names('storage'),
      },
      driverSet: this.driverSet(),
      unavailableDrivers: unavailable,
      plugins: this.plugins.list(),
      memoryLimit: cgroup.memoryLimit,
      swapLimit: cgroup.swapLimit,
      cpuCfs: cgroup.cpuCfs,
      cpuShares: cgroup.cpuShares,
      cpuSet: cgroup.cpuSet,
      pidsLimit: cgroup.pidsLimit,
      oomKillDisable: cgroup.oomKillDisable,
      ipv4Forwarding,
      debug: settings.debug,
      fileDescriptors: openDescriptors(),
      goroutines: process.getActiveResourcesInfo().length,
      eventListeners: this.events.listeners,
      systemTime: new Date().toISOString(),
      loggingDriver: settings.logDriver,
      cgroupDriver: 'cgroupfs',
      cgroupVersion: cgroup.version,
      kernelVersion: release(),
      operatingSystem: os.name,
      osVersion: os.version,
      arch: machine(),
      cpus: availableParallelism(),
      memoryTotal: totalmem(),
      dataRoot: settings.dataRoot,
      labels: settings.labels,
      serverVersion: settings.version,
      runtimes: this.runtimes(),
      defaultRuntime: settings.defaultRuntime,
      liveRestore: true,
      initBinary: settings.initPath.split('/').at(-1) ?? '',
      securityOptions: this.securityOptions(),
      insecureRegistries: settings.insecureRegistries,
      registryMirrors: settings.registryMirrors,
      defaultAddressPools: settings.defaultAddressPools,
      warnings: [
        ...warningsOf(cgroup, ipv4Forwarding),
        ...[...networkWarnings, ...clusterWarnings(cluster)].map((warning) => `WARNING: ${warning}`),
      ],
      httpProxy: proxy('http_proxy'),
      httpsProxy: proxy('https_proxy'),
      noProxy: process.env['NO_PROXY'] ?? process.env['no_proxy'] ?? '',
    };
  }

  /** Made once for a data root. */
  private id(): string {
    if (this.engineId === undefined) {
      this.db.migrate('system', ['CREATE TABLE engine (only INTEGER PRIMARY KEY CHECK (only = 1), id TEXT NOT NULL) STRICT']);
      this.db.run('INSERT INTO engine VALUES (1, ?) ON CONFLICT (only) DO NOTHING', randomUUID());
      this.engineId = String(this.db.get('SELECT id FROM engine')?.['id']);
    }
    return this.engineId;
  }

  private driverSet(): SystemInfo['driverSet'] {
    const each = (of: (kind: DriverKind) => readonly string[]): string[] =>
      KINDS.flatMap((kind) => of(kind).map((name) => `${kind}/${name}`));
    const configured = Object.keys(this.settings.runtimes);
    return {
      included: each((kind) =>
        this.names(kind).filter((name) => !this.drivers.isRemote(kind, name) && !(kind === 'runtime' && configured.includes(name))),
      ),
      leftOut: each((kind) => this.drivers.leftOut(kind)),
    };
  }

  private names(kind: DriverKind): string[] {
    return this.drivers.names(kind).toSorted();
  }

  private runtimes(): SystemInfo['runtimes'] {
    const runtimes: Record<string, { path: string; args: readonly string[] }> = {};
    for (const name of this.names('runtime'))
      runtimes[name] = { path: name === 'native' ? this.settings.nativeRuntimePath : name, args: [] };
    return { ...runtimes, ...this.settings.runtimes };
  }

  private securityOptions(): string[] {
    const options: string[] = [];
    const { seccompProfile } = this.settings;
    if (kernelHas.apparmor()) options.push('name=apparmor');
    if (kernelHas.seccomp() && seccompProfile !== 'unconfined') options.push(`name=seccomp,profile=${seccompProfile || 'builtin'}`);
    if (kernelHas.cgroupNamespaces()) options.push('name=cgroupns');
    if (this.settings.noNewPrivileges) options.push('name=no-new-privileges');
    return options;
  }

  /** A host's abilities do not change while the engine runs, so the whole list is asked for once. */
  private async probe(): Promise<Unavailable> {
    // A plugin serves where it is or not at all, and is not asked for what is only shown.
    const wanted = KINDS.flatMap((kind) =>
      this.names(kind)
        .filter((name) => !this.drivers.isRemote(kind, name))
        .map((name) => ({ kind, name })),
    );
    const answers = await Promise.all(
      wanted.map(async (driver) => ({ ...driver, probe: await this.drivers.probe(driver.kind, driver.name) })),
    );
    this.unavailable = answers.flatMap(({ kind, name, probe }) => (probe.ok ? [] : [{ kind, name, reason: probe.reason }]));
    return this.unavailable;
  }
}

function proxy(name: string): string {
  return withoutCredentials(process.env[name.toUpperCase()] ?? process.env[name] ?? '');
}

function clusterWarnings(cluster: ClusterStatus | undefined): string[] {
  if (!cluster?.failure) return [];
  const { since, reason } = cluster.failure;
  return [`the cluster store ${cluster.store} is not followed since ${since.toISOString()}: ${reason}`];
}

/** Docker's sentences for what a host cannot do; clients print them as they are. */
function warningsOf(cgroup: CgroupFeatures, ipv4Forwarding: boolean): string[] {
  const checks: [boolean, string][] = [
    [cgroup.memoryLimit, 'No memory limit support'],
    [cgroup.swapLimit, 'No swap limit support'],
    [cgroup.cpuCfs, 'No cpu cfs quota support'],
    [cgroup.cpuShares, 'No cpu shares support'],
    [cgroup.cpuSet, 'No cpuset support'],
    [cgroup.pidsLimit, 'No pids limit support'],
    [ipv4Forwarding, 'IPv4 forwarding is disabled'],
  ];
  return checks.filter(([fine]) => !fine).map(([, sentence]) => `WARNING: ${sentence}`);
}
