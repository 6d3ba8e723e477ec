import { readFileSync } from 'node:fs';
import { isIP, isIPv6, SocketAddress } from 'node:net';
import { conflict, EngineError, invalid, messageOf, notImplemented } from '@gantry/core/contracts/errors.js';
import type { HostNet } from '@gantry/core/contracts/host-net.js';
import type { Logger } from '@gantry/core/contracts/manifest.js';
import type { PortBinding, PublishedPort } from '@gantry/core/contracts/network.js';
import { isEverywhere } from './firewall.js';
import { type PortProxy, type ProxiedPort, proxyId } from './port-proxy.js';

type Protocol = PortBinding['protocol'];

const EVERYWHERE = '0.0.0.0';
const EVERYWHERE_V6 = '::';
const LOOPBACK_V6 = '::1';
const EPHEMERAL_ATTEMPTS = 64;

/** Gives one port back. */
type Release = () => void;

/** A port that is held by a socket of ours, or is the proxy's under an id. */
interface Hold {
  readonly release?: Release;
  readonly proxied?: string;
}

/** Host ports held for one endpoint, each by an open socket, of the daemon or of the proxy. */
export class PortReservation {
  constructor(
    readonly ports: readonly PublishedPort[],
    private readonly holds: readonly Release[],
    /** Ids of those that the proxy serves. */
    readonly proxied: readonly string[],
    private readonly proxy: PortProxy,
  ) {}

  /** Those of the proxy are free when it has {@link PortProxy.settled settled}. `keep`: ids of some that it goes on with. */
  release(keep: ReadonlySet<string> = new Set()): void {
    this.letGo();
    for (const id of this.proxied) if (!keep.has(id)) this.proxy.drop(id);
  }

  /** Closes what the daemon holds itself; the proxy goes on. */
  letGo(): void {
    for (const release of this.holds) release();
  }

  /** The proxied ones that a new list of bindings has, too. */
  sharedWith(bindings: readonly PortBinding[]): Set<string> {
    const asked = new Set(bindings.map(({ protocol, hostPort, containerPort }) => `${protocol} ${hostPort} ${containerPort}`));
    return new Set(
      this.proxied.filter((id) => {
        const [protocol, , hostPort, , containerPort] = id.split('/');
        return asked.has(`${protocol} ${hostPort} ${containerPort}`);
      }),
    );
  }
}

/** How an endpoint can be published in one family; `false` where it has no address. */
export type Reach = 'translated' | 'routed' | false;

/** An address of the host at which a port is published. */
interface Place {
  readonly hostIp: string;
  /** Where the proxy leads to what the kernel does not; '' where the kernel does all. */
  readonly proxiedTo: string;
}

/** What is asked for, and what the endpoint's network has. */
export interface PortRequest {
  readonly bindings: readonly PortBinding[];
  /** Where bindings without an address go: '' or the address of all for every family. */
  readonly defaultHostIp: string;
  readonly v4: Reach;
  readonly v6: Reach;
  /** The endpoint's, '' for none. */
  readonly address: string;
  readonly addressV6: string;
  /** Whether there is a proxy for what the kernel cannot do. */
  readonly proxy: boolean;
  /** A port that is taken is left unreserved and still returned: its container is live, and the packets are diverted before any socket sees them. */
  readonly tolerant: boolean;
}

/**
 * Takes host ports by binding a socket to each: the kernel then refuses them to every other process, as it refuses us
 * those that are taken, by another daemon, a server of the host or a container of ours.
 */
export class PortReserver {
  /** Ephemeral ports are given out in turn, so that one which was just freed rests. */
  private cursor = 0;
  /** Ports that no socket can hold, because the kernel has none of their protocol. */
  private readonly unheld = new Set<{ readonly protocol: Protocol; readonly hostIp: string; readonly port: number }>();

  constructor(
    private readonly net: HostNet,
    private readonly log: Logger,
    private readonly proxy: PortProxy,
  ) {}

