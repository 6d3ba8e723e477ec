import { inject, injectable } from 'tsyringe';
import type { ClusterStore } from '../contracts/cluster.js';
import { conflict, EngineError, invalid, messageOf } from '../contracts/errors.js';
import type { Host } from '../contracts/host.js';
import type { PortBinding, PublishedPort } from '../contracts/network.js';
import { newId } from '../contracts/ids.js';
import type { Logger } from '../contracts/manifest.js';
import type { DriverRegistry, OpenDriver } from '../extension/driver-registry.js';
import type { Database } from '../state/database.js';
import { KeyedLock } from '../state/keyed-lock.js';
import type { Settings } from '../system/settings.js';
import type { Events } from '../system/system.js';
import { Tokens } from '../tokens.js';
import { checkJoin, dnsNamesOf, WAY_OUT } from './endpoint.js';
import { exposure, hostWarnings } from './exposure.js';
import { GlobalNetworks } from './global-networks.js';
import { make, unmake } from './making.js';
import { putIn, republish, takeOut } from './membership.js';
import { hostsFile, parseExtraHost, resolvConfFile } from './name-files.js';
import { networkMatcher } from './network-filters.js';
import { checkRequest, configuredBy, ignoredSubnets, predefinedNames } from './network-request.js';
import { namedEndpoint, NetworkRoom, notFound } from './network-room.js';
import type { NetworkRecord } from './network-store.js';
import type {
  CreateNetworkRequest,
  DnsConfig,
  EndpointState,
  Exposure,
  JoinRequest,
  Network,
  NetworkFilters,
  Networks,
  NetworkView,
} from './networks.js';
import { restore } from './restoration.js';
import { Sandbox, sandboxPath } from './sandbox.js';
import { adjustAfterLeaving, adjustWayOut } from './way-out.js';

type Counters = Awaited<ReturnType<Networks['counters']>>;

/**
 * Networks, and containers' places in them. Everything that reads answers from memory; memory is loaded by
 * {@link restore}, and every change is in the database before the kernel sees it: a network after it was made (its
 * names in the kernel follow from its id and the driver takes away what no record knows), an endpoint before.
 */
@injectable()
export class NetworkService implements Networks {
  private readonly room: NetworkRoom;
  /** Networks that are being removed; nobody joins them any more. */
  private readonly leaving = new Set<string>();
  /** Joins under way by network: they have no endpoint yet and keep the network all the same. */
  private readonly joining = new Map<string, number>();
  private readonly locks = new KeyedLock();

  constructor(
    @inject(Tokens.Settings) settings: Settings,
    @inject(Tokens.Log) log: Logger,
    @inject(Tokens.Host) host: Host,
    @inject(Tokens.Database) db: Database,
    @inject(Tokens.Drivers) drivers: DriverRegistry,
    @inject(Tokens.Events) events: Events,
  ) {
    this.room = new NetworkRoom(settings, log, host, db, drivers, events);
  }

  /** Before {@link restore}: networks of several hosts are in this store. */
  useCluster(store: ClusterStore): void {
    this.room.global = new GlobalNetworks(this.room, store);
  }

  async create(request: CreateNetworkRequest): Promise<{ id: string; warning: string }> {
    checkRequest(request);
    return this.locks.run(`name ${request.name}`, async () => {
      if (this.room.byName(request.name)) throw conflict(`network with name ${request.name} already exists`);
      const whole = request.configFrom === '' ? request : configuredBy(request, this.room.lookUp(request.configFrom).network);
      // A configuration network is only a record, of a driver that does nothing.
      const driver = await this.room.drivers.get('network', request.configOnly ? 'null' : request.driver || 'bridge');
      if (driver.has('single') && !request.configOnly)
        throw new EngineError('forbidden', `only one instance of "${driver.name}" network is allowed`);
      const network: Network = {
        ...whole,
        driver: driver.name,
        scope: scopeOf(driver, request.scope),
        ipam: { ...whole.ipam, driver: whole.ipam.driver || 'default' },
        id: newId(),
        created: new Date().toISOString(),
        ipv4: [],
        ipv6: [],
      };
      const made = await make(this.room, network, driver.driver);
      this.room.tell('create', made);
      return { id: made.id, warning: (await this.warningsOf(made, driver)).join('; ') };
    });
  }

