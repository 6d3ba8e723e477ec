import { join } from 'node:path';
import type { ClusterChange, ClusterStore } from '../contracts/cluster.js';
import { conflict, EngineError, invalid, isKind, messageOf } from '../contracts/errors.js';
import { isId } from '../contracts/ids.js';
import type { GlobalAllocation, NetworkDriver } from '../contracts/network.js';
import { KeyedLock } from '../state/keyed-lock.js';
import { readEndpoint, RemoteNames } from './remote-names.js';
import { driverConfig, namedEndpoint, type NetworkRoom } from './network-room.js';
import type { EndpointRecord, NetworkRecord } from './network-store.js';

const NETWORKS = 'networks/';
const NAMES = 'network-names/';
const ENDPOINTS = 'endpoints/';

/** A network that could not be taken in or given up is tried again after so long. */
const RETRY_MS = 2000;

const endpointKey = ({ networkId, endpointId }: { networkId: string; endpointId: string }): string =>
  `${ENDPOINTS}${networkId}/${endpointId}`;

/**
 * Networks that this engine shares with others, and who is on them elsewhere. The cluster's store is the truth for both; what is in this
 * engine's own database is what it knew last, for a start while the store is away.
 */
export class GlobalNetworks {
  private readonly changes = new KeyedLock();
  private readonly stops: (() => void)[] = [];
  /** Endpoints on other hosts. */
  private readonly remotes: RemoteNames;
  /** Ids of networks that are here and not as the store has them. */
  private readonly unsettled = new Set<string>();
  private timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly room: NetworkRoom,
    private readonly cluster: ClusterStore,
  ) {
    this.remotes = new RemoteNames(join(room.settings.execRoot, 'cluster-names.json'), room.log);
  }

  /** Makes a network known to all. `conflict` when its name is taken. */
  async add(record: NetworkRecord): Promise<void> {
    const { id, name } = record.network;
    const added = await this.cluster.commit(
      [{ key: NAMES + name, is: 'absent' }],
      [
        { op: 'put', key: NAMES + name, value: id },
        { op: 'put', key: NETWORKS + id, value: JSON.stringify(record) },
      ],
    );
    if (!added) throw conflict(`network with name ${name} already exists`);
  }

  /** From then on nobody can join it. `forbidden` while anybody is on it, wherever that is. */
  async remove({ network }: NetworkRecord): Promise<void> {
    const { id, name } = network;
    const free = { prefix: `${ENDPOINTS}${id}/`, is: 'empty' } as const;
    const removed = await this.cluster.commit(
      [free],
      [
        { op: 'delete', key: NAMES + name },
        { op: 'delete', key: NETWORKS + id },
      ],
    );
    if (!removed) throw new EngineError('forbidden', `error while removing network: network ${name} has active endpoints on other hosts`);
  }

  /** Tells the others of a container, its names above all. `not-found` when the network was removed meanwhile. */
  async announce(endpoint: EndpointRecord): Promise<void> {
    const { networkId } = endpoint.state;
    await this.cluster.announce(endpointKey(endpoint.state), { ...namedEndpoint(endpoint) }, [
      { key: NETWORKS + networkId, is: 'present' },
    ]);
  }

  /** The same for one that was there before, as soon as the store answers. */
  announceAgain(endpoint: EndpointRecord): void {
    this.cluster.announceAgain(endpointKey(endpoint.state), { ...namedEndpoint(endpoint) });
  }

  withdraw(endpoint: EndpointRecord): void {
    this.cluster.withdraw(endpointKey(endpoint.state));
  }

  /** At a daemon's start, before names are served: those of other hosts as they were, should the store be away. */
  restoreNames(): void {
    for (const endpoint of this.remotes.load()) this.room.names.putEndpoint(endpoint);
  }

  /** At the end of a daemon's start: everything local has been brought back. */
  start(): void {
    for (const sandbox of this.room.sandboxes.values())
      for (const endpoint of sandbox.endpoints)
        if (this.room.networks.get(endpoint.state.networkId)?.network.scope === 'global') this.announceAgain(endpoint);
    this.stops.push(
      this.cluster.observe(ENDPOINTS, (changes) => this.takeNames(changes)),
      this.cluster.observe(NETWORKS, (changes) => void this.takeNetworks(changes)),
    );
    void this.cluster.whenKnown().then(() => this.compare());
  }

  stop(): void {
    for (const stop of this.stops.splice(0)) stop();
    clearTimeout(this.timer);
    this.remotes.save();
  }

  /**
   * The first time that the store answers. Networks that were removed while this engine was away have no change that tells of it; and
   * what a crash left of networks that are in no record is freed.
   */
  private async compare(): Promise<void> {
    const there = this.cluster.entries(ENDPOINTS);
    const ended = this.remotes.all().filter((endpoint) => !there.has(endpointKey(endpoint)));
    this.takeNames(ended.map((endpoint) => ({ key: endpointKey(endpoint), value: undefined })));
    const known = this.cluster.entries(NETWORKS);
    const gone = this.records().filter(({ network }) => !known.has(NETWORKS + network.id));
    await this.takeNetworks([
      ...gone.map(({ network }) => ({ key: NETWORKS + network.id, value: undefined })),
      ...[...known].map(([key, value]) => ({ key, value })),
    ]);
    try {
      const records = [...known.values()].map((value) => parse<NetworkRecord>(value));
      await this.room.addresses.audit(records, this.room.leases(), 'cluster');
      const ids = new Set(records.map(({ network }) => network.id));
      for (const name of new Set([...records.map(({ network }) => network.driver), ...(await this.builtIn())])) {
        const open = await this.room.drivers.get('network', name);
        if (open.has('global-allocation')) await (open.driver as NetworkDriver & GlobalAllocation).auditNetworks(ids);
      }
    } catch (error) {
      this.room.log.error('what networks of the cluster hold could not be compared', { error: messageOf(error) });
    }
    // Everything that lives has been announced again; the rest of a former life may go.
    this.cluster.settle();
  }

  /** Drivers of this build that give out what only one network may have: without any network they may still hold some of it. */
  private async builtIn(): Promise<string[]> {
    const { drivers } = this.room;
    const names: string[] = [];
    for (const name of drivers.names('network')) {
      if (drivers.isRemote('network', name)) continue;
      const { capabilities } = await drivers.manifest('network', name);
      if (capabilities.includes('global-allocation') && (await drivers.probe('network', name)).ok) names.push(name);
    }
    return names;
  }

  private records(): NetworkRecord[] {
    return [...this.room.networks.values()].filter(({ network }) => network.scope === 'global');
  }

  private takeNames(changes: readonly ClusterChange[]): void {
    for (const { key, value } of changes) {
      const endpointId = key.slice(key.lastIndexOf('/') + 1);
      if (value === undefined) {
        if (this.remotes.drop(endpointId)) this.room.names.dropEndpoint(endpointId);
        continue;
      }
      const { member, ...told } = Object(JSON.parse(value)) as Record<string, unknown>;
      if (member === this.cluster.member) continue;
      const endpoint = readEndpoint(told);
      if (!endpoint || key !== endpointKey(endpoint)) {
        this.room.log.warn('what another engine says of a container is not taken in', { key });
        continue;
      }
      this.remotes.put(endpoint);
      this.room.names.putEndpoint(endpoint);
    }
    this.room.names
      .settled()
      .catch((error: unknown) => this.room.log.warn('names of other hosts are not served', { error: messageOf(error) }));
  }

  private async takeNetworks(changes: readonly ClusterChange[]): Promise<void> {
    for (const { key, value } of changes) {
      const id = key.slice(NETWORKS.length);
      try {
        await this.changes.run(id, () => (value === undefined ? this.drop(id) : this.take(id, parse<NetworkRecord>(value))));
        this.unsettled.delete(id);
      } catch (error) {
        // Told once, and tried until it succeeds: who is on it may leave, and what the kernel was busy with ends. What is not a record stays none.
        if (!this.unsettled.has(id))
          this.room.log.error('a change of a network of the cluster was not taken in', { network: id, error: messageOf(error) });
        if (isKind(error, 'invalid-parameter')) this.unsettled.delete(id);
        else this.unsettled.add(id);
      }
    }
    if (this.unsettled.size === 0 || this.room.closed) return;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      const known = this.cluster.entries(NETWORKS);
      void this.takeNetworks([...this.unsettled].map((id) => ({ key: NETWORKS + id, value: known.get(NETWORKS + id) })));
    }, RETRY_MS);
    this.timer.unref();
  }

  private async take(id: string, record: NetworkRecord): Promise<void> {
    const { network } = record;
    if (network.id !== id || !isId(id)) throw invalid('the record of a network is under a key of another');
    if (this.room.networks.has(network.id)) return;
    const open = await this.room.drivers.get('network', network.driver);
    // Whoever writes to the store says which networks there are, and not what else there is on this host.
    if (network.scope !== 'global' || open.driver.scope !== 'global') throw invalid(`network ${network.name} is not one of several hosts`);
    const namesake = this.room.byName(network.name);
    if (namesake) this.room.log.warn('a network of the cluster has the name of one of this host', { name: network.name, id: network.id });
    this.room.store.saveNetwork(record);
    await open.driver.createNetwork(network.id, driverConfig(network));
    this.room.names.putNetwork(network);
    this.room.networks.set(network.id, record);
  }

  private async drop(id: string): Promise<void> {
    const record = this.room.networks.get(id);
    if (!record) return;
    // Only while this host was cut off could others believe that nobody is on it, or while the last one was just leaving.
    if (this.room.usedNetworks().has(id))
      throw conflict(`network ${record.network.name} was removed on another host while containers of this one are on it`);
    const { driver } = await this.room.drivers.get('network', record.network.driver);
    await driver.deleteNetwork(id);
    this.room.store.removeNetwork(id);
    this.room.networks.delete(id);
    this.room.names.dropNetwork(id);
  }
}

const parse = <T>(text: string): T => JSON.parse(text) as T;
