import { EngineError, messageOf } from '../contracts/errors.js';
import type { Host } from '../contracts/host.js';
import type { Companion } from '../contracts/host-process.js';
import type { Logger } from '../contracts/manifest.js';
import { endpointLine, type NamedEndpoint, networkLine, sandboxLine } from './name-records.js';
import { openNameSockets } from './name-redirection.js';
import type { Network } from './networks.js';
import type { Sandbox } from './sandbox.js';

const VERSION = '2';
/** Questions of one sandbox that may wait for servers of its own at once; each keeps a socket in its namespace. */
const UDP_SOURCES = 24;
const TCP_SOURCES = 4;
/** The kernel passes 253 descriptors at once, and two more are the sandbox's own. */
const SANDBOXES_AT_ONCE = Math.floor(253 / (UDP_SOURCES + TCP_SOURCES + 2));
const ATTEMPTS = 3;
const FIRST_PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 5_000;

interface ServedSandbox {
  readonly line: string;
  readonly namespace: string;
  /** It asks servers of its own, which are meant as they are seen from there. */
  readonly ownServers: boolean;
}

/**
 * The daemon's side of gantry-dns, the program that answers at 127.0.0.11 in every sandbox. It is started with the first
 * sandbox that has names, goes on without the daemon, and is found again by the next one. What it must know is kept here: when
 * it dies it is started again and told everything.
 *
 * Changes are noted at once and told in one request as soon as the one before is answered; {@link settled} waits for that.
 */
export class NameServer {
  private readonly networks = new Map<string, string>();
  private readonly endpoints = new Map<string, string>();
  private readonly sandboxes = new Map<string, ServedSandbox>();
  /** Ids of the sandboxes whose sockets it has. */
  private served = new Set<string>();
  private pending: string[] = [];
  private flushing: Promise<void> | undefined;
  private readonly server: Companion;
  private pause = FIRST_PAUSE_MS;
  private retry: NodeJS.Timeout | undefined;
  private closed = false;

  constructor(
    private readonly host: Host,
    private readonly log: Logger,
    program: string,
    /** Of the control socket; its folder is the program's own. */
    socket: string,
  ) {
    const ended = (): void => {
      this.log.warn('the name server ended and is started again', { socket });
      this.lose();
      this.again();
    };
    this.server = host.process.companion({ program, socket, version: VERSION, ended });
  }

  putNetwork(network: Network): void {
    const line = networkLine(network);
    this.networks.set(network.id, line);
    this.note(line);
  }

  dropNetwork(id: string): void {
    if (this.networks.delete(id)) this.note(`no-network ${id}`);
  }

  putEndpoint(endpoint: NamedEndpoint): void {
    const line = endpointLine(endpoint);
    this.endpoints.set(endpoint.endpointId, line);
    this.note(line);
  }

  dropEndpoint(id: string): void {
    if (this.endpoints.delete(id)) this.note(`no-endpoint ${id}`);
  }

  /** Serves the sandbox from now on, or tells what it sees now. */
  putSandbox(sandbox: Sandbox): void {
    const line = sandboxLine(sandbox);
    this.sandboxes.set(sandbox.id, { line, namespace: sandbox.path, ownServers: sandbox.record.dns.servers.length > 0 });
    this.note(line);
  }

  /** After it is {@link settled}, nothing of the program's keeps the namespace alive. */
  dropSandbox(id: string): void {
    if (!this.sandboxes.delete(id)) return;
    this.served.delete(id);
    this.note(`no-sandbox ${id}`);
  }

  serves(id: string): boolean {
    return this.sandboxes.has(id);
  }

  /** Resolves when all that was noted is in force. */
  async settled(): Promise<void> {
    if (this.pending.length === 0 && !this.flushing) return;
    await (this.flushing ??= this.flush());
  }

  /** At the daemon's start, after everything was put again: finds the program that the former daemon left, or starts one where sandboxes wait. */
  async adopt(): Promise<void> {
    if (!(await this.greet()) && this.sandboxes.size === 0) return;
    this.pending.push('all');
    await this.settled();
  }