  /** All or none. What the proxy is to serve is noted there; {@link PortProxy.settled} brings it in force. */
  reserve(request: PortRequest): PortReservation {
    const ports: PublishedPort[] = [];
    const held: Hold[] = [];
    try {
      for (const binding of request.bindings) {
        const { protocol, containerPort } = binding;
        const { routed, places } = placesOf(binding, request);
        for (const hostIp of routed) ports.push({ protocol, containerPort, hostIp, hostPort: 0 });
        if (places.length === 0) continue;
        const taken = this.take(places, binding, request.tolerant);
        held.push(...taken.holds);
        for (const { hostIp } of places) ports.push({ protocol, containerPort, hostIp, hostPort: taken.port });
      }
    } catch (error) {
      this.giveBack(held);
      throw error;
    }
    const holds = held.flatMap(({ release }) => release ?? []);
    const proxied = held.flatMap(({ proxied: id }) => id ?? []);
    return new PortReservation(ports, holds, proxied, this.proxy);
  }

  private giveBack(held: readonly Hold[]): void {
    for (const { release, proxied } of held) {
      release?.();
      if (proxied !== undefined) this.proxy.drop(proxied);
    }
  }

  /** One port that is free on every one of the addresses. */
  private take(places: readonly Place[], binding: PortBinding, tolerant: boolean): { holds: readonly Hold[]; port: number } {
    const { protocol } = binding;
    const hostIp = places[0]?.hostIp;
    const first = binding.hostPort ?? 0;
    if (first === 0) return this.takeEphemeral(places, binding);
    const last = binding.hostPortEnd || first;
    if (first > 65535 || last > 65535 || last < first) throw invalid(`invalid host port range ${first}-${last}`);
    for (let port = first; port <= last; port++) {
      const holds = this.bindAll(places, binding, port, tolerant);
      if (holds) return { holds, port };
    }
    if (tolerant) {
      this.log.warn('a published port of a running container was taken by another process', { protocol, hostIp, port: first });
      return { holds: [], port: first };
    }
    if (last === first) throw conflict(`Bind for ${hostIp}:${first} failed: port is already allocated`);
    throw conflict(`Bind for ${hostIp}:${first}-${last} failed: port is already allocated`);
  }

  private takeEphemeral(places: readonly Place[], binding: PortBinding): { holds: readonly Hold[]; port: number } {
    const [low, high] = ephemeralRange();
    if (this.cursor < low || this.cursor > high) this.cursor = low + Math.floor(Math.random() * (high - low + 1));
    for (let attempt = 0; attempt < EPHEMERAL_ATTEMPTS; attempt++) {
      this.cursor = this.cursor >= high ? low : this.cursor + 1;
      const holds = this.bindAll(places, binding, this.cursor, false);
      if (holds) return { holds, port: this.cursor };
    }
    throw conflict(`Bind for ${places[0]?.hostIp}:0 failed: port is already allocated`);
  }

  /** Undefined when the port is taken on one of the addresses. */
  private bindAll(places: readonly Place[], binding: PortBinding, port: number, tolerant: boolean): Hold[] | undefined {
    const holds: Hold[] = [];
    let whole = false;
    try {
      for (const place of places) {
        const hold = place.proxiedTo ? this.bindForProxy(place, binding, port, tolerant) : this.bind(binding.protocol, place.hostIp, port);
        if (!hold) return undefined;
        holds.push(hold);
      }
      whole = true;
      return holds;
    } finally {
      if (!whole) this.giveBack(holds);
    }
  }

  /** Likewise; a port that the proxy has from a former daemon, or from the endpoint's former list, is not taken. */
  private bindForProxy({ hostIp, proxiedTo }: Place, binding: PortBinding, port: number, tolerant: boolean): Hold | undefined {
    const { protocol, containerPort } = binding;
    if (protocol === 'sctp') throw notImplemented('publishing SCTP through the proxy');
    const proxied: ProxiedPort = { protocol, hostIp, hostPort: port, address: proxiedTo, containerPort };
    const id = proxyId(proxied);
    if (tolerant || this.proxy.serves(id)) {
      this.proxy.put(proxied);
      return { proxied: id };
    }
    const fd = this.open(protocol, hostIp, port);
    if (fd === undefined) return undefined;
    this.proxy.put(proxied, fd);
    return { proxied: id };
  }

  /** Undefined when the port is taken. */
  private bind(protocol: Protocol, hostIp: string, port: number): Hold | undefined {
    try {
      const fd = this.open(protocol, hostIp, port);
      return fd === undefined ? undefined : { release: () => this.net.closeSocket(fd) };
    } catch (error) {
      const code = ((error as Error).cause as NodeJS.ErrnoException | undefined)?.code;
      if (protocol === 'sctp' && (code === 'EPROTONOSUPPORT' || code === 'ESOCKTNOSUPPORT')) return this.note(protocol, hostIp, port);
      throw error;
    }
  }

