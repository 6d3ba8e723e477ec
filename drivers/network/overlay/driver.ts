import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { ClusterChange, ClusterStore } from '@gantry/core/contracts/cluster.js';
import { EngineError, invalid, messageOf, notFound, unavailable } from '@gantry/core/contracts/errors.js';
import type { DriverEnv } from '@gantry/core/contracts/manifest.js';
import type {
  CreateNetwork,
  EndpointInterface,
  GlobalAllocation,
  JoinInfo,
  NetworkDriver,
  PublishedPort,
} from '@gantry/core/contracts/network.js';
import { Encryption, type EncryptionTimes, usualTimes } from './encryption.js';
import { innerMtu } from './mtu.js';
import { type OverlayOptions, type OverlaySettings, parseOptions, VNI_OPTION } from './options.js';
import { ENDPOINTS, endpointKey, type RemoteChange, Remotes } from './remotes.js';
import { Segment } from './segment.js';
import { VniAllocator } from './vni.js';

interface Endpoint {
  readonly mac: string;
  /** Without prefix lengths. */
  readonly addresses: readonly string[];
  joined: boolean;
}

interface OverlayNetwork {
  options: OverlayOptions;
  v6: boolean;
  readonly endpoints: Map<string, Endpoint>;
  /** Present while an endpoint of this host is on the network. */
  segment: Segment | undefined;
}

/**
 * Networks over several hosts. Each engine announces its own endpoints in the cluster's store and programs those of the others into
 * the kernel; a network is in the kernel of the hosts that have an endpoint on it, and nowhere else.
 */
export class OverlayDriver implements NetworkDriver, GlobalAllocation {
  readonly scope = 'global';
  private readonly networks = new Map<string, OverlayNetwork>();
  private readonly remotes: Remotes;
  private readonly vnis: VniAllocator;
  private readonly encryption: Encryption;
  /** Work on a network's segment, one piece after the other. */
  private readonly turns = new Map<string, Promise<unknown>>();
  private settled = false;
  private stop = (): void => undefined;

  constructor(
    private readonly env: DriverEnv,
    private readonly store: ClusterStore,
    private readonly settings: OverlaySettings,
    times: EncryptionTimes = usualTimes(settings.rotationSeconds * 1000),
  ) {
    this.remotes = new Remotes(store.address);
    this.vnis = new VniAllocator(store);
    this.encryption = new Encryption(env, store, settings.securePort, times);
  }

  start(): void {
    this.stop = this.store.observe(ENDPOINTS, (changes) => this.onChanges(changes));
  }

  async allocateNetwork(networkId: string, config: CreateNetwork): Promise<Readonly<Record<string, string>>> {
    const { vni, encrypted } = parseOptions(config.options);
    if (encrypted) await this.encryption.check();
    return { ...config.options, [VNI_OPTION]: String(await this.vnis.allocate(networkId, vni)) };
  }

  async freeNetwork(networkId: string): Promise<void> {
    await this.vnis.free(networkId);
  }

  async auditNetworks(known: ReadonlySet<string>): Promise<void> {
    await this.vnis.audit(known);
  }

  /** The kernel hears of it when the first endpoint joins. */
  async createNetwork(networkId: string, config: CreateNetwork): Promise<void> {
    const options = parseOptions(config.options);
    if (options.vni === 0) throw invalid('an overlay network needs a VNI');
    const v6 = config.ipv6.length > 0;
    if (v6 && !existsSync('/proc/sys/net/ipv6')) throw unavailable('this kernel has no IPv6');
    const known = this.networks.get(networkId);
    // The same object: a join that is under way goes on with it.
    if (known) Object.assign(known, { options, v6 });
    else this.networks.set(networkId, { options, v6, endpoints: new Map<string, Endpoint>(), segment: undefined });
  }

  async deleteNetwork(networkId: string): Promise<void> {
    await this.inTurn(networkId, async () => {
      await this.segmentAt(networkId).down();
      this.networks.delete(networkId);
    });
  }

