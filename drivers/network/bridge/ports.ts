import { readFileSync } from 'node:fs';
import { isIP, isIPv6, SocketAddress } from 'node:net';
import { conflict, EngineError, invalid, messageOf, notImplemented } from '@gantry/core/contracts/errors.js';
import type { HostNet } from '@gantry/core/contracts/host-net.js';
import type { Logger } from '@gantry/core/contracts/manifest.js';
import type { PortBinding, PublishedPort } from '@gantry/core/contracts/network.js';
import { isEverywhere } from './firewall.js';

type Protocol = PortBinding['protocol'];

const EVERYWHERE = '0.0.0.0';
const EVERYWHERE_V6 = '::';
const EPHEMERAL_ATTEMPTS = 64;

/** Gives one port back. */
type Release = () => void;

/** Host ports held for one endpoint, each by an open socket. */
export class PortReservation {
  constructor(
    readonly ports: readonly PublishedPort[],
    private readonly holds: readonly Release[],
  ) {}

  release(): void {
    for (const release of this.holds) release();
  }
}

/** How an endpoint can be published in one family; `false` where it has no address. */
export type Reach = 'translated' | 'routed' | false;

/** What is asked for, and what the endpoint's network has. */
export interface PortRequest {
  readonly bindings: readonly PortBinding[];
  /** Where bindings without an address go: '' or the address of all for every family. */
  readonly defaultHostIp: string;
  readonly v4: Reach;
  readonly v6: Reach;
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
  ) {}

  /** All or none. */
  reserve(request: PortRequest): PortReservation {
    const ports: PublishedPort[] = [];
    const holds: Release[] = [];
    try {
      for (const binding of request.bindings) {
        const { protocol, containerPort } = binding;
        const { routed, hostIps } = placesOf(binding, request);
        for (const hostIp of routed) ports.push({ protocol, containerPort, hostIp, hostPort: 0 });
        if (hostIps.length === 0) continue;
        const taken = this.take(protocol, hostIps, binding, request.tolerant);
        holds.push(...taken.holds);
        for (const hostIp of hostIps) ports.push({ protocol, containerPort, hostIp, hostPort: taken.port });
      }
    } catch (error) {
      for (const release of holds) release();
      throw error;
    }
    return new PortReservation(ports, holds);
  }

  /** One port that is free on every one of the addresses. */
  private take(
    protocol: Protocol,
    hostIps: readonly string[],
    binding: PortBinding,
    tolerant: boolean,
  ): { holds: readonly Release[]; port: number } {
    const first = binding.hostPort ?? 0;
    if (first === 0) return this.takeEphemeral(protocol, hostIps);
    const last = binding.hostPortEnd || first;
    if (first > 65535 || last > 65535 || last < first) throw invalid(`invalid host port range ${first}-${last}`);
    for (let port = first; port <= last; port++) {
      const holds = this.bindAll(protocol, hostIps, port);
      if (holds) return { holds, port };
    }
    if (tolerant) {
      this.log.warn('a published port of a running container was taken by another process', { protocol, hostIps, port: first });
      return { holds: [], port: first };
    }
    if (last === first) throw conflict(`Bind for ${hostIps[0]}:${first} failed: port is already allocated`);
    throw conflict(`Bind for ${hostIps[0]}:${first}-${last} failed: port is already allocated`);
  }

  private takeEphemeral(protocol: Protocol, hostIps: readonly string[]): { holds: readonly Release[]; port: number } {
    const [low, high] = ephemeralRange();
    if (this.cursor < low || this.cursor > high) this.cursor = low + Math.floor(Math.random() * (high - low + 1));
    for (let attempt = 0; attempt < EPHEMERAL_ATTEMPTS; attempt++) {
      this.cursor = this.cursor >= high ? low : this.cursor + 1;
      const holds = this.bindAll(protocol, hostIps, this.cursor);
      if (holds) return { holds, port: this.cursor };
    }
    throw conflict(`Bind for ${hostIps[0]}:0 failed: port is already allocated`);
  }

  /** Undefined when the port is taken on one of the addresses. */
  private bindAll(protocol: Protocol, hostIps: readonly string[], port: number): Release[] | undefined {
    const holds: Release[] = [];
    let whole = false;
    try {
      for (const hostIp of hostIps) {
        const hold = this.bind(protocol, hostIp, port);
        if (!hold) return undefined;
        holds.push(hold);
      }
      whole = true;
      return holds;
    } finally {
      if (!whole) for (const release of holds) release();
    }
  }

  /** Undefined when the port is taken. */
  private bind(protocol: Protocol, hostIp: string, port: number): Release | undefined {
    try {
      const { fd } = this.net.reservePort(protocol, hostIp, port);
      return () => this.net.closeSocket(fd);
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code;
      if (code === 'EADDRINUSE') return undefined;
      if (protocol === 'sctp' && (code === 'EPROTONOSUPPORT' || code === 'ESOCKTNOSUPPORT')) return this.note(protocol, hostIp, port);
      if (code === 'EADDRNOTAVAIL') throw invalid(`cannot bind ${hostIp}:${port}: cannot assign requested address`, error);
      if (code === 'EINVALID') throw invalid(`invalid host address: ${hostIp.slice(0, 64)}`, error);
      throw new EngineError('system', `cannot bind ${hostIp}:${port}: ${messageOf(error)}`, { cause: error });
    }
  }

  /** Holds a port by our own books: containers are then the only ones who can want it. */
  private note(protocol: Protocol, hostIp: string, port: number): Release | undefined {
    for (const other of this.unheld) {
      const meet =
        other.hostIp === hostIp || (isIPv6(other.hostIp) === isIPv6(hostIp) && (isEverywhere(other.hostIp) || isEverywhere(hostIp)));
      if (other.protocol === protocol && other.port === port && meet) return undefined;
    }
    const entry = { protocol, hostIp, port };
    this.unheld.add(entry);
    return () => this.unheld.delete(entry);
  }
}