  /** A bound socket; undefined when the port is taken. */
  private open(protocol: Protocol, hostIp: string, port: number): number | undefined {
    try {
      return this.net.reservePort(protocol, hostIp, port).fd;
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code;
      if (code === 'EADDRINUSE') return undefined;
      if (code === 'EADDRNOTAVAIL') throw invalid(`cannot bind ${hostIp}:${port}: cannot assign requested address`, error);
      if (code === 'EINVALID') throw invalid(`invalid host address: ${hostIp.slice(0, 64)}`, error);
      throw new EngineError('system', `cannot bind ${hostIp}:${port}: ${messageOf(error)}`, { cause: error });
    }
  }

  /** Holds a port by our own books: containers are then the only ones who can want it. */
  private note(protocol: Protocol, hostIp: string, port: number): Hold | undefined {
    for (const other of this.unheld) {
      const meet =
        other.hostIp === hostIp || (isIPv6(other.hostIp) === isIPv6(hostIp) && (isEverywhere(other.hostIp) || isEverywhere(hostIp)));
      if (other.protocol === protocol && other.port === port && meet) return undefined;
    }
    const entry = { protocol, hostIp, port };
    this.unheld.add(entry);
    return { release: () => this.unheld.delete(entry) };
  }
}

/**
 * The host's addresses that a binding is for, and the families in which it is reached at the container's own address instead.
 * Without an address it is for all, in each family that the endpoint has, or that leads to it through the proxy.
 */
function placesOf(binding: PortBinding, request: PortRequest): { places: Place[]; routed: string[] } {
  const { v4, v6 } = request;
  const given = binding.hostIp || request.defaultHostIp;
  if (given !== '' && isIP(given) === 0) throw invalid(`invalid host address: ${given.slice(0, 64)}`);
  const places: Place[] = [];
  const routed: string[] = [];
  if (!binding.hostIp && (given === '' || given === EVERYWHERE)) {
    if (v4 === 'routed') routed.push(EVERYWHERE);
    if (v4 === 'translated') places.push({ hostIp: EVERYWHERE, proxiedTo: '' });
    if (v6 === 'routed') routed.push(EVERYWHERE_V6);
    const six = v6 === 'routed' ? undefined : placeV6(EVERYWHERE_V6, binding, request);
    if (six) places.push(six);
    return { places, routed };
  }
  if (isIPv6(given)) {
    // The kernel's own notation, in which its listings are compared.
    const hostIp = new SocketAddress({ address: given, family: 'ipv6' }).address;
    if (v6 === 'routed') return { places, routed: [EVERYWHERE_V6] };
    const place = placeV6(hostIp, binding, request);
    if (place) return { places: [place], routed };
    if (v6) throw conflict(`cannot publish on ${given}: it takes the userland proxy, which is off or cannot do ${binding.protocol}`);
    throw invalid(`cannot publish on ${given}: the container has no IPv6 address`);
  }
  if (!v4) throw invalid(`cannot publish on ${given}: the container has no IPv4 address`);
  if (v4 === 'routed') return { places, routed: [EVERYWHERE] };
  return { places: [{ hostIp: given, proxiedTo: '' }], routed };
}

/**
 * An IPv6 address of the host. The kernel delivers no answer for ::1 that comes from another link, lets no packet from a link-local
 * address through, and translates none between the families: these are the proxy's. Undefined where the address leads nowhere.
 */
function placeV6(hostIp: string, { protocol }: PortBinding, { v4, v6, address, addressV6, proxy }: PortRequest): Place | undefined {
  const proxied = proxy && protocol !== 'sctp';
  if (v6) {
    if (hostIp === LOOPBACK_V6) return proxied ? { hostIp, proxiedTo: addressV6 } : undefined;
    return { hostIp, proxiedTo: proxied && hostIp === EVERYWHERE_V6 ? addressV6 : '' };
  }
  return proxied && v4 === 'translated' ? { hostIp, proxiedTo: address } : undefined;
}

/** What the kernel gives to outgoing connections; Docker publishes from the same range. */
function ephemeralRange(): [number, number] {
  const [low, high] = readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8').trim().split(/\s+/).map(Number);
  return [low || 32768, high || 60999];
}
