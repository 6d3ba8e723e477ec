import { randomInt } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { connect, isIPv6 } from 'node:net';
import { questionEnd } from './dns-answers.js';

const TIMEOUT_MS = 4_000;
const UPSTREAMS = 3;
/** Questions under way for all sandboxes together; each has a socket of its own. */
const CONCURRENT = 1_024;
const PORT = 53;
const SERVER_FAILURE = 2;

/**
 * Hands questions on to the servers of the host, from the host's network, and brings back what they say, bytes as they
 * are but for the number. Each question has its own socket, so its own port, which a forger would have to guess as well.
 */
export class DnsForwarder {
  private running = 0;

  constructor(private readonly port: number = PORT) {}

  /** Undefined when no server answered in time or too many questions are under way. */
  async ask(query: Buffer, servers: readonly string[], transport: 'udp' | 'tcp', signal: AbortSignal): Promise<Buffer | undefined> {
    if (this.running >= CONCURRENT) return undefined;
    this.running++;
    try {
      let last: Buffer | undefined;
      for (const server of servers.slice(0, UPSTREAMS)) {
        if (signal.aborted) return undefined;
        const answer = await this.askOne(query, server, transport, signal);
        if (answer && (answer.readUInt8(3) & 0x0f) !== SERVER_FAILURE) return answer;
        last = answer ?? last;
      }
      return last;
    } finally {
      this.running--;
    }
  }

  private async askOne(query: Buffer, server: string, transport: 'udp' | 'tcp', signal: AbortSignal): Promise<Buffer | undefined> {
    const sent = Buffer.from(query);
    sent.writeUInt16BE(randomInt(0x10000), 0);
    const within = AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]);
    const answer = await (transport === 'udp' ? this.byUdp(sent, server, within) : this.byTcp(sent, server, within));
    if (!answer) return undefined;
    answer.writeUInt16BE(query.readUInt16BE(0), 0);
    return answer;
  }

  private byUdp(query: Buffer, server: string, signal: AbortSignal): Promise<Buffer | undefined> {
    const { promise, resolve } = Promise.withResolvers<Buffer | undefined>();
    const socket = createSocket(isIPv6(server) ? 'udp6' : 'udp4');
    const stop = (): void => resolve(undefined);
    signal.addEventListener('abort', stop, { once: true });
    socket.on('error', stop);
    // A forged or late answer to something else does not end the wait.
    socket.on('message', (message) => {
      if (answers(query, message)) resolve(message);
    });
    // Connected: the kernel lets through only what comes from this server.
    socket.connect(this.port, server, () => socket.send(query, (error) => error && stop()));
    return promise.finally(() => {
      signal.removeEventListener('abort', stop);
      socket.close();
    });
  }

  private byTcp(query: Buffer, server: string, signal: AbortSignal): Promise<Buffer | undefined> {
    const { promise, resolve } = Promise.withResolvers<Buffer | undefined>();
    const socket = connect({ host: server, port: this.port });
    const stop = (): void => resolve(undefined);
    signal.addEventListener('abort', stop, { once: true });
    socket.on('error', stop).on('close', stop);
    socket.write(withLength(query));
    let received: Buffer = Buffer.alloc(0);
    socket.on('data', (chunk: Buffer) => {
      received = Buffer.concat([received, chunk]);
      if (received.length < 2) return;
      const end = 2 + received.readUInt16BE(0);
      if (received.length < end) return;
      const message = Buffer.from(received.subarray(2, end));
      resolve(answers(query, message) ? message : undefined);
    });
    return promise.finally(() => {
      signal.removeEventListener('abort', stop);
      socket.destroy();
    });
  }
}

/** Two bytes of length before the message, as DNS over TCP has it. */
export function withLength(message: Buffer): Buffer {
  const length = Buffer.alloc(2);
  length.writeUInt16BE(message.length, 0);
  return Buffer.concat([length, message]);
}

/** Whether `message` is an answer with the number and the question of `query`. */
function answers(query: Buffer, message: Buffer): boolean {
  if (message.length < 12 || (message.readUInt8(2) & 0x80) === 0 || message.readUInt16BE(0) !== query.readUInt16BE(0)) return false;
  const end = questionEnd(query);
  if (end === undefined || questionEnd(message) !== end) return false;
  const text = (bytes: Buffer): string => bytes.subarray(12, end).toString('latin1').toLowerCase();
  return text(query) === text(message);
}