  async list(filters: NetworkFilters): Promise<NetworkView[]> {
    const used = this.room.usedNetworks();
    const matches = networkMatcher(filters, ({ id }) => used.has(id));
    return [...this.room.networks.values()]
      .map(({ network }) => network)
      .filter(matches)
      .toSorted((a, b) => (a.created < b.created ? -1 : Number(a.created > b.created)))
      .map((network) => this.room.view(network));
  }

  async inspect(name: string): Promise<NetworkView> {
    return this.room.view(this.room.lookUp(name).network);
  }

  /** Names of the networks of one driver, or with addresses from it; from memory. */
  ofDriver(driver: string): string[] {
    return [...this.room.networks.values()]
      .filter(({ network }) => network.driver === driver || network.ipam.driver === driver)
      .map(({ network }) => network.name);
  }

  find(name: string): Network | undefined {
    return this.room.search(name)?.network;
  }

  async remove(name: string): Promise<void> {
    const record = this.room.lookUp(name);
    const { network } = record;
    if (predefinedNames.has(network.name))
      throw new EngineError('forbidden', `${network.name} is a pre-defined network and cannot be removed`);
    await this.locks.run(`name ${network.name}`, async () => {
      if (!this.room.networks.has(network.id)) throw notFound(name);
      if (this.joining.has(network.id) || this.room.usedNetworks().has(network.id)) {
        throw new EngineError('forbidden', `error while removing network: network ${network.name} has active endpoints`);
      }
      if (network.configOnly && this.dependents(network).length > 0)
        throw new EngineError('forbidden', `configuration network "${network.name}" is in use`);
      this.leaving.add(network.id);
      try {
        await unmake(this.room, record);
      } finally {
        this.leaving.delete(network.id);
      }
      this.room.tell('destroy', network);
    });
  }

  async prune(filters: NetworkFilters): Promise<string[]> {
    const matches = networkMatcher(filters, () => false);
    const deleted: string[] = [];
    for (const { network } of this.room.networks.values()) {
      if (
        predefinedNames.has(network.name) ||
        this.joining.has(network.id) ||
        this.room.usedNetworks().has(network.id) ||
        this.dependents(network).length > 0 ||
        !matches(network)
      )
        continue;
      try {
        await this.remove(network.id);
        deleted.push(network.name);
      } catch (error) {
        this.room.log.warn('pruning a network failed', { network: network.name, error: messageOf(error) });
      }
    }
    return deleted;
  }

  async openSandbox(
    containerId: string,
    options: { mode: 'private' | 'host'; dns: DnsConfig; extraHosts: readonly string[] },
  ): Promise<{ path: string }> {
    for (const entry of options.extraHosts) parseExtraHost(entry, this.room.hostGateway() || '0.0.0.0');
    return this.locks.run(`container ${containerId}`, async () => {
      const record = { containerId, ...options };
      const known = this.room.sandboxes.get(containerId);
      if (known) {
        if (known.record.mode !== options.mode)
          throw conflict(`the sandbox of container ${containerId} is open in mode ${known.record.mode}`);
        known.record = record;
        return { path: known.path };
      }
      const path = options.mode === 'host' ? '' : sandboxPath(this.room.folder, containerId);
      if (path !== '') await this.makeNamespace(path);
      this.room.sandboxes.set(containerId, new Sandbox(record, path));
      return { path };
    });
  }

  async closeSandbox(containerId: string): Promise<void> {
    await this.locks.run(`container ${containerId}`, async () => {
      const sandbox = this.room.sandboxes.get(containerId);
      const path = sandbox?.path ?? sandboxPath(this.room.folder, containerId);
      const failures: unknown[] = [];
      for (const endpoint of sandbox ? [...sandbox.endpoints] : []) {
        await takeOut(this.room, sandbox as Sandbox, endpoint, false).catch((error: unknown) => failures.push(error));
      }
      if (sandbox && this.room.names.serves(sandbox.id)) {
        // Before the namespace: the name server's sockets would keep it alive.
        this.room.names.dropSandbox(sandbox.id);
        await this.room.names.settled().catch((error: unknown) => failures.push(error));
      }
      if (path !== '') await this.room.host.net.removeNamespace(path).catch((error: unknown) => failures.push(error));
      // With a failure the records stay, so that the next call or the next start tries again.
      if (failures.length > 0) throw failures[0];
      if (sandbox?.saved) this.room.store.removeSandbox(containerId);
      this.room.sandboxes.delete(containerId);
    });
  }