  async createEndpoint(networkId: string, endpointId: string, iface: EndpointInterface): Promise<EndpointInterface> {
    const network = this.network(networkId);
    const addresses = [iface.address, iface.addressV6].flatMap((address) => (address ? [bare(address)] : []));
    if (addresses.length === 0) throw invalid('an endpoint of an overlay network needs an address');
    const mac = iface.mac || network.endpoints.get(endpointId)?.mac || macFor(addresses[0] ?? '');
    const endpoint = { mac, addresses, joined: network.endpoints.get(endpointId)?.joined ?? false };
    network.endpoints.set(endpointId, endpoint);
    if (!this.settled) {
      // It lives, and its link is where a former life put it.
      endpoint.joined = true;
      this.store.announceAgain(keyOf(networkId, endpoint), this.announcementOf(endpoint));
    }
    return { mac };
  }

  async deleteEndpoint(networkId: string, endpointId: string): Promise<void> {
    await this.leave(networkId, endpointId);
    this.networks.get(networkId)?.endpoints.delete(endpointId);
  }

  async join(networkId: string, endpointId: string, sandboxPath: string): Promise<JoinInfo> {
    const network = this.network(networkId);
    const endpoint = network.endpoints.get(endpointId);
    if (!endpoint) throw notFound('endpoint', endpointId);
    const srcName = `gq${this.hash(endpointId)}`;
    await this.inTurn(networkId, async () => {
      endpoint.joined = true;
      try {
        network.segment ??= await this.raise(networkId, network);
        await network.segment.attach(this.pairName(endpointId), { name: srcName, mac: endpoint.mac, namespace: sandboxPath });
        await this.store.announce(keyOf(networkId, endpoint), this.announcementOf(endpoint));
      } catch (error) {
        await this.takeOut(networkId, endpointId);
        throw error;
      }
    });
    return { link: { srcName, dstPrefix: 'eth', inSandbox: true }, routes: [] };
  }

  async leave(networkId: string, endpointId: string): Promise<void> {
    await this.inTurn(networkId, () => this.takeOut(networkId, endpointId));
  }

  /** Ports are published where the sandbox's way out is. */
  async publish(): Promise<PublishedPort[]> {
    return [];
  }

  async unpublish(): Promise<void> {}

  async settle(): Promise<void> {
    this.settled = true;
    if (this.encrypts()) await this.encryption.resume();
    else if ((await this.env.host.net.encryption('', 0, this.settings.securePort)).policies.length > 0) await this.encryption.deactivate();
    const kept = new Set<string>();
    for (const [id, network] of this.networks) {
      if (!isUsed(network)) continue;
      kept.add(fileOf(id));
      await this.inTurn(id, async () => {
        network.segment = this.segmentAt(id, network, await this.mtuOf(network.options));
        // Who is where may have changed meanwhile; until the store tells, the former state serves.
        void this.store.whenKnown().then(() => this.resync(id));
      });
    }
    for (const file of await readdir(this.env.runRoot)) {
      if (kept.has(file)) continue;
      this.env.log.info('taking away what a former run left of an overlay network', { network: file });
      await this.segmentAt(file).down();
    }
  }

  /** Containers go on, and stay announced for a while. */
  async close(): Promise<void> {
    this.stop();
    await this.encryption.close();
    await Promise.allSettled(this.turns.values());
  }

  /** The last one takes the network out of this host's kernel. */
  private async takeOut(networkId: string, endpointId: string): Promise<void> {
    const network = this.networks.get(networkId);
    const endpoint = network?.endpoints.get(endpointId);
    // Once: its address may be another endpoint's by the time that it is taken out again.
    if (endpoint?.joined) this.store.withdraw(keyOf(networkId, endpoint));
    if (endpoint) endpoint.joined = false;
    const segment = network?.segment ?? this.segmentAt(networkId);
    if (network && isUsed(network)) return segment.detach(this.pairName(endpointId));
    await segment.down();
    if (!network) return;
    network.segment = undefined;
    if (network.options.encrypted && !this.encrypts()) await this.encryption.deactivate();
  }

  /** Whether an encrypted network is in this host's kernel, or on its way there. */
  private encrypts(): boolean {
    return [...this.networks.values()].some((network) => network.options.encrypted && isUsed(network));
  }

