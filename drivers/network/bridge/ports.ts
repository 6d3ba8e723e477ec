import { readFileSync } from 'node:fs';
import { conflict, EngineError, invalid, messageOf, notImplemented } from '@gantry/core/contracts/errors.js';
import type { HostNet } from '@gantry/core/contracts/host-net.js';
import type { Logger } from '@gantry/core/contracts/manifest.js';
import type { PortBinding, PublishedPort } from '@gantry/core/contracts/network.js';

const EVERYWHERE = '0.0.0.0';
const EPHEMERAL_ATTEMPTS = 64;

/** Host ports held for one endpoint, each by an open socket. */
export class PortReservation {
  constructor(
    private readonly net: HostNet,
    readonly ports: readonly PublishedPort[],
    private readonly descriptors: readonly number[],
  ) {}

  release(): void {
    for (const fd of this.descriptors) this.net.closeSocket(fd);
  }
}

/**
 * Takes host ports by binding a socket to each: the kernel then refuses them to every other process, as it refuses us
 * those that are taken, by another daemon, a server of the host or a container of ours.
 */
export class PortReserver {
  /** Ephemeral ports are given out in turn, so that one which was just freed rests. */
  private cursor = 0;

  constructor(
    private readonly net: HostNet,
    private readonly log: Logger,
  ) {}

  /**
   * All or none. `tolerant`: a port that is taken is left unreserved and still returned: its container is live, and the
   * packets are diverted before any socket sees them.
   */
  reserve(bindings: readonly PortBinding[], defaultHostIp: string, tolerant: boolean): PortReservation {
    const ports: PublishedPort[] = [];
    const descriptors: number[] = [];
    try {
      for (const binding of bindings) {
        if (binding.protocol === 'sctp') throw notImplemented('publishing sctp ports');
        const hostIp = binding.hostIp || defaultHostIp || EVERYWHERE;
        if (hostIp.includes(':')) throw notImplemented('publishing ports on IPv6 addresses');
        const taken = this.take(binding.protocol, hostIp, binding, tolerant);
        if (taken.fd >= 0) descriptors.push(taken.fd);
        ports.push({ protocol: binding.protocol, containerPort: binding.containerPort, hostIp, hostPort: taken.port });
      }
    } catch (error) {
      for (const fd of descriptors) this.net.closeSocket(fd);
      throw error;
    }
    return new PortReservation(this.net, ports, descriptors);
  }

  private take(protocol: 'tcp' | 'udp', hostIp: string, binding: PortBinding, tolerant: boolean): { fd: number; port: number } {
    const first = binding.hostPort ?? 0;
    if (first === 0) return this.takeEphemeral(protocol, hostIp);
    const last = binding.hostPortEnd || first;
    if (first > 65535 || last > 65535 || last < first) throw invalid(`invalid host port range ${first}-${last}`);
    for (let port = first; port <= last; port++) {
      const fd = this.bind(protocol, hostIp, port);
      if (fd !== undefined) return { fd, port };
    }
    if (tolerant) {
      this.log.warn('a published port of a running container was taken by another process', { protocol, hostIp, port: first });
      return { fd: -1, port: first };
    }
    if (last === first) throw conflict(`Bind for ${hostIp}:${first} failed: port is already allocated`);
    throw conflict(`Bind for ${hostIp}:${first}-${last} failed: port is already allocated`);
  }

  private takeEphemeral(protocol: 'tcp' | 'udp', hostIp: string): { fd: number; port: number } {
    const [low, high] = ephemeralRange();
    if (this.cursor < low || this.cursor > high) this.cursor = low + Math.floor(Math.random() * (high - low + 1));
    for (let attempt = 0; attempt < EPHEMERAL_ATTEMPTS; attempt++) {
      this.cursor = this.cursor >= high ? low : this.cursor + 1;
      const fd = this.bind(protocol, hostIp, this.cursor);
      if (fd !== undefined) return { fd, port: this.cursor };
    }
    throw conflict(`Bind for ${hostIp}:0 failed: port is already allocated`);
  }

  /** Undefined when the port is taken. */
  private bind(protocol: 'tcp' | 'udp', hostIp: string, port: number): number | undefined {
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
}

/** What the kernel gives to outgoing connections; Docker publishes from the same range. */
function ephemeralRange(): [number, number] {
  const [low, high] = readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8').trim().split(/\s+/).map(Number);
  return [low || 32768, high || 60999];
}