  /** The daemon ends. The program goes on for the sandboxes that stay; where there is none, it ends too. */
  async close(): Promise<void> {
    this.closed = true;
    clearTimeout(this.retry);
    await this.flushing?.catch(() => undefined);
    if (this.server.connected && this.sandboxes.size === 0) await this.server.quit();
    else this.server.disconnect();
  }

  private note(line: string): void {
    // Until somebody is served there is nobody to tell; the program gets all of it when it starts.
    if (this.server.connected || this.sandboxes.size > 0) this.pending.push(line);
  }

  private async flush(): Promise<void> {
    try {
      for (let attempt = 1; this.pending.length > 0;) {
        try {
          await this.tell();
          this.pause = FIRST_PAUSE_MS;
          attempt = 1;
        } catch (error) {
          this.lose();
          if (attempt++ < ATTEMPTS) continue;
          this.pending.length = 0;
          this.again();
          throw new EngineError('unavailable', `the name server does not answer: ${messageOf(error)}`, { cause: error });
        }
      }
    } finally {
      // In the same step as the last look at what is pending: a note after it starts a new flush.
      this.flushing = undefined;
    }
  }

  /** One request: what is pending, or everything when the program is new or was just found. */
  private async tell(): Promise<void> {
    let whole = this.pending.includes('all');
    if (!this.server.connected && !(await this.greet())) {
      if (this.sandboxes.size === 0) {
        this.pending.length = 0;
        return;
      }
      await this.start();
    }
    whole ||= this.pending.includes('all');
    let lines = this.pending;
    this.pending = [];
    if (whole)
      lines = [
        'all',
        ...this.networks.values(),
        ...this.endpoints.values(),
        ...[...this.sandboxes.values()].map(({ line }) => line),
        'end',
      ];
    const missing = [...this.sandboxes].filter(([id]) => !this.served.has(id));
    for (let at = 0; at === 0 || at < missing.length; at += SANDBOXES_AT_ONCE) {
      await this.send(at === 0 ? lines : [], missing.slice(at, at + SANDBOXES_AT_ONCE));
    }
  }

  private async send(lines: readonly string[], unserved: readonly (readonly [string, ServedSandbox])[]): Promise<void> {
    const request = [...lines];
    const descriptors: number[] = [];
    const handed: string[] = [];
    try {
      for (const [id, { namespace, ownServers }] of unserved) {
        try {
          const { udp, tcp } = await openNameSockets(this.host.net, namespace);
          descriptors.push(udp, tcp);
          request.push(`sockets ${id}`);
          handed.push(id);
          if (!ownServers) continue;
          const sources = [
            ...(await this.host.net.openClientSockets(namespace, 'udp', UDP_SOURCES)),
            ...(await this.host.net.openClientSockets(namespace, 'tcp', TCP_SOURCES)),
          ];
          descriptors.push(...sources);
          request.push(`sources ${id} ${UDP_SOURCES} ${TCP_SOURCES}`);
        } catch (error) {
          // One that is being taken away meanwhile must not keep the others from their names.
          if (this.sandboxes.has(id)) this.log.warn('a sandbox gets no names', { namespace, error: messageOf(error) });
        }
      }
      if (request.length > 0) await this.server.ask(request, descriptors);
      for (const id of handed) if (this.sandboxes.has(id)) this.served.add(id);
    } finally {
      for (const fd of descriptors) this.host.net.closeSocket(fd);
    }
  }

  /** Whether a program was found that runs already. */
  private async greet(): Promise<boolean> {
    const served = await this.server.find();
    if (!served) return false;
    this.served = new Set(served);
    this.pending.unshift('all');
    return true;
  }

  private async start(): Promise<void> {
    await this.server.start();
    this.served = new Set();
    this.pending.push('all');
  }

  private lose(): void {
    this.server.disconnect();
    this.served.clear();
    this.pending.push('all');
  }

  /** Tries later, with a longer pause each time that it fails. */
  private again(): void {
    if (this.closed || this.sandboxes.size === 0) return;
    clearTimeout(this.retry);
    this.retry = setTimeout(() => {
      this.pending.push('all');
      this.settled().catch((error: unknown) => this.log.error('the name server is away', { error: messageOf(error) }));
    }, this.pause);
    this.retry.unref();
    this.pause = Math.min(this.pause * 2, LONGEST_PAUSE_MS);
  }
}
