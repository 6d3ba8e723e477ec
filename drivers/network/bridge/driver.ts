import { existsSync, readFileSync } from 'node:fs';
import { conflict, EngineError, invalid, messageOf, notFound, notImplemented } from '@gantry/core/contracts/errors.js';
import type { Link, NetStep, NftCommand } from '@gantry/core/contracts/host-net.js';
import type { DriverEnv } from '@gantry/core/contracts/manifest.js';
import type {
  CreateNetwork,
  EndpointInterface,
  JoinInfo,
  NetworkDriver,
  PortBinding,
  PublishedPort,
} from '@gantry/core/contracts/network.js';
import {
  type Elements,
  type FirewallNetwork,
  type FirewallPorts,
  firewallTable,
  listingOf,
  networkElements,
  portElements,
  sameListing,
  setsOf,
} from './firewall.js';
import { Names } from './names.js';
import { type BridgeOptions, parseOptions } from './options.js';
import { type PortReservation, PortReserver } from './ports.js';

interface Endpoint {
  readonly address: string;
  readonly mac: string;
  reservation: PortReservation | undefined;
}

interface BridgeNetwork {
  readonly bridge: string;
  readonly options: BridgeOptions;
  readonly firewall: FirewallNetwork;
  /** With prefix length. */
  readonly gateway: string;
  readonly internal: boolean;
  readonly endpoints: Map<string, Endpoint>;
}

/** How often the kernel's table is compared with ours: somebody may have flushed the rule set. */
const VERIFY_INTERVAL_MS = 15_000;

/**
 * Networks as bridges of the host, endpoints as pairs whose far end is born in the sandbox, and one nftables table for
 * all of them. What is true is in memory, put there by the engine at start from its records; the kernel follows.
 */
export class BridgeDriver implements NetworkDriver {
  readonly scope = 'local';
  private readonly names: Names;
  private readonly reserver: PortReserver;
  private readonly networks = new Map<string, BridgeNetwork>();
  /** Before it the former daemon's table goes on serving what lives. */
  private settled = false;
  /** Changes of the firewall, one after the other: the kernel must see them in the order of the records. */
  private changes: Promise<unknown> = Promise.resolve();
  /** What goes on after its caller was answered. */
  private readonly background = new Set<Promise<void>>();
  private timer: NodeJS.Timeout | undefined;

  constructor(private readonly env: DriverEnv) {
    this.names = new Names(env.instance);
    this.reserver = new PortReserver(env.host.net, env.log);
  }

  async createNetwork(networkId: string, config: CreateNetwork): Promise<void> {
    const options = parseOptions(config.options);
    if (config.ipv6.length > 0) throw notImplemented('IPv6 on bridge networks');
    const [ipv4, ...more] = config.ipv4;
    if (!ipv4) throw notImplemented('bridge networks without IPv4');
    if (more.length > 0) throw invalid('a bridge network has one IPv4 subnet');
    if (!ipv4.gateway) throw invalid('a bridge network needs a gateway address');
    const bridge = options.bridgeName || this.names.bridge(networkId);
    for (const [otherId, other] of this.networks)
      if (otherId !== networkId && other.bridge === bridge) throw conflict(`bridge ${bridge} belongs to network ${otherId}`);
    const network: BridgeNetwork = {
      bridge,
      options,
      gateway: ipv4.gateway,
      internal: config.internal,
      firewall: { bridge, subnet: ipv4.pool, internal: config.internal, icc: options.icc, masquerade: options.masquerade },
      endpoints: this.networks.get(networkId)?.endpoints ?? new Map<string, Endpoint>(),
    };
    const before = this.networks.get(networkId);
    const made = await this.makeBridge(networkId, network);
    // Packets are filtered before the first container can send any.
    this.networks.set(networkId, network);
    try {
      await this.change(before ? networkElements(before.firewall) : {}, networkElements(network.firewall));
    } catch (error) {
      if (before) this.networks.set(networkId, before);
      else this.networks.delete(networkId);
      if (made) await this.env.host.net.configure('', [{ op: 'delete-link', name: bridge }]);
      throw error;
    }
  }