  async join(name: string, request: JoinRequest): Promise<EndpointState> {
    const record = this.room.lookUp(name);
    const { network } = record;
    checkJoin(network, request);
    return this.locks.run(`container ${request.containerId}`, async () => {
      const sandbox = this.room.sandboxes.get(request.containerId);
      if (!sandbox) throw conflict(`container ${request.containerId} has no open sandbox`);
      if (!this.room.networks.has(network.id) || this.leaving.has(network.id)) throw notFound(name);
      if (sandbox.endpointIn(network.id))
        throw new EngineError('forbidden', `endpoint with name ${request.containerName} already exists in network ${network.name}`);
      this.joining.set(network.id, (this.joining.get(network.id) ?? 0) + 1);
      try {
        const state = await this.putIn(sandbox, record, request);
        this.room.tell('connect', network, request.containerId);
        return state;
      } finally {
        const left = (this.joining.get(network.id) ?? 1) - 1;
        if (left > 0) this.joining.set(network.id, left);
        else this.joining.delete(network.id);
      }
    });
  }

  async leave(name: string, containerId: string, options?: { force?: boolean }): Promise<boolean> {
    const { network } = this.room.lookUp(name);
    return this.locks.run(`container ${containerId}`, async () => {
      const sandbox = this.room.sandboxes.get(containerId);
      const endpoint = sandbox?.endpointIn(network.id);
      if (!sandbox || !endpoint) {
        if (options?.force) return false;
        throw new EngineError('forbidden', `container ${containerId} is not connected to network ${network.name}`);
      }
      await takeOut(this.room, sandbox, endpoint, true);
      await adjustAfterLeaving(this.room, sandbox, endpoint);
      return true;
    });
  }

  async publish(name: string, containerId: string, ports: readonly PortBinding[]): Promise<readonly PublishedPort[]> {
    const { network } = this.room.lookUp(name);
    return this.locks.run(`container ${containerId}`, async () => {
      const sandbox = this.room.sandboxes.get(containerId);
      const endpoint = sandbox?.endpointIn(network.id);
      if (!sandbox || !endpoint) throw new EngineError('forbidden', `container ${containerId} is not connected to network ${network.name}`);
      return republish(this.room, sandbox, endpoint, network, ports);
    });
  }

  async exposure(): Promise<Exposure> {
    return exposure(this.room);
  }

  async hostWarnings(): Promise<readonly string[]> {
    return hostWarnings(this.room.host.net, `gantry-${this.room.settings.instance}`);
  }

  endpointsOf(containerId: string): Readonly<Record<string, EndpointState>> {
    const endpoints = this.room.sandboxes.get(containerId)?.endpoints ?? [];
    const wayOut = endpoints.find(({ state }) => state.networkName === WAY_OUT);
    // The way out is the engine's own; what is published there is the first of the others' that has none.
    const shown = endpoints.filter((endpoint) => endpoint !== wayOut || endpoints.length === 1);
    return Object.fromEntries(
      shown.map(({ state }, index) => [
        state.networkName,
        wayOut && index === 0 && state.published.length === 0 ? { ...state, published: wayOut.state.published } : state,
      ]),
    );
  }

  sandboxOf(containerId: string): { id: string; path: string } | undefined {
    const sandbox = this.room.sandboxes.get(containerId);
    return sandbox && { id: sandbox.id, path: sandbox.path };
  }

