import { conflict, invalid, messageOf, notFound } from '@gantry/core/contracts/errors.js';
import type { NftFamily, NftTable } from '@gantry/core/contracts/host-net.js';
import type { DriverEnv } from '@gantry/core/contracts/manifest.js';
import type {
  CreateNetwork,
  EndpointInterface,
  IpamData,
  JoinInfo,
  NetworkDriver,
  PortBinding,
  PublishedPort,
} from '@gantry/core/contracts/network.js';
import { readFileSync } from 'node:fs';
import { isIPv6 } from 'node:net';
import { join } from 'node:path';
import { BridgeLinks } from './bridge-links.js';
import { type BridgeNetwork, type Endpoint, networkChange, portChange, portsIn } from './bridge-network.js';
import { type FirewallNetwork, firewallTable } from './firewall.js';
import { type Change, FirewallKeeper } from './firewall-keeper.js';
import { endpointMac, Names } from './names.js';
import { type GatewayMode, parseOptions } from './options.js';
import { PortProxy } from './port-proxy.js';
import { type PortReservation, PortReserver, type Reach } from './ports.js';

/**
 * Networks as bridges of the host, endpoints as pairs whose far end is born in the sandbox, and one nftables table for
 * all of them in each family. What is true is in memory, put there by the engine at start from its records; the kernel follows.
 */
export class BridgeDriver implements NetworkDriver {
  readonly scope = 'local';
  private readonly names: Names;
  private readonly links: BridgeLinks;
  private readonly reserver: PortReserver;
  private readonly proxy: PortProxy;
  private readonly firewall: FirewallKeeper;
  private readonly networks = new Map<string, BridgeNetwork>();
  /** Before it the former daemon's tables go on serving what lives. */
  private settled = false;
  /** What goes on after its caller was answered. */
  private readonly background = new Set<Promise<void>>();

  constructor(private readonly env: DriverEnv) {
    this.names = new Names(env.instance);
    this.links = new BridgeLinks(env, this.names);
    this.proxy = new PortProxy(env.host.process, env.host.net, env.log, join(env.runRoot, 'proxy.sock'));
    this.reserver = new PortReserver(env.host.net, env.log, this.proxy);
    this.firewall = new FirewallKeeper(env.host.net, env.log, this.names.table, (family) => this.table(family));
  }

  async createNetwork(networkId: string, config: CreateNetwork): Promise<void> {
    const before = this.networks.get(networkId);
    const network = this.plan(networkId, config, before?.endpoints ?? new Map<string, Endpoint>());
    const made = await this.links.make(networkId, network);
    // Packets are filtered before the first container can send any.
    this.networks.set(networkId, network);
    try {
      await this.change(networkChange(before, network));
    } catch (error) {
      if (before) this.networks.set(networkId, before);
      else this.networks.delete(networkId);
      if (made) await this.env.host.net.configure('', [{ op: 'delete-link', name: network.bridge }]);
      throw error;
    }
  }

  /** Before {@link settle}, so that no table is changed for it. */
  async createNetworks(configs: ReadonlyMap<string, CreateNetwork>): Promise<ReadonlyMap<string, unknown>> {
    const failures = new Map<string, unknown>();
    const planned = new Map<string, BridgeNetwork>();
    for (const [id, config] of configs) {
      try {
        const network = this.plan(id, config, this.networks.get(id)?.endpoints ?? new Map<string, Endpoint>());
        this.networks.set(id, network);
        planned.set(id, network);
      } catch (error) {
        failures.set(id, error);
      }
    }
    for (const [id, error] of await this.links.makeAll(planned)) {
      this.networks.delete(id);
      failures.set(id, error);
    }
    return failures;
  }

  async deleteNetwork(networkId: string): Promise<void> {
    const network = this.networks.get(networkId);
    await this.links.remove(networkId);
    if (!network) return;
    this.networks.delete(networkId);
    for (const { reservation } of network.endpoints.values()) if (reservation) await this.giveBack(reservation);
    await this.change(networkChange(network, undefined));
  }