  async deleteNetwork(networkId: string): Promise<void> {
    const network = this.networks.get(networkId);
    // By what is written on it: the network may be one of a former run, under a name of the user's.
    const alias = this.names.alias(networkId);
    for (const link of await this.env.host.net.links(''))
      if (link.alias === alias) await this.env.host.net.configure('', [{ op: 'delete-link', name: link.name }]);
    if (!network) return;
    this.networks.delete(networkId);
    for (const endpoint of network.endpoints.values()) endpoint.reservation?.release();
    await this.change(networkElements(network.firewall), {});
  }

  async createEndpoint(
    networkId: string,
    endpointId: string,
    iface: EndpointInterface,
    _options: Readonly<Record<string, string>>,
  ): Promise<EndpointInterface> {
    const network = this.network(networkId);
    if (iface.addressV6) throw notImplemented('IPv6 on bridge networks');
    if (!iface.address) throw invalid('an endpoint of a bridge network needs an IPv4 address');
    const address = withoutPrefix(iface.address);
    const known = network.endpoints.get(endpointId);
    const mac = iface.mac || known?.mac || macFor(address);
    network.endpoints.set(endpointId, { address, mac, reservation: known?.reservation });
    return { mac };
  }

  async deleteEndpoint(networkId: string, endpointId: string): Promise<void> {
    await this.unpublish(networkId, endpointId);
    this.networks.get(networkId)?.endpoints.delete(endpointId);
    this.deleteLink(this.names.veth(endpointId));
  }

  async join(networkId: string, endpointId: string, sandboxPath: string): Promise<JoinInfo> {
    const network = this.network(networkId);
    const endpoint = this.endpoint(network, endpointId);
    const mtu = network.options.mtu;
    const srcName = this.names.peer(endpointId);
    await this.env.host.net.configure('', [
      {
        op: 'add-veth',
        name: this.names.veth(endpointId),
        alias: this.names.alias(endpointId),
        master: network.bridge,
        up: true,
        ...(mtu > 0 && { mtu }),
        // Without communication between containers the ports see the bridge itself and nobody else. No firewall of the
        // IP layer sees frames between two ports of a bridge.
        ...(!network.options.icc && { isolated: true }),
        peer: { name: srcName, mac: endpoint.mac, namespace: sandboxPath, ...(mtu > 0 && { mtu }) },
      },
    ]);
    return {
      link: { srcName, dstPrefix: network.options.interfacePrefix, inSandbox: true },
      ...(!network.internal && { gateway: withoutPrefix(network.gateway) }),
      routes: [],
    };
  }

  async leave(_networkId: string, endpointId: string): Promise<void> {
    this.deleteLink(this.names.veth(endpointId));
  }

  async publish(networkId: string, endpointId: string, ports: readonly PortBinding[]): Promise<PublishedPort[]> {
    const network = this.network(networkId);
    const endpoint = this.endpoint(network, endpointId);
    const before = endpoint.reservation;
    // Ports of an internal network would never be reached.
    const wanted = network.internal ? [] : ports;
    // The old ones first: the new list may hold the same.
    before?.release();
    endpoint.reservation = undefined;
    let reservation: PortReservation;
    try {
      reservation = this.reserver.reserve(wanted, network.options.hostBinding, !this.settled);
    } catch (error) {
      if (before) await this.change(portElements({ address: endpoint.address, ports: before.ports }), {});
      throw error;
    }
    endpoint.reservation = reservation;
    try {
      await this.change(
        before ? portElements({ address: endpoint.address, ports: before.ports }) : {},
        portElements({ address: endpoint.address, ports: reservation.ports }),
      );
    } catch (error) {
      endpoint.reservation = undefined;
      reservation.release();
      throw error;
    }
    // Where frames of a bridge pass the IP layer's hooks (br_netfilter), a container that calls its own published port is
    // answered on the bridge already, by the port that the frame came from.
    if (this.settled && reservation.ports.length > 0)
      await this.env.host.net.configure('', [{ op: 'set-link', name: this.names.veth(endpointId), hairpin: true }]);
    // A sender that tried before has a tracked flow to nowhere, and would keep it by trying.
    if (this.settled)
      for (const port of reservation.ports)
        if (port.protocol === 'udp') await this.env.host.net.flushFlows({ protocol: 'udp', originalPort: port.hostPort });
    return [...reservation.ports];
  }