  private async raise(networkId: string, network: OverlayNetwork): Promise<Segment> {
    // First: no packet of the network may be sent before it would be encrypted.
    if (network.options.encrypted) await this.encryption.activate();
    const segment = this.segmentAt(networkId, network, await this.mtuOf(network.options));
    await segment.up();
    await segment.put(this.remotes.in(networkId));
    return segment;
  }

  private onChanges(changes: readonly ClusterChange[]): void {
    for (const change of this.remotes.take(changes)) {
      this.inTurn(change.networkId, () => this.program(change)).catch(async (error: unknown) => {
        this.env.log.warn('endpoints of other hosts were not taken in, and all are compared', { error: messageOf(error) });
        await this.resync(change.networkId);
      });
    }
  }

  private async program({ networkId, put, drop }: RemoteChange): Promise<void> {
    const segment = this.networks.get(networkId)?.segment;
    if (!segment) return;
    await segment.drop(drop);
    await segment.put(put);
  }

  /** Brings the kernel's entries into line with what is known, from whatever they are. */
  private async resync(networkId: string): Promise<void> {
    try {
      await this.inTurn(networkId, async () => {
        const network = this.networks.get(networkId);
        if (!network?.segment) return;
        const pairs = [...network.endpoints].filter(([, { joined }]) => joined).map(([id]) => this.pairName(id));
        await network.segment.sync(this.remotes.in(networkId), new Set(pairs));
      });
    } catch (error) {
      this.env.log.error('the endpoints of an overlay network could not be compared', { network: networkId, error: messageOf(error) });
    }
  }

  /** What fits into a packet on the link that has this host's address. */
  private async mtuOf({ mtu, encrypted }: OverlayOptions): Promise<number> {
    if (mtu > 0) return mtu;
    const link = (await this.env.host.net.links('')).find(({ addresses }) => addresses.some((text) => bare(text) === this.store.address));
    if (!link) throw new EngineError('system', `no interface of this host has the advertised address ${this.store.address}`);
    return innerMtu(link.mtu, this.store.address.includes(':'), encrypted);
  }

  /** Without options only to take it away. */
  private segmentAt(networkId: string, network?: OverlayNetwork, mtu = 0): Segment {
    const port = network?.options.encrypted ? this.settings.securePort : this.settings.port;
    const config = { vni: network?.options.vni ?? 0, port, local: this.store.address, mtu, v6: network?.v6 ?? false };
    return new Segment(this.env.host.net, join(this.env.runRoot, fileOf(networkId)), config);
  }

  private announcementOf({ mac, addresses }: Endpoint): Readonly<Record<string, unknown>> {
    return { mac, addresses, host: this.store.address };
  }

  private async inTurn<T>(networkId: string, work: () => Promise<T>): Promise<T> {
    const mine = (this.turns.get(networkId) ?? Promise.resolve()).then(work, work);
    const tail = mine.catch(() => undefined).then(() => void (this.turns.get(networkId) === tail && this.turns.delete(networkId)));
    this.turns.set(networkId, tail);
    return mine;
  }

  private network(id: string): OverlayNetwork {
    const network = this.networks.get(id);
    if (!network) throw notFound('network', id);
    return network;
  }

  private pairName(endpointId: string): string {
    return `ov${this.hash(endpointId)}`;
  }

  private hash(id: string): string {
    return createHash('sha256').update(`${this.env.instance}/${id}`).digest('hex').slice(0, 12);
  }
}

const bare = (address: string): string => address.split('/')[0] ?? '';

const keyOf = (networkId: string, { addresses }: Endpoint): string => endpointKey(networkId, addresses[0] ?? '');

const fileOf = (networkId: string): string => networkId.slice(0, 24);

const isUsed = ({ endpoints }: OverlayNetwork): boolean => [...endpoints.values()].some(({ joined }) => joined);

/** Follows from the address: whoever gets the address next has the same one, so no neighbour's cache is wrong. */
function macFor(address: string): string {
  const bytes = address.includes(':')
    ? createHash('sha256').update(address).digest().subarray(0, 4)
    : Buffer.from(address.split('.').map(Number));
  return `02:42:${bytes.toString('hex').match(/../g)?.join(':')}`;
}