/**
 * The host's addresses that a binding is for, and the families in which it is reached at the container's own address instead.
 * Without an address it is for all, in each family that the endpoint has.
 */
function placesOf(binding: PortBinding, { defaultHostIp, v4, v6 }: PortRequest): { hostIps: string[]; routed: string[] } {
  const given = binding.hostIp || defaultHostIp;
  const everywhere = !binding.hostIp && (given === '' || given === EVERYWHERE);
  if (given !== '' && isIP(given) === 0) throw invalid(`invalid host address: ${given.slice(0, 64)}`);
  const hostIps: string[] = [];
  const routed: string[] = [];
  const place = (reach: Reach, hostIp: string): void => {
    if (reach === 'routed') routed.push(isIPv6(hostIp) ? EVERYWHERE_V6 : EVERYWHERE);
    if (reach === 'translated') hostIps.push(hostIp);
  };
  if (everywhere) {
    place(v4, EVERYWHERE);
    place(v6, EVERYWHERE_V6);
  } else {
    const six = isIPv6(given);
    // The kernel delivers no answer for it that comes from another link.
    if (six && new SocketAddress({ address: given, family: 'ipv6' }).address === '::1')
      throw notImplemented('publishing on the IPv6 loopback ::1');
    if (!(six ? v6 : v4)) throw invalid(`cannot publish on ${given}: the container has no IPv${six ? 6 : 4} address`);
    // The kernel's own notation, in which its listings are compared.
    if (six) place(v6, new SocketAddress({ address: given, family: 'ipv6' }).address);
    else place(v4, given);
  }
  return { hostIps, routed };
}

/** What the kernel gives to outgoing connections; Docker publishes from the same range. */
function ephemeralRange(): [number, number] {
  const [low, high] = readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8').trim().split(/\s+/).map(Number);
  return [low || 32768, high || 60999];
}