  async unpublish(networkId: string, endpointId: string): Promise<void> {
    const endpoint = this.networks.get(networkId)?.endpoints.get(endpointId);
    const reservation = endpoint?.reservation;
    if (!endpoint || !reservation) return;
    endpoint.reservation = undefined;
    // A transaction that takes elements away makes the kernel wait some 10 ms; nobody's answer should. Changes keep their
    // order, so whoever publishes the same port next is not hurt.
    reservation.release();
    this.inBackground('taking away published ports', async () => {
      await this.change(portElements({ address: endpoint.address, ports: reservation.ports }), {});
      if (reservation.ports.some(({ protocol }) => protocol === 'udp'))
        await this.env.host.net.flushFlows({ protocol: 'udp', replySource: endpoint.address });
    });
  }

  async settle(): Promise<void> {
    const known = new Set([...this.networks].flatMap(([id, network]) => [id, ...network.endpoints.keys()]));
    const links = await this.env.host.net.links('');
    for (const link of links) {
      const id = this.names.idOf(link.alias);
      if (id === undefined || known.has(id)) continue;
      this.env.log.info('taking away a link that a former run left', { link: link.name });
      await this.env.host.net.configure('', [{ op: 'delete-link', name: link.name }]);
    }
    this.settled = true;
    if (this.networks.size > 0) await this.replaceTable();
    else await this.env.host.net.nft('', [{ op: 'delete-table', table: this.names.table }]);
    this.timer = setInterval(() => void this.verify(), VERIFY_INTERVAL_MS);
    this.timer.unref();
  }

  /** Whether the kernel has exactly what follows from the records; makes it so when not. */
  async verify(): Promise<boolean> {
    if (this.networks.size === 0) return true;
    try {
      return await this.inTurn(async () => {
        const listing = await this.env.host.net.nftTable('', this.names.table);
        const table = this.table();
        if (listing && sameListing(listing, listingOf(table))) return true;
        this.env.log.warn('the firewall table was changed by somebody else and is put back', { table: this.names.table });
        await this.env.host.net.nft('', [{ op: 'replace-table', table }]);
        return false;
      });
    } catch (error) {
      this.env.log.warn('comparing the firewall table failed', { error: messageOf(error) });
      return false;
    }
  }

  /**
   * Kernel state and published ports stay: containers go on while no daemon runs. Where nobody is left to go on, the bridges and
   * the table are taken away; they come back with the networks.
   */
  async close(): Promise<void> {
    clearInterval(this.timer);
    await Promise.all([...this.background, this.changes.catch(() => undefined)]);
    const networks = [...this.networks.values()];
    for (const { endpoints } of networks)
      for (const endpoint of endpoints.values()) {
        endpoint.reservation?.release();
        endpoint.reservation = undefined;
      }
    if (networks.some(({ endpoints }) => endpoints.size > 0)) return;
    const { net } = this.env.host;
    const present = new Set((await net.links('')).filter(({ alias }) => this.names.idOf(alias) !== undefined).map(({ name }) => name));
    const bridges = networks
      .filter(({ bridge }) => present.has(bridge))
      .map(({ bridge }): NetStep => ({ op: 'delete-link', name: bridge }));
    if (bridges.length > 0) await net.configure('', bridges);
    if (networks.length > 0) await net.nft('', [{ op: 'delete-table', table: this.names.table }]);
    this.networks.clear();
  }

  /** Returns whether the bridge was made just now. */
  private async makeBridge(networkId: string, network: BridgeNetwork): Promise<boolean> {
    const { net } = this.env.host;
    const { bridge } = network;
    const alias = this.names.alias(networkId);
    const links = await net.links('');
    const link = links.find(({ name }) => name === bridge);
    if (link && (link.kind !== 'bridge' || link.alias !== alias))
      throw conflict(`link ${bridge} exists and does not belong to this network`);
    const stale = links.filter((other) => other.alias === alias && other.name !== bridge).map(({ name }) => name);
    const steps: NetStep[] = stale.map((name): NetStep => ({ op: 'delete-link', name }));
    if (!link) steps.push({ op: 'add-bridge', name: bridge, alias, mac: this.names.bridgeMac(networkId) });
    steps.push(...this.bridgeSteps(network, link));
    try {
      await net.configure('', steps);
    } catch (error) {
      if (!link && (error as NodeJS.ErrnoException).code !== 'EEXIST') await net.configure('', [{ op: 'delete-link', name: bridge }]);
      throw new EngineError('system', `cannot make bridge ${bridge}: ${messageOf(error)}`, { cause: error });
    }
    return !link;
  }

