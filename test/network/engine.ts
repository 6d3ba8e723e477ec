import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ClusterStore } from '@gantry/core/contracts/cluster.js';
import type { Host } from '@gantry/core/contracts/host.js';
import type { AnyManifest, DriverSource } from '@gantry/core/contracts/manifest.js';
import type { PortBinding } from '@gantry/core/contracts/network.js';
import { newId } from '@gantry/core/contracts/ids.js';
import { DriverRegistry } from '@gantry/core/extension/driver-registry.js';
import { NetworkService } from '@gantry/core/network/network-service.js';
import type { CreateNetworkRequest, EndpointState, IpamConfig, JoinRequest } from '@gantry/core/network/networks.js';
import { Database } from '@gantry/core/state/database.js';
import { EventBus } from '@gantry/core/system/event-bus.js';
import type { Settings } from '@gantry/core/system/settings.js';
import { drivers } from '@gantry/drivers/index.js';
import { binFolder } from '@gantry/native/addon.js';
import { host } from '@gantry/native/index.js';
import { silentLog, testSettings } from '../fakes/settings.js';

/** The in-tree list as a source of drivers. */
export const inTree = (list: readonly AnyManifest[] = drivers): DriverSource => ({
  label: 'built in',
  find: async (kind, name) => list.find((manifest) => manifest.kind === kind && manifest.name === name) as never,
  names: (kind) => list.filter((manifest) => manifest.kind === kind).map(({ name }) => name),
});

/** A network service over the real drivers and the real kernel, which can die and come back. */
export class NetworkEngine {
  readonly root = mkdtempSync(join(tmpdir(), 'gantry-network-'));
  readonly settings: Settings;
  readonly live = new Set<string>();
  events = new EventBus();
  registry!: DriverRegistry;
  database!: Database;
  service!: NetworkService;

  /** `place`: the host that it is on and the cluster that it is a member of, when it is not alone on this one. */
  constructor(
    own: Partial<Settings> = {},
    private readonly place: { readonly host: Host; readonly cluster?: ClusterStore } = { host },
  ) {
    this.settings = testSettings({
      instance: 'nett0001',
      dataRoot: join(this.root, 'data'),
      execRoot: join(this.root, 'run'),
      bridge: 'gnett0',
      bip: '10.213.0.1/24',
      nameServerPath: join(binFolder, 'gantry-dns'),
      ...own,
    });
  }

  async start(): Promise<void> {
    const { dataRoot, execRoot, instance } = this.settings;
    const { cluster } = this.place;
    const options: Record<string, string> = this.settings.userlandProxy ? {} : { 'userland-proxy': 'false' };
    const optionsFor = (_kind: string, name: string) => (name === 'bridge' ? options : {});
    const env = { dataRoot, execRoot, instance, ...this.place, log: silentLog, optionsFor };
    this.registry = new DriverRegistry([inTree()], env);
    this.database = Database.open(join(this.root, 'state.db'));
    this.service = new NetworkService(this.settings, silentLog, this.place.host, this.database, this.registry, this.events);
    if (cluster) this.service.useCluster(cluster);
    await this.service.restore(this.live);
  }

  /** What the end of the process does, however it comes: sockets and files are closed, the kernel keeps the rest. */
  async die(): Promise<void> {
    await this.service.close();
    await this.registry.close();
    this.database.close();
  }

  async restart(): Promise<void> {
    await this.die();
    await this.start();
  }

  /** Takes everything away, as removing all containers and networks would. */
  async destroy(): Promise<void> {
    for (const id of this.live) await this.stop(id);
    await this.service.prune(new Map());
    const bridge = this.service.find('bridge');
    await this.die();
    if (bridge) await host.net.configure('', [{ op: 'delete-link', name: this.settings.bridge }]);
    await this.place.host.net.nft('', [{ op: 'delete-table', table: `gantry-${this.settings.instance}` }]);
    rmSync(this.root, { recursive: true, force: true });
  }

  /** `ipam` is one part of the configuration, `configs` several. */
  async network(
    name: string,
    own: Partial<Omit<CreateNetworkRequest, 'ipam'>> & { ipam?: Partial<IpamConfig>; configs?: readonly Partial<IpamConfig>[] } = {},
  ): Promise<string> {
    const { ipam, configs = ipam ? [ipam] : [], ...rest } = own;
    const config = configs.map((part) => ({ subnet: '', ipRange: '', gateway: '', auxAddresses: {}, ...part }));
    const { id } = await this.service.create({
      name,
      driver: 'bridge',
      scope: '',
      enableIpv4: true,
      enableIpv6: false,
      internal: false,
      attachable: false,
      ingress: false,
      configOnly: false,
      configFrom: '',
      options: {},
      labels: {},
      ...rest,
      ipam: { driver: '', options: {}, config },
    });
    return id;
  }

  /** Opens a sandbox as the start of a container does; resolves to the container's id. */
  async open(mode: 'private' | 'host' = 'private', dns: readonly string[] = []): Promise<string> {
    const id = newId();
    await this.service.openSandbox(id, { mode, dns: { servers: dns, search: [], options: [] }, extraHosts: [] });
    this.live.add(id);
    return id;
  }

  async join(network: string, id: string, own: Partial<JoinRequest> = {}): Promise<EndpointState> {
    return this.service.join(network, {
      containerId: id,
      containerName: `name-${id.slice(0, 8)}`,
      hostname: id.slice(0, 12),
      domainname: '',
      aliases: [],
      links: [],
      ipv4Address: '',
      ipv6Address: '',
      linkLocalAddresses: [],
      macAddress: '',
      driverOptions: {},
      gatewayPriority: 0,
      ports: [],
      ...own,
    });
  }

  async run(network: string, own: Partial<JoinRequest> = {}): Promise<{ id: string; path: string; address: string }> {
    const id = await this.open();
    const { ipAddress } = await this.join(network, id, own);
    return { id, path: this.path(id), address: ipAddress };
  }

  async stop(id: string): Promise<void> {
    await this.service.closeSandbox(id);
    this.live.delete(id);
  }

  path(id: string): string {
    return this.service.sandboxOf(id)?.path ?? '';
  }
}

export const tcpPort = (containerPort: number, hostPort: number, hostIp = ''): PortBinding => ({
  protocol: 'tcp',
  containerPort,
  hostPort,
  hostIp,
});