  async createEndpoint(
    networkId: string,
    endpointId: string,
    iface: EndpointInterface,
    _options: Readonly<Record<string, string>>,
  ): Promise<EndpointInterface> {
    const network = this.network(networkId);
    const address = withoutPrefix(iface.address ?? '');
    const addressV6 = withoutPrefix(iface.addressV6 ?? '');
    if (address === '' && addressV6 === '') throw invalid('an endpoint of a bridge network needs an address');
    const known = network.endpoints.get(endpointId);
    const mac = iface.mac || known?.mac || endpointMac(address, endpointId);
    network.endpoints.set(endpointId, { address, addressV6, mac, reservation: known?.reservation });
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
      ...(network.gateway !== undefined && endpoint.address !== '' && { gateway: network.gateway }),
      ...(network.gatewayV6 !== undefined && endpoint.addressV6 !== '' && { gatewayV6: network.gatewayV6 }),
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
    endpoint.reservation = undefined;
    let reservation: PortReservation | undefined;
    try {
      // The old ones first: the new list may hold the same. Connections through those that stay go on.
      const shared = before?.sharedWith(ports);
      if (before) await this.giveBack(before, shared);
      reservation = this.reserve(network, endpoint, ports, !this.settled);
      for (const id of shared ?? []) if (!reservation.proxied.includes(id)) this.proxy.drop(id);
      endpoint.reservation = reservation;
      await Promise.all([
        this.changePorts(network, endpoint, before, reservation),
        this.settled && (before || reservation.proxied.length > 0) ? this.proxy.settled() : undefined,
      ]);
    } catch (error) {
      if (reservation) await this.giveBack(reservation).catch(() => undefined);
      endpoint.reservation = undefined;
      await this.takeBack(network, endpoint, before, error);
      throw error;
    }
    await this.afterPublishing(endpointId, reservation);
    return [...reservation.ports];
  }

  async unpublish(networkId: string, endpointId: string): Promise<void> {
    const network = this.networks.get(networkId);
    const endpoint = network?.endpoints.get(endpointId);
    const reservation = endpoint?.reservation;
    if (!network || !endpoint || !reservation) return;
    endpoint.reservation = undefined;
    // A transaction that takes elements away makes the kernel wait some 10 ms; nobody's answer should. Changes keep their
    // order, so whoever publishes the same port next is not hurt.
    await this.giveBack(reservation);
    this.inBackground('taking away published ports', async () => {
      await this.changePorts(network, endpoint, reservation, undefined);
      if (!reservation.ports.some(({ protocol }) => protocol === 'udp')) return;
      for (const replySource of [endpoint.address, endpoint.addressV6])
        if (replySource) await this.env.host.net.flushFlows({ v6: isIPv6(replySource), protocol: 'udp', replySource });
    });
  }

  async settle(): Promise<void> {
    const known = new Set([...this.networks].flatMap(([id, network]) => [id, ...network.endpoints.keys()]));
    await this.links.sweep(known);
    this.settled = true;
    await Promise.all([this.firewall.start(), this.proxy.adopt()]);
  }

  /** Whether the kernel has exactly what follows from the records; makes it so when not. */
  async verify(): Promise<boolean> {
    return this.firewall.verify();
  }

  /**
   * Kernel state and published ports stay: containers go on while no daemon runs. Where nobody is left to go on, the bridges and
   * the tables are taken away; they come back with the networks.
   */
  async close(): Promise<void> {
    await Promise.all(this.background);
    await this.firewall.stop();
    const networks = [...this.networks.values()];
    for (const { endpoints } of networks)
      for (const endpoint of endpoints.values()) {
        endpoint.reservation?.letGo();
        endpoint.reservation = undefined;
      }
    await this.proxy.close();
    if (networks.length === 0 || networks.some(({ endpoints }) => endpoints.size > 0)) return;
    await this.links.removeBridges(networks.map(({ bridge }) => bridge));
    await this.firewall.remove();
    this.networks.clear();
  }

  /** Judges the network's configuration; nothing is made. */
  private plan(networkId: string, config: CreateNetwork, endpoints: Map<string, Endpoint>): BridgeNetwork {
    const { internal, ipv4, ipv6 } = config;
    const options = parseOptions(config.options);
    if (ipv4.length > 1 || ipv6.length > 1) throw invalid('a bridge network has one subnet of each IP version');
    const [v4, v6] = [ipv4[0], ipv6[0]];
    if (!v4 && !v6) throw invalid('a bridge network needs a subnet');
    const modes = [...(v4 ? [options.gatewayMode] : []), ...(v6 ? [options.gatewayModeV6] : [])];
    if (!internal && modes.includes('isolated')) throw invalid("gateway mode 'isolated' can only be used for an internal network");
    const bridge = options.bridgeName || this.names.bridge(networkId);
    for (const [otherId, other] of this.networks)
      if (otherId !== networkId && other.bridge === bridge) throw conflict(`bridge ${bridge} belongs to network ${otherId}`);
    const part = (data: IpamData | undefined, mode: GatewayMode, sourceAddress: string): FirewallNetwork | undefined =>
      data && {
        bridge,
        subnet: data.pool,
        internal,
        icc: options.icc,
        masquerade: options.masquerade,
        sourceAddress,
        mode,
        trusted: options.trustedInterfaces,
      };
    const ip = part(v4, options.gatewayMode, options.sourceAddress);
    const ip6 = part(v6, options.gatewayModeV6, options.sourceAddressV6);
    return {
      bridge,
      options,
      firewall: { ...(ip && { ip }), ...(ip6 && { ip6 }) },
      gateways: [
        ...(v4 && !options.inhibitIpv4 ? ownAddress(v4, options.gatewayMode) : []),
        ...(v6 ? ownAddress(v6, options.gatewayModeV6) : []),
      ],
      gateway: internal || !v4?.gateway ? undefined : withoutPrefix(v4.gateway),
      gatewayV6: internal || !v6?.gateway ? undefined : withoutPrefix(v6.gateway),
      internal,
      endpoints,
    };
  }