  private bridgeSteps({ bridge, gateway, options, internal }: BridgeNetwork, link: Link | undefined): NetStep[] {
    const steps: NetStep[] = [];
    // Before it is up: no link-local address, no listening to routers.
    if (existsSync('/proc/sys/net/ipv6')) steps.push({ op: 'sysctl', key: `ipv6/conf/${bridge}/disable_ipv6`, value: '1' });
    // For connections of this host to 127.0.0.1 that the firewall turns to a container.
    if (!internal) steps.push({ op: 'sysctl', key: `ipv4/conf/${bridge}/route_localnet`, value: '1' });
    for (const address of link?.addresses ?? [])
      if (!address.includes(':') && address !== gateway) steps.push({ op: 'delete-address', link: bridge, address });
    steps.push({ op: 'set-link', name: bridge, up: true, ...(options.mtu > 0 && { mtu: options.mtu }) });
    steps.push({ op: 'add-address', link: bridge, address: gateway });
    if (!internal && this.env.options['ip-forward'] !== 'false' && readFileSync('/proc/sys/net/ipv4/ip_forward', 'utf8').trim() === '0')
      steps.push({ op: 'sysctl', key: 'ipv4/ip_forward', value: '1' });
    return steps;
  }

  /**
   * Ends a pair without waiting: the kernel takes some 15 ms to let go of a link, which nobody's answer should wait for.
   * Its name is never used again, and what a crash leaves is found by its alias.
   */
  private deleteLink(name: string): void {
    this.inBackground(`taking away link ${name}`, () => this.env.host.net.configure('', [{ op: 'delete-link', name }]));
  }

  /** What fails here is found again: links by their alias when the daemon starts, rules by the next {@link verify}. */
  private inBackground(what: string, work: () => Promise<void>): void {
    const running: Promise<void> = work()
      .catch((error: unknown) => this.env.log.warn(`${what} failed`, { error: messageOf(error) }))
      .finally(() => this.background.delete(running));
    this.background.add(running);
  }

  private async change(remove: Elements, add: Elements): Promise<void> {
    if (!this.settled) return;
    await this.inTurn(async () => {
      const commands: NftCommand[] = [
        ...setsOf(remove).map((set): NftCommand => ({ op: 'delete-elements', table: this.names.table, set })),
        ...setsOf(add).map((set): NftCommand => ({ op: 'add-elements', table: this.names.table, set })),
      ];
      if (commands.length === 0) return;
      try {
        await this.env.host.net.nft('', commands);
      } catch {
        // No table yet, or one that somebody changed. The records say how all of it must be.
        await this.env.host.net.nft('', [{ op: 'replace-table', table: this.table() }]);
      }
    });
  }

  private async replaceTable(): Promise<void> {
    await this.inTurn(() => this.env.host.net.nft('', [{ op: 'replace-table', table: this.table() }]));
  }

  private table(): ReturnType<typeof firewallTable> {
    const networks = [...this.networks.values()];
    const ports = networks.flatMap(({ endpoints }) =>
      [...endpoints.values()].flatMap(({ address, reservation }): FirewallPorts[] =>
        reservation ? [{ address, ports: reservation.ports }] : [],
      ),
    );
    return firewallTable(
      this.names.table,
      networks.map(({ firewall }) => firewall),
      ports,
    );
  }

  private async inTurn<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.changes.then(work, work);
    this.changes = mine.catch(() => undefined);
    return mine;
  }

  private network(id: string): BridgeNetwork {
    const network = this.networks.get(id);
    if (!network) throw notFound('network', id);
    return network;
  }

  private endpoint(network: BridgeNetwork, id: string): Endpoint {
    const endpoint = network.endpoints.get(id);
    if (!endpoint) throw notFound('endpoint', id);
    return endpoint;
  }
}

const withoutPrefix = (address: string): string => address.split('/')[0] ?? '';

/** Follows from the address: whoever gets the address next has the same one, so no neighbour's cache is wrong. */
const macFor = (address: string): string =>
  `02:42:${address
    .split('.')
    .map((part) => Number(part).toString(16).padStart(2, '0'))
    .join(':')}`;