  async rename(containerId: string, name: string): Promise<void> {
    await this.locks.run(`container ${containerId}`, async () => {
      const sandbox = this.room.sandboxes.get(containerId);
      for (const endpoint of sandbox ? [...sandbox.endpoints] : []) {
        const network = this.room.networks.get(endpoint.state.networkId)?.network;
        if (!sandbox || !network) continue;
        const { hostname, domainname } = endpoint;
        const request = { containerId, containerName: name, hostname, domainname, aliases: endpoint.state.aliases } as JoinRequest;
        const renamed = { ...endpoint, containerName: name, state: { ...endpoint.state, dnsNames: dnsNamesOf(network, request) } };
        this.room.store.saveEndpoint(renamed, undefined);
        this.room.names.putEndpoint(namedEndpoint(renamed));
        if (network.scope === 'global') this.room.global?.announceAgain(renamed);
        sandbox.replace(renamed);
      }
      await this.room.names.settled();
    });
  }

  async dropLinks(containerId: string, name: string, links: readonly string[]): Promise<void> {
    await this.locks.run(`container ${containerId}`, async () => {
      const sandbox = this.room.sandboxes.get(containerId);
      const endpoint = sandbox?.endpointIn(this.room.lookUp(name).network.id);
      if (!sandbox || !endpoint) return;
      const kept = { ...endpoint, state: { ...endpoint.state, links: endpoint.state.links.filter((link) => !links.includes(link)) } };
      this.room.store.saveEndpoint(kept, undefined);
      sandbox.replace(kept);
      if (this.room.names.serves(sandbox.id)) this.room.names.putSandbox(sandbox);
      await this.room.names.settled();
    });
  }

  nameFiles(containerId: string): { hosts: string; resolvConf: string } {
    const sandbox = this.room.sandboxes.get(containerId);
    if (!sandbox) throw new EngineError('not-found', `container ${containerId} has no open sandbox`);
    const host = sandbox.record.mode === 'host';
    const embedded = this.room.names.serves(sandbox.id);
    return {
      hosts: hostsFile(sandbox.record, sandbox.endpoints, this.room.linkEntries(sandbox), this.room.hostGateway()),
      resolvConf: resolvConfFile(sandbox.record, host ? this.room.resolvers.host() : this.room.resolvers.reachable(), embedded),
    };
  }

  async counters(containerId: string): Promise<Counters> {
    const sandbox = this.room.sandboxes.get(containerId);
    if (!sandbox || sandbox.path === '') return {};
    return this.room.host.net.counters(sandbox.path);
  }

  async restore(liveContainers: ReadonlySet<string>): Promise<void> {
    await restore(this.room, liveContainers);
  }

  /** Sandboxes, links, rules and names stay for the containers and for the next daemon. */
  async close(): Promise<void> {
    this.room.closed = true;
    this.room.global?.stop();
    await this.room.names.close();
  }

  private dependents(network: Network): Network[] {
    if (!network.configOnly) return [];
    return [...this.room.networks.values()].map((record) => record.network).filter(({ configFrom }) => configFrom === network.name);
  }

  /** What was not refused and may still not be what was meant. */
  private async warningsOf(network: Network, driver: OpenDriver<'network'>): Promise<string[]> {
    const ignored = ignoredSubnets(network);
    return [
      ...(ignored.length > 0 ? [`the network's IP version is off for ${ignored.join(', ')}, which is ignored`] : []),
      ...(driver.has('publish') ? await this.room.addresses.hiddenRoutes(network) : []),
    ];
  }

  private async putIn(sandbox: Sandbox, record: NetworkRecord, request: JoinRequest): Promise<EndpointState> {
    const state = await putIn(this.room, sandbox, record, request);
    try {
      await adjustWayOut(this.room, sandbox, request);
    } catch (error) {
      const made = sandbox.endpointIn(record.network.id);
      if (made) await takeOut(this.room, sandbox, made, true);
      throw error;
    }
    return this.endpointsOf(request.containerId)[record.network.name] ?? state;
  }

  private async makeNamespace(path: string): Promise<void> {
    try {
      await this.room.host.net.createNamespace(path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      // A start of the same container that was cut off.
      await this.room.host.net.removeNamespace(path);
      await this.room.host.net.createNamespace(path);
    }
  }
}

/** The driver's own; another wish is one that it cannot fulfil. */
function scopeOf({ name, driver }: OpenDriver<'network'>, wish: string): 'local' | 'global' {
  if (wish !== '' && wish !== driver.scope) throw invalid(`networks of the driver ${name} have the scope ${driver.scope}, not ${wish}`);
  return driver.scope;
}