  /** What was published before a failed change is published again; where a port went to somebody else meanwhile, none is. */
  private async takeBack(network: BridgeNetwork, endpoint: Endpoint, before: PortReservation | undefined, cause: unknown): Promise<void> {
    if (!before) return;
    try {
      endpoint.reservation = this.reserve(network, endpoint, before.ports, false);
      await this.proxy.settled();
    } catch (error) {
      this.env.log.error('published ports were lost when others could not be published', {
        error: messageOf(error),
        because: messageOf(cause),
      });
      await this.giveBack(before).catch(() => undefined);
      await this.changePorts(network, endpoint, before, undefined);
    }
  }

  private reserve(
    { internal, options }: BridgeNetwork,
    { address, addressV6 }: Endpoint,
    ports: readonly PortBinding[],
    tolerant: boolean,
  ): PortReservation {
    return this.reserver.reserve({
      // Ports of an internal network would never be reached.
      bindings: internal ? [] : ports,
      defaultHostIp: options.hostBinding,
      v4: reachOf(address, options.gatewayMode),
      v6: reachOf(addressV6, options.gatewayModeV6),
      address,
      addressV6,
      proxy: this.env.options['userland-proxy'] !== 'false' && hostHasIPv6(),
      tolerant,
    });
  }

  /** Resolves when the ports are free for whoever wants them next. */
  private async giveBack(reservation: PortReservation, keep?: ReadonlySet<string>): Promise<void> {
    reservation.release(keep);
    if (reservation.proxied.length > 0) await this.proxy.settled();
  }

  private async afterPublishing(endpointId: string, { ports }: PortReservation): Promise<void> {
    if (!this.settled || ports.length === 0) return;
    const { net } = this.env.host;
    // Where frames of a bridge pass the IP layer's hooks (br_netfilter), a container that calls its own published port is
    // answered on the bridge already, by the port that the frame came from.
    await net.configure('', [{ op: 'set-link', name: this.names.veth(endpointId), hairpin: true }]);
    // A sender that tried before has a tracked flow to nowhere, and would keep it by trying.
    for (const { protocol, hostIp, hostPort } of ports)
      if (protocol === 'udp' && hostPort !== 0) await net.flushFlows({ v6: isIPv6(hostIp), protocol: 'udp', originalPort: hostPort });
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

  private async change(change: Change): Promise<void> {
    if (this.settled) await this.firewall.change(change);
  }

  private async changePorts(
    network: BridgeNetwork,
    endpoint: Endpoint,
    before: PortReservation | undefined,
    after: PortReservation | undefined,
  ): Promise<void> {
    const change = portChange(network, endpoint, before, after);
    // A container without IPv6 has ports there by the proxy, which is nothing to a host without networks of IPv6.
    if (change.ip6 && ![...this.networks.values()].some(({ firewall }) => firewall.ip6)) delete change.ip6;
    await this.change(change);
  }

  private table(family: NftFamily): NftTable | undefined {
    const networks = [...this.networks.values()].filter(({ firewall }) => firewall[family]);
    if (networks.length === 0) return undefined;
    const ports = networks.flatMap((network) =>
      [...network.endpoints.values()].flatMap((endpoint) =>
        endpoint.reservation ? [portsIn(family, network, endpoint, endpoint.reservation)] : [],
      ),
    );
    return firewallTable(
      family,
      this.names.table,
      networks.flatMap(({ firewall }) => firewall[family] ?? []),
      ports,
    );
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

/** Whether any link of the host has an address of it, be it only ::1. */
function hostHasIPv6(): boolean {
  try {
    return readFileSync('/proc/net/if_inet6', 'utf8') !== '';
  } catch {
    return false;
  }
}

const withoutPrefix = (address: string): string => address.split('/')[0] ?? '';

/** A bridge of which the host is no part has no address of its own. */
const ownAddress = ({ gateway }: IpamData, mode: GatewayMode): string[] => (gateway && mode !== 'isolated' ? [gateway] : []);

const reachOf = (address: string, mode: GatewayMode): Reach => (address === '' ? false : mode === 'routed' ? 'routed' : 'translated');
