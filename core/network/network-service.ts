import { mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { inject, injectable } from 'tsyringe';
import { conflict, EngineError, invalid, messageOf } from '../contracts/errors.js';
import type { Host } from '../contracts/host.js';
import { newId } from '../contracts/ids.js';
import type { Logger } from '../contracts/manifest.js';
import type { CreateNetwork, NetworkDriver } from '../contracts/network.js';
import type { DriverRegistry, OpenDriver } from '../extension/driver-registry.js';
import type { Database } from '../state/database.js';
import { failpoint } from '../state/failpoint.js';
import { KeyedLock } from '../state/keyed-lock.js';
import { UndoStack } from '../state/undo.js';
import type { Settings } from '../system/settings.js';
import type { Events } from '../system/system.js';
import { Tokens } from '../tokens.js';
import { Addresses } from './addresses.js';
import { DnsForwarder } from './dns-forwarder.js';
import { DnsServer } from './dns-server.js';
import { checkJoin, configureLink, dnsNamesOf, interfaceNameFor, isUserDefined, newState } from './endpoint.js';
import { HostResolvers } from './host-resolvers.js';
import { type HostsEntry, hostsFile, parseExtraHost, resolvConfFile } from './name-files.js';
import { NameTable } from './names.js';
import { networkMatcher } from './network-filters.js';
import { checkRequest, predefinedNames } from './network-request.js';
import { type EndpointRecord, type NetworkRecord, NetworkStore } from './network-store.js';
import type {
  CreateNetworkRequest,
  DnsConfig,
  EndpointState,
  JoinRequest,
  Network,
  NetworkFilters,
  Networks,
  NetworkView,
} from './networks.js';
import { defaultNetwork, hostNetworkRecord, noneNetworkRecord, sameWish } from './predefined.js';
import { SandboxNames } from './sandbox-names.js';
import { holdsNamespace, Sandbox, sandboxPath } from './sandbox.js';

type Counters = Awaited<ReturnType<Networks['counters']>>;

/**
 * Networks, and containers' places in them. Everything that reads answers from memory; memory is loaded by
 * {@link restore}, and every change is in the database before the kernel sees it: a network after it was made (its
 * names in the kernel follow from its id and the driver takes away what no record knows), an endpoint before.
 */
@injectable()
export class NetworkService implements Networks {
  private readonly networks = new Map<string, NetworkRecord>();
  private readonly sandboxes = new Map<string, Sandbox>();
  /** Networks that are being removed; nobody joins them any more. */
  private readonly leaving = new Set<string>();
  /** Joins under way by network: they have no endpoint yet and keep the network all the same. */
  private readonly joining = new Map<string, number>();
  private readonly locks = new KeyedLock();
  private readonly names = new NameTable();
  private readonly resolvers = new HostResolvers();
  private readonly forwarder = new DnsForwarder();
  private readonly store: NetworkStore;
  private readonly addresses: Addresses;
  private readonly folder: string;

  constructor(
    @inject(Tokens.Settings) private readonly settings: Settings,
    @inject(Tokens.Log) private readonly log: Logger,
    @inject(Tokens.Host) private readonly host: Host,
    @inject(Tokens.Database) db: Database,
    @inject(Tokens.Drivers) private readonly drivers: DriverRegistry,
    @inject(Tokens.Events) private readonly events: Events,
  ) {
    this.store = new NetworkStore(db);
    this.addresses = new Addresses(drivers, host.net, log);
    this.folder = join(settings.execRoot, 'netns');
  }

  async create(request: CreateNetworkRequest): Promise<{ id: string; warning: string }> {
    checkRequest(request);
    return this.locks.run(`name ${request.name}`, async () => {
      if (this.byName(request.name)) throw conflict(`network with name ${request.name} already exists`);
      const driver = await this.drivers.get('network', request.driver || 'bridge');
      if (driver.has('single')) throw new EngineError('forbidden', `only one instance of "${driver.name}" network is allowed`);
      const network: Network = {
        ...request,
        driver: driver.name,
        scope: driver.driver.scope,
        ipam: { ...request.ipam, driver: request.ipam.driver || 'default' },
        id: newId(),
        created: new Date().toISOString(),
        ipv4: [],
        ipv6: [],
      };
      const { id } = await this.make(network, driver.driver);
      this.tell('create', network);
      return { id, warning: '' };
    });
  }

  async list(filters: NetworkFilters): Promise<NetworkView[]> {
    const used = this.usedNetworks();
    const matches = networkMatcher(filters, ({ id }) => used.has(id));
    return [...this.networks.values()]
      .map(({ network }) => network)
      .filter(matches)
      .toSorted((a, b) => (a.created < b.created ? -1 : Number(a.created > b.created)))
      .map((network) => this.view(network));
  }

  async inspect(name: string): Promise<NetworkView> {
    return this.view(this.lookUp(name).network);
  }

  find(name: string): Network | undefined {
    return this.search(name)?.network;
  }

  async remove(name: string): Promise<void> {
    const record = this.lookUp(name);
    const { network } = record;
    if (predefinedNames.has(network.name))
      throw new EngineError('forbidden', `${network.name} is a pre-defined network and cannot be removed`);
    await this.locks.run(`name ${network.name}`, async () => {
      if (!this.networks.has(network.id)) throw notFound(name);
      if (this.joining.has(network.id) || this.usedNetworks().has(network.id)) {
        throw new EngineError('forbidden', `error while removing network: network ${network.name} has active endpoints`);
      }
      this.leaving.add(network.id);
      try {
        await this.unmake(record);
      } finally {
        this.leaving.delete(network.id);
      }
      this.tell('destroy', network);
    });
  }

  async prune(filters: NetworkFilters): Promise<string[]> {
    const matches = networkMatcher(filters, () => false);
    const deleted: string[] = [];
    for (const { network } of [...this.networks.values()]) {
      if (predefinedNames.has(network.name) || this.joining.has(network.id) || this.usedNetworks().has(network.id) || !matches(network))
        continue;
      try {
        await this.remove(network.id);
        deleted.push(network.name);
      } catch (error) {
        this.log.warn('pruning a network failed', { network: network.name, error: messageOf(error) });
      }
    }
    return deleted;
  }

  async openSandbox(
    containerId: string,
    options: { mode: 'private' | 'host'; dns: DnsConfig; extraHosts: readonly string[] },
  ): Promise<{ path: string }> {
    for (const entry of options.extraHosts) parseExtraHost(entry, this.hostGateway() || '0.0.0.0');
    return this.locks.run(`container ${containerId}`, async () => {
      const record = { containerId, ...options };
      const known = this.sandboxes.get(containerId);
      if (known) {
        if (known.record.mode !== options.mode)
          throw conflict(`the sandbox of container ${containerId} is open in mode ${known.record.mode}`);
        known.record = record;
        return { path: known.path };
      }
      const path = options.mode === 'host' ? '' : sandboxPath(this.folder, containerId);
      if (path !== '') await this.makeNamespace(path);
      this.sandboxes.set(containerId, new Sandbox(record, path));
      return { path };
    });
  }

  async closeSandbox(containerId: string): Promise<void> {
    await this.locks.run(`container ${containerId}`, async () => {
      const sandbox = this.sandboxes.get(containerId);
      const path = sandbox?.path ?? sandboxPath(this.folder, containerId);
      const failures: unknown[] = [];
      for (const endpoint of sandbox ? [...sandbox.endpoints] : []) {
        await this.takeOut(sandbox as Sandbox, endpoint, false).catch((error: unknown) => failures.push(error));
      }
      await sandbox?.dnsServer?.close();
      if (path !== '') await this.host.net.removeNamespace(path).catch((error: unknown) => failures.push(error));
      // With a failure the records stay, so that the next call or the next start tries again.
      if (failures.length > 0) throw failures[0];
      if (sandbox?.saved) this.store.removeSandbox(containerId);
      this.sandboxes.delete(containerId);
    });
  }

  async join(name: string, request: JoinRequest): Promise<EndpointState> {
    const record = this.lookUp(name);
    const { network } = record;
    checkJoin(network, request);
    return this.locks.run(`container ${request.containerId}`, async () => {
      const sandbox = this.sandboxes.get(request.containerId);
      if (!sandbox) throw conflict(`container ${request.containerId} has no open sandbox`);
      if (!this.networks.has(network.id) || this.leaving.has(network.id)) throw notFound(name);
      if (sandbox.endpointIn(network.id))
        throw new EngineError('forbidden', `endpoint with name ${request.containerName} already exists in network ${network.name}`);
      this.joining.set(network.id, (this.joining.get(network.id) ?? 0) + 1);
      try {
        const state = await this.putIn(sandbox, record, request);
        this.tell('connect', network, request.containerId);
        return state;
      } finally {
        const left = (this.joining.get(network.id) ?? 1) - 1;
        if (left > 0) this.joining.set(network.id, left);
        else this.joining.delete(network.id);
      }
    });
  }

  async leave(name: string, containerId: string, options?: { force?: boolean }): Promise<void> {
    const { network } = this.lookUp(name);
    await this.locks.run(`container ${containerId}`, async () => {
      const sandbox = this.sandboxes.get(containerId);
      const endpoint = sandbox?.endpointIn(network.id);
      if (!sandbox || !endpoint) {
        if (options?.force) return;
        throw new EngineError('forbidden', `container ${containerId} is not connected to network ${network.name}`);
      }
      await this.takeOut(sandbox, endpoint, true);
    });
  }

  endpointsOf(containerId: string): Readonly<Record<string, EndpointState>> {
    const endpoints = this.sandboxes.get(containerId)?.endpoints ?? [];
    return Object.fromEntries(endpoints.map(({ state }) => [state.networkName, state]));
  }

  sandboxOf(containerId: string): { id: string; path: string } | undefined {
    const sandbox = this.sandboxes.get(containerId);
    return sandbox && { id: sandbox.id, path: sandbox.path };
  }

  async rename(containerId: string, name: string): Promise<void> {
    await this.locks.run(`container ${containerId}`, async () => {
      const sandbox = this.sandboxes.get(containerId);
      for (const endpoint of sandbox ? [...sandbox.endpoints] : []) {
        const network = this.networks.get(endpoint.state.networkId)?.network;
        if (!sandbox || !network) continue;
        const { hostname, domainname } = endpoint;
        const request = { containerId, containerName: name, hostname, domainname, aliases: endpoint.state.aliases } as JoinRequest;
        const renamed = { ...endpoint, containerName: name, state: { ...endpoint.state, dnsNames: dnsNamesOf(network, request) } };
        this.store.saveEndpoint(renamed, undefined);
        this.names.remove(endpoint);
        this.names.add(renamed);
        sandbox.replace(renamed);
      }
    });
  }

  nameFiles(containerId: string): { hosts: string; resolvConf: string } {
    const sandbox = this.sandboxes.get(containerId);
    if (!sandbox) throw new EngineError('not-found', `container ${containerId} has no open sandbox`);
    const host = sandbox.record.mode === 'host';
    const embedded = sandbox.dnsServer !== undefined;
    return {
      hosts: hostsFile(sandbox.record, sandbox.endpoints, this.linkEntries(sandbox), this.hostGateway()),
      resolvConf: resolvConfFile(sandbox.record, host ? this.resolvers.host() : this.resolvers.reachable(), embedded),
    };
  }

  async counters(containerId: string): Promise<Counters> {
    const sandbox = this.sandboxes.get(containerId);
    if (!sandbox || sandbox.path === '') return {};
    return this.host.net.counters(sandbox.path);
  }

  async restore(liveContainers: ReadonlySet<string>): Promise<void> {
    await mkdir(this.folder, { recursive: true, mode: 0o700 });
    this.store.open();
    for (const record of this.store.networks()) this.networks.set(record.network.id, record);
    const sandboxes = this.store.sandboxes().filter(({ containerId }) => liveContainers.has(containerId));
    for (const record of sandboxes) {
      const path = record.mode === 'host' ? '' : sandboxPath(this.folder, record.containerId);
      const sandbox = new Sandbox(record, path);
      sandbox.saved = true;
      this.sandboxes.set(record.containerId, sandbox);
    }
    const dead: EndpointRecord[] = [];
    for (const endpoint of this.store.endpoints()) {
      const sandbox = this.sandboxes.get(endpoint.containerId);
      if (sandbox && this.networks.has(endpoint.state.networkId)) sandbox.endpoints.push(endpoint);
      else dead.push(endpoint);
    }
    for (const sandbox of this.sandboxes.values()) sandbox.endpoints.sort((a, b) => a.order - b.order);

    // Before anything new is allocated: a crash may have left pools that no record knows.
    const leases = new Map<string, string[]>();
    for (const sandbox of this.sandboxes.values())
      for (const { state } of sandbox.endpoints)
        if (state.ipAddress) leases.set(state.networkId, [...(leases.get(state.networkId) ?? []), state.ipAddress]);
    await this.addresses.audit([...this.networks.values()], leases);
    await this.ensurePredefined();
    for (const record of this.networks.values()) await this.bringBack(record);
    for (const sandbox of this.sandboxes.values()) await this.bringBackEndpoints(sandbox);
    for (const endpoint of dead) await this.bury(endpoint);
    await this.settleDrivers();

    for (const { containerId } of this.store.sandboxes()) if (!this.sandboxes.has(containerId)) this.store.removeSandbox(containerId);
    const kept = new Set([...this.sandboxes.values()].map(({ path }) => path));
    for (const file of await readdir(this.folder)) {
      const path = join(this.folder, file);
      if (!kept.has(path)) await this.host.net.removeNamespace(path);
    }
  }

  /** Ends the name servers; sandboxes, links and rules stay for the containers and for the next daemon. */
  async close(): Promise<void> {
    await Promise.all([...this.sandboxes.values()].map(({ dnsServer }) => dnsServer?.close()));
  }

  /** Makes a network and writes its record. Nothing is left behind on failure. */
  private async make(network: Network, driver: NetworkDriver): Promise<Network> {
    const undo = new UndoStack(this.log);
    try {
      const needsAddresses = network.driver !== 'host' && network.driver !== 'null';
      const allocation = needsAddresses ? await this.addresses.allocate(network) : { ipv4: [], pools: [], reserved: {} };
      const whole = { ...network, ipv4: allocation.ipv4 };
      const record: NetworkRecord = { network: whole, pools: allocation.pools, reserved: allocation.reserved };
      undo.push('free the addresses', () => this.addresses.free(record));
      failpoint('network.create.allocated');
      undo.push('delete the network', () => driver.deleteNetwork(whole.id));
      await driver.createNetwork(whole.id, driverConfig(whole));
      failpoint('network.create.made');
      this.store.saveNetwork(record);
      this.networks.set(whole.id, record);
      undo.dismiss();
      return whole;
    } finally {
      await undo.run();
    }
  }

  private async unmake(record: NetworkRecord): Promise<void> {
    const { network } = record;
    const { driver } = await this.drivers.get('network', network.driver);
    await driver.deleteNetwork(network.id);
    failpoint('network.remove.deleted');
    await this.addresses.free(record);
    this.store.removeNetwork(network.id);
    this.networks.delete(network.id);
  }

  private async putIn(sandbox: Sandbox, record: NetworkRecord, request: JoinRequest): Promise<EndpointState> {
    const { network } = record;
    const open = await this.drivers.get('network', network.driver);
    const { driver } = open;
    const hostMode = sandbox.record.mode === 'host';
    if (hostMode === open.has('sandbox'))
      throw conflict(
        hostMode
          ? `container sharing the host's network cannot be connected to network ${network.name}`
          : `container with a network of its own cannot be connected to network ${network.name}`,
      );
    const endpointId = newId();
    const undo = new UndoStack(this.log);
    try {
      const address = record.pools.length > 0 ? await this.addresses.lease(record, request.ipv4Address) : '';
      undo.push('release the address', () => this.addresses.release(record, address));
      let state = newState(network, endpointId, request, address);
      undo.push('delete the endpoint', () => driver.deleteEndpoint(network.id, endpointId));
      const iface = { ...(address && { address }), ...(request.macAddress && { mac: request.macAddress.toLowerCase() }) };
      const made = await driver.createEndpoint(network.id, endpointId, iface, request.driverOptions);
      state = { ...state, macAddress: made.mac ?? request.macAddress };
      const { containerId, containerName, hostname, domainname } = request;
      let endpoint: EndpointRecord = {
        containerId,
        containerName,
        hostname,
        domainname,
        state,
        interfaceName: '',
        routed: false,
        order: sandbox.nextOrder,
      };
      failpoint('network.join.addressed');
      this.store.saveEndpoint(endpoint, sandbox.saved ? undefined : sandbox.record);
      sandbox.saved = true;
      undo.push('forget the endpoint', () => this.store.removeEndpoint(endpointId));
      failpoint('network.join.recorded');

      const info = await driver.join(network.id, endpointId, sandbox.path);
      undo.push('leave the network', () => driver.leave(network.id, endpointId));
      failpoint('network.join.joined');
      endpoint = {
        ...endpoint,
        interfaceName: interfaceNameFor(sandbox, info, request.driverOptions),
        routed: info.gateway !== undefined && !info.disableGateway,
        state: { ...state, gateway: info.gateway ?? '' },
      };
      sandbox.endpoints.push(endpoint);
      undo.push('put the default route back', () => this.host.net.configure(sandbox.path, sandbox.defaultRoute()));
      undo.push('drop the endpoint', () => sandbox.drop(endpointId));
      const takesRoute = sandbox.gatewayEndpoint()?.state.endpointId === endpointId;
      await configureLink(this.host.net, sandbox, info, endpoint, takesRoute ? sandbox.defaultRoute() : []);
      failpoint('network.join.configured');
      endpoint = await this.publish(open, network, sandbox, endpoint, request);
      this.store.saveEndpoint(endpoint, undefined);
      await this.serveNames(sandbox, network, open);
      this.names.add(endpoint);
      undo.dismiss();
      return endpoint.state;
    } finally {
      await undo.run();
    }
  }

  private async publish(
    open: OpenDriver<'network'>,
    network: Network,
    sandbox: Sandbox,
    endpoint: EndpointRecord,
    request: JoinRequest,
  ): Promise<EndpointRecord> {
    if (request.ports.length === 0 || !open.has('publish')) return endpoint;
    try {
      const published = await open.driver.publish(network.id, endpoint.state.endpointId, request.ports);
      const whole = { ...endpoint, state: { ...endpoint.state, published } };
      sandbox.replace(whole);
      return whole;
    } catch (error) {
      if (!(error instanceof EngineError)) throw error;
      throw new EngineError(
        error.kind,
        `driver failed programming external connectivity on endpoint ${request.containerName} (${endpoint.state.endpointId}): ${error.message}`,
        { cause: error },
      );
    }
  }

  /** Leaves one network. `stays`: the container goes on, so its default route must be right afterwards. */
  private async takeOut(sandbox: Sandbox, endpoint: EndpointRecord, stays: boolean): Promise<void> {
    const { networkId, endpointId, ipAddress } = endpoint.state;
    const record = this.networks.get(networkId);
    this.names.remove(endpoint);
    if (record) {
      const { driver } = await this.drivers.get('network', record.network.driver);
      await driver.unpublish(networkId, endpointId);
      await driver.leave(networkId, endpointId);
      await driver.deleteEndpoint(networkId, endpointId);
      failpoint('network.leave.deleted');
      await this.addresses.release(record, ipAddress);
    }
    const hadRoute = sandbox.gatewayEndpoint()?.state.endpointId === endpointId;
    if (stays) this.store.removeEndpoint(endpointId);
    sandbox.drop(endpointId);
    if (record) this.tell('disconnect', record.network, sandbox.record.containerId);
    if (stays && hadRoute) await this.host.net.configure(sandbox.path, sandbox.defaultRoute());
  }

  /** The embedded name server comes with the first network that has names, and stays until the sandbox ends. */
  private async serveNames(sandbox: Sandbox, network: Network, driver: OpenDriver<'network'>): Promise<void> {
    if (sandbox.dnsServer || sandbox.path === '' || !isUserDefined(network) || !driver.has('service-discovery')) return;
    sandbox.dnsServer = await DnsServer.open(
      this.host.net,
      this.forwarder,
      {
        namespace: sandbox.path,
        view: new SandboxNames(sandbox, this.names, (id) => this.networks.get(id)?.network),
        // What is only in internal networks must not reach outside, by names neither.
        upstreams: () => {
          if (!sandbox.gatewayEndpoint()) return [];
          const { servers } = sandbox.record.dns;
          return servers.length > 0 ? servers : this.resolvers.host().servers;
        },
      },
      this.log,
    );
  }

  private async makeNamespace(path: string): Promise<void> {
    try {
      await this.host.net.createNamespace(path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      // A start of the same container that was cut off.
      await this.host.net.removeNamespace(path);
      await this.host.net.createNamespace(path);
    }
  }

  private async ensurePredefined(): Promise<void> {
    for (const wanted of [hostNetworkRecord(), noneNetworkRecord()])
      if (!this.byName(wanted.name)) {
        const record = { network: wanted, pools: [], reserved: {} };
        this.store.saveNetwork(record);
        this.networks.set(wanted.id, record);
      }
    const kept = this.byName('bridge');
    const used = kept !== undefined && this.usedNetworks().has(kept.network.id);
    if (this.settings.bridge === 'none') {
      if (kept && !used) await this.unmake(kept);
      return;
    }
    const wanted = defaultNetwork(this.settings);
    if (kept && sameWish(kept.network, wanted)) return;
    if (kept && used) {
      this.log.warn('the default network keeps its old settings while running containers use it', { network: kept.network.id });
      return;
    }
    if (kept) await this.unmake(kept);
    const { driver } = await this.drivers.get('network', 'bridge');
    // The same identity: containers were created with it.
    await this.make(kept ? { ...wanted, id: kept.network.id, created: kept.network.created } : wanted, driver);
  }

  private async bringBack({ network }: NetworkRecord): Promise<void> {
    try {
      const { driver } = await this.drivers.get('network', network.driver);
      await driver.createNetwork(network.id, driverConfig(network));
    } catch (error) {
      if (network.name === 'bridge') throw error;
      this.log.error('a network could not be brought back', { network: network.name, error: messageOf(error) });
    }
  }

  private async bringBackEndpoints(sandbox: Sandbox): Promise<void> {
    const { containerId } = sandbox.record;
    if (sandbox.path !== '' && !holdsNamespace(sandbox.path))
      this.log.warn('the network namespace of a running container is gone', { container: containerId, path: sandbox.path });
    for (const endpoint of [...sandbox.endpoints]) {
      const { state } = endpoint;
      const network = this.networks.get(state.networkId)?.network;
      if (!network) continue;
      try {
        const open = await this.drivers.get('network', network.driver);
        await open.driver.createEndpoint(
          network.id,
          state.endpointId,
          {
            ...(state.ipAddress && { address: `${state.ipAddress}/${state.ipPrefixLength}` }),
            ...(state.macAddress && { mac: state.macAddress }),
          },
          state.driverOptions,
        );
        if (state.published.length > 0) await open.driver.publish(network.id, state.endpointId, state.published);
        this.names.add(endpoint);
        await this.serveNames(sandbox, network, open);
      } catch (error) {
        this.log.error('an endpoint could not be brought back', {
          container: containerId,
          network: network.name,
          error: messageOf(error),
        });
      }
    }
  }

  /** Takes away what an endpoint of a container that is no more has in the kernel; its address goes with the audit. */
  private async bury({ state }: EndpointRecord): Promise<void> {
    const network = this.networks.get(state.networkId)?.network;
    if (network) {
      const { driver } = await this.drivers.get('network', network.driver);
      await driver.leave(network.id, state.endpointId);
      await driver.deleteEndpoint(network.id, state.endpointId);
    }
    this.store.removeEndpoint(state.endpointId);
  }

  private async settleDrivers(): Promise<void> {
    const used = new Set(['bridge', ...[...this.networks.values()].map(({ network }) => network.driver)]);
    for (const name of used) {
      try {
        await (await this.drivers.get('network', name)).driver.settle();
      } catch (error) {
        if (name === 'bridge' && this.settings.bridge !== 'none') throw error;
        this.log.error('a network driver did not settle', { driver: name, error: messageOf(error) });
      }
    }
  }

  /** What links add to /etc/hosts: on the default network there is no other way to name a container. */
  private linkEntries(sandbox: Sandbox): HostsEntry[] {
    return sandbox.endpoints.flatMap(({ state }) => {
      const network = this.networks.get(state.networkId)?.network;
      if (!network || isUserDefined(network)) return [];
      return state.links.flatMap((link): HostsEntry[] => {
        const [target = '', alias = target] = link.split(':');
        const other = this.endpointNamed(network.id, target.replace(/^\//, ''));
        if (!other) throw invalid(`cannot link to a non running container: ${target.slice(0, 128)}`);
        const names = [alias.replace(/^.*\//, ''), other.hostname, other.containerName];
        return [{ address: other.state.ipAddress, names: [...new Set(names)] }];
      });
    });
  }

  private endpointNamed(networkId: string, container: string): EndpointRecord | undefined {
    for (const sandbox of this.sandboxes.values()) {
      const endpoint = sandbox.endpointIn(networkId);
      if (endpoint && (endpoint.containerName === container || endpoint.containerId === container)) return endpoint;
    }
    return undefined;
  }

  /** The host as containers reach it. */
  private hostGateway(): string {
    const gateway = this.byName('bridge')?.network.ipv4[0]?.gateway ?? '';
    return gateway.split('/')[0] ?? '';
  }

  private usedNetworks(): Set<string> {
    return new Set([...this.sandboxes.values()].flatMap(({ endpoints }) => endpoints.map(({ state }) => state.networkId)));
  }

  private view(network: Network): NetworkView {
    const containers: Record<string, NetworkView['containers'][string]> = {};
    for (const [id, sandbox] of this.sandboxes) {
      const endpoint = sandbox.endpointIn(network.id);
      if (!endpoint) continue;
      const { state } = endpoint;
      containers[id] = {
        name: endpoint.containerName,
        endpointId: state.endpointId,
        mac: state.macAddress,
        ipv4: state.ipAddress && `${state.ipAddress}/${state.ipPrefixLength}`,
        ipv6: state.globalIpv6Address && `${state.globalIpv6Address}/${state.globalIpv6PrefixLength}`,
      };
    }
    return { network, containers };
  }

  private byName(name: string): NetworkRecord | undefined {
    return [...this.networks.values()].find(({ network }) => network.name === name);
  }

  /** Full id, then exact name, then an id's beginning that only one has. */
  private search(text: string): NetworkRecord | undefined {
    // What `--network default` means is the default network.
    const name = text === 'default' ? 'bridge' : text;
    const exact = this.networks.get(name) ?? this.byName(name);
    if (exact || name === '') return exact;
    const matches = [...this.networks.values()].filter(({ network }) => network.id.startsWith(name));
    if (matches.length > 1) throw invalid(`network ${name} is ambiguous (${matches.length} matches found based on ID prefix)`);
    return matches[0];
  }

  private lookUp(name: string): NetworkRecord {
    const record = this.search(name);
    if (!record) throw notFound(name);
    return record;
  }

  private tell(action: string, network: Network, containerId?: string): void {
    this.events.publish({
      type: 'network',
      action,
      id: network.id,
      attributes: { ...(containerId !== undefined && { container: containerId }), name: network.name, type: network.driver },
    });
  }
}

const notFound = (name: string): EngineError => new EngineError('not-found', `network ${name.slice(0, 256)} not found`);

const driverConfig = ({ options, internal, ipv4, ipv6 }: Network): CreateNetwork => ({ options, internal, ipv4, ipv6 });
