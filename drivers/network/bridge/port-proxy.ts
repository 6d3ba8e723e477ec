import { EngineError, messageOf } from '@gantry/core/contracts/errors.js';
import type { HostNet } from '@gantry/core/contracts/host-net.js';
import type { Companion, HostProcess } from '@gantry/core/contracts/host-process.js';
import type { Logger } from '@gantry/core/contracts/manifest.js';

const VERSION = '1';
/** The kernel passes 253 descriptors at once. */
const SOCKETS_AT_ONCE = 200;
const ATTEMPTS = 3;
const FIRST_PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 5_000;

/** A port that packets cannot be turned to: somebody must take the connection and make another. */
export interface ProxiedPort {
  readonly protocol: 'tcp' | 'udp';
  /** IPv6, as the kernel writes it. */
  readonly hostIp: string;
  readonly hostPort: number;
  /** Of the container, of either family. */
  readonly address: string;
  readonly containerPort: number;
}

/** All that there is to say of one, in a word. */
export const proxyId = ({ protocol, hostIp, hostPort, address, containerPort }: ProxiedPort): string =>
  `${protocol}/${hostIp}/${hostPort}/${address}/${containerPort}`;

/**
 * The daemon's side of gantry-proxy: one process for all ports that need one. It is started with the first, goes on without the
 * daemon and is found again by the next one, and ends with the last. It alone has the sockets, so a port stays taken while no daemon
 * runs. What it must serve is kept here: where it dies, another is started.
 *
 * Changes are noted at once, and in force when {@link settled} resolves.
 */
export class PortProxy {
  private readonly wanted = new Map<string, ProxiedPort>();
  /** Bound sockets that were not handed over yet. */
  private readonly sockets = new Map<string, number>();
  private readonly served = new Set<string>();
  private readonly program: Companion;
  private turn: Promise<void> = Promise.resolve();
  private pause = FIRST_PAUSE_MS;
  private retry: NodeJS.Timeout | undefined;
  private closed = false;

  constructor(
    processes: HostProcess,
    private readonly net: HostNet,
    private readonly log: Logger,
    socket: string,
  ) {
    const ended = (): void => {
      this.served.clear();
      if (this.wanted.size === 0) return;
      this.log.warn('the proxy of published ports ended and is started again', { socket });
      this.again();
    };
    this.program = processes.companion({ program: 'gantry-proxy', socket, version: VERSION, ended });
  }

  /** Whether its socket is held already, by a process of this or of a former daemon. */
  serves(id: string): boolean {
    return this.served.has(id);
  }

  /** `fd`: its bound socket, which is ours from now on. Without one it is opened when it is not {@link serves served}. */
  put(port: ProxiedPort, fd?: number): void {
    const id = proxyId(port);
    this.wanted.set(id, port);
    if (fd !== undefined) this.sockets.set(id, fd);
  }

  drop(id: string): void {
    this.wanted.delete(id);
    const fd = this.sockets.get(id);
    if (fd === undefined) return;
    this.sockets.delete(id);
    this.net.closeSocket(fd);
  }

  /** Resolves when what was noted is in force: what is dropped is free for others. */
  async settled(): Promise<void> {
    const mine = this.turn.then(() => this.apply());
    this.turn = mine.catch(() => undefined);
    return mine;
  }

  /** At the daemon's start, after every port was put again: finds the process of the former daemon. */
  async adopt(): Promise<void> {
    try {
      await this.find();
      await this.settled();
    } catch (error) {
      this.log.error('published ports that need the proxy are not served', { error: messageOf(error) });
      this.again();
    }
  }

  /** The daemon ends; the process goes on where ports are left. */
  async close(): Promise<void> {
    this.closed = true;
    clearTimeout(this.retry);
    await this.turn;
    this.program.disconnect();
  }

  private async apply(): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      try {
        await this.tell();
        this.pause = FIRST_PAUSE_MS;
        return;
      } catch (error) {
        this.program.disconnect();
        this.served.clear();
        if (attempt < ATTEMPTS) continue;
        throw new EngineError('unavailable', `the proxy of published ports does not answer: ${messageOf(error)}`, { cause: error });
      }
    }
  }

  private async tell(): Promise<void> {
    if (!this.program.connected) {
      if (this.wanted.size === 0) return;
      if (!(await this.find())) await this.program.start();
    }
    if (this.wanted.size === 0) {
      await this.program.quit();
      this.served.clear();
      return;
    }
    // First: a new one may have the place of an old one.
    const gone = [...this.served].filter((id) => !this.wanted.has(id));
    if (gone.length > 0) await this.program.ask(gone.map((id) => `no-port ${id}`));
    for (const id of gone) this.served.delete(id);
    const missing = [...this.wanted].filter(([id]) => !this.served.has(id));
    for (let at = 0; at < missing.length; at += SOCKETS_AT_ONCE) await this.handOver(missing.slice(at, at + SOCKETS_AT_ONCE));
  }

  private async handOver(ports: readonly (readonly [string, ProxiedPort])[]): Promise<void> {
    const lines: string[] = [];
    const descriptors: number[] = [];
    const handed: string[] = [];
    for (const [id, port] of ports) {
      const fd = this.sockets.get(id) ?? this.open(port);
      if (fd === undefined) continue;
      this.sockets.set(id, fd);
      lines.push(`port ${id} ${port.protocol} ${port.address} ${port.containerPort}`);
      descriptors.push(fd);
      handed.push(id);
    }
    if (lines.length === 0) return;
    await this.program.ask(lines, descriptors);
    for (const [index, id] of handed.entries()) {
      this.served.add(id);
      if (this.sockets.get(id) !== descriptors[index]) continue;
      this.sockets.delete(id);
      this.net.closeSocket(descriptors[index] as number);
    }
  }

  /** Undefined where somebody took the place meanwhile: the other ports go on. */
  private open({ protocol, hostIp, hostPort }: ProxiedPort): number | undefined {
    try {
      return this.net.reservePort(protocol, hostIp, hostPort).fd;
    } catch (error) {
      this.log.error('a published port of a running container was taken by another process', {
        protocol,
        hostIp,
        port: hostPort,
        error: messageOf(error),
      });
      return undefined;
    }
  }

  private async find(): Promise<boolean> {
    const ids = await this.program.find();
    this.served.clear();
    for (const id of ids ?? []) this.served.add(id);
    return ids !== undefined;
  }

  /** Tries later, with a longer pause each time that it fails. */
  private again(): void {
    if (this.closed) return;
    clearTimeout(this.retry);
    this.retry = setTimeout(() => {
      this.settled().catch((error: unknown) => {
        this.log.error('published ports that need the proxy are not served', { error: messageOf(error) });
        this.again();
      });
    }, this.pause);
    this.retry.unref();
    this.pause = Math.min(this.pause * 2, LONGEST_PAUSE_MS);
  }
}
