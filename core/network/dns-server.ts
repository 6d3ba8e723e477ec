import { createSocket, type RemoteInfo, type Socket as UdpSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { messageOf } from '../contracts/errors.js';
import type { HostNet, NftRule, NftTable, SocketProtocol } from '../contracts/host-net.js';
import type { Logger } from '../contracts/manifest.js';
import { failure, judge, type NameView, Rcode } from './dns-answers.js';
import { type DnsForwarder, withLength } from './dns-forwarder.js';
import { EMBEDDED_SERVER } from './name-files.js';

/** Questions of one sandbox that wait for outside servers; more are dropped, as a busy server does. */
const WAITING = 128;
const CONNECTIONS = 32;
const IDLE_MS = 10_000;
const TABLE = 'gantry-dns';
const PORT = 53;

export interface DnsServerOptions {
  /** The sandbox's namespace. */
  readonly namespace: string;
  readonly view: NameView;
  /** Whom to ask for everything else, now; empty when the sandbox must not reach outside. */
  upstreams(): readonly string[];
}

/**
 * The name server of one sandbox at 127.0.0.11. Its sockets are in the sandbox, so nobody outside reaches it, and
 * have ports of the kernel's choice: a name server that runs in the container may bind port 53 of every address. Packets
 * to port 53 of 127.0.0.11 alone are turned to them.
 */
export class DnsServer {
  private readonly closing = new AbortController();
  private readonly connections = new Set<Socket>();
  private waiting = 0;

  private constructor(
    private readonly options: DnsServerOptions,
    private readonly forwarder: DnsForwarder,
    private readonly udp: UdpSocket,
    private readonly tcp: Server,
    private readonly log: Logger,
  ) {}

  static async open(net: HostNet, forwarder: DnsForwarder, options: DnsServerOptions, log: Logger): Promise<DnsServer> {
    const { namespace } = options;
    const udpSocket = await net.openSocket(namespace, 'udp', EMBEDDED_SERVER, 0);
    const udp = createSocket('udp4');
    // With a descriptor it listens before the call returns.
    const listening = once(udp, 'listening');
    udp.bind({ fd: udpSocket.fd });
    const tcp = createServer();
    try {
      await listening;
      const tcpSocket = await net.openSocket(namespace, 'tcp', EMBEDDED_SERVER, 0);
      tcp.listen({ fd: tcpSocket.fd });
      await once(tcp, 'listening');
      await redirect(net, namespace, redirection(udpSocket.port, tcpSocket.port));
    } catch (error) {
      udp.close();
      tcp.close();
      throw error;
    }
    const server = new DnsServer(options, forwarder, udp, tcp, log);
    server.listen();
    return server;
  }

  async close(): Promise<void> {
    if (this.closing.signal.aborted) return;
    this.closing.abort();
    for (const connection of this.connections) connection.destroy();
    this.udp.close();
    this.tcp.close();
  }

  private listen(): void {
    const failed = (error: Error): void => this.log.warn('the embedded name server failed', { error: error.message });
    this.udp.on('error', failed).on('message', (message, from) => this.onDatagram(message, from));
    this.tcp.on('error', failed).on('connection', (connection) => this.onConnection(connection));
    this.tcp.maxConnections = CONNECTIONS;
    // Neither keeps a daemon alive that wants to end.
    this.udp.unref();
    this.tcp.unref();
  }

  private onDatagram(message: Buffer, from: RemoteInfo): void {
    this.handle(message, 'udp', (answer) => {
      if (!this.closing.signal.aborted) this.udp.send(answer, from.port, from.address, () => undefined);
    });
  }

  private onConnection(connection: Socket): void {
    this.connections.add(connection);
    connection.setTimeout(IDLE_MS, () => connection.destroy());
    connection.on('close', () => this.connections.delete(connection)).on('error', () => connection.destroy());
    let received: Buffer = Buffer.alloc(0);
    connection.on('data', (chunk: Buffer) => {
      received = Buffer.concat([received, chunk]);
      while (received.length >= 2 && received.length >= 2 + received.readUInt16BE(0)) {
        const end = 2 + received.readUInt16BE(0);
        this.handle(Buffer.from(received.subarray(2, end)), 'tcp', (answer) => connection.writable && connection.write(withLength(answer)));
        received = received.subarray(end);
      }
    });
  }

  private handle(message: Buffer, transport: SocketProtocol, reply: (answer: Buffer) => void): void {
    try {
      const verdict = judge(message, this.options.view, transport);
      if (verdict.kind === 'answer') reply(verdict.bytes);
      if (verdict.kind === 'forward') this.forward(message, transport, reply).catch(() => undefined);
    } catch (error) {
      this.log.warn('a name query failed', { error: messageOf(error) });
    }
  }

  private async forward(message: Buffer, transport: SocketProtocol, reply: (answer: Buffer) => void): Promise<void> {
    const servers = this.options.upstreams();
    if (servers.length === 0) return reply(failure(message, Rcode.serverFailure));
    if (this.waiting >= WAITING) return;
    this.waiting++;
    try {
      const answer = await this.forwarder.ask(message, servers, transport, this.closing.signal);
      reply(answer ?? failure(message, Rcode.serverFailure));
    } finally {
      this.waiting--;
    }
  }
}

async function redirect(net: HostNet, namespace: string, table: NftTable): Promise<void> {
  try {
    await net.nft(namespace, [{ op: 'add-table', table }]);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    // The former daemon's, which points to its own ports.
    await net.nft(namespace, [{ op: 'replace-table', table }]);
  }
}

/** The parts of a rule that turn port 53 of the server's address to `port` on the way to it. */
const turn = (protocol: SocketProtocol, port: number): NftRule => ({
  comment: `to the embedded name server, ${protocol}`,
  expressions: [
    { type: 'match', field: 'daddr', value: EMBEDDED_SERVER },
    { type: 'match', field: 'protocol', value: protocol },
    { type: 'match', field: 'dport', value: PORT },
    { type: 'set-port', field: 'dport', port, value: protocol },
  ],
});

const turnBack = (protocol: SocketProtocol, port: number): NftRule => ({
  comment: `from the embedded name server, ${protocol}`,
  expressions: [
    { type: 'match', field: 'saddr', value: EMBEDDED_SERVER },
    { type: 'match', field: 'protocol', value: protocol },
    { type: 'match', field: 'sport', value: port },
    { type: 'set-port', field: 'sport', port: PORT, value: protocol },
  ],
});

/**
 * Ports are written into the packets in both directions. Address translation would do the same, but it brings connection
 * tracking into the sandbox, which costs 10 ms when it starts and something for every packet that the container sends.
 */
function redirection(udpPort: number, tcpPort: number): NftTable {
  const rules = [turn('udp', udpPort), turn('tcp', tcpPort), turnBack('udp', udpPort), turnBack('tcp', tcpPort)];
  return { name: TABLE, sets: [], chains: [{ name: 'output', base: { type: 'filter', hook: 'output', priority: -150 }, rules }] };
}
