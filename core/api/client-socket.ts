import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ClientStream } from '../container/containers.js';
import { descriptorOf } from './connection.js';
import { limits } from './limits.js';

const STREAM_NUMBER = { stdout: 1, stderr: 2, system: 3 } as const;
/** Below this a copy is cheaper than a second buffer in the write. */
const COPY_LIMIT = 16 * 1024;
/** Input bytes that wait for the container before the client is held up. */
const INPUT_BACKLOG = 64 * 1024;
/** Milliseconds that a client has to close its side after the output ended. */
const LINGER = 5000;

/** One frame of Docker's stream format: stream number, three zero bytes, big-endian length, payload. */
export function frameHead(stream: keyof typeof STREAM_NUMBER, length: number): Buffer {
  const head = Buffer.alloc(8);
  head[0] = STREAM_NUMBER[stream];
  head.writeUInt32BE(length, 4);
  return head;
}

export interface ClientSocketOptions {
  /** False for a terminal, whose bytes go as they are. */
  readonly framed: boolean;
  readonly stdin: boolean;
  /** Bytes that came behind the request's head. */
  readonly early: Buffer;
  /** The connection itself; `socket` may be a stream around it. */
  readonly connection: Socket;
  readonly unsent: ((fd: number) => number) | undefined;
}

/**
 * The client's side of a hijacked connection. Both directions end on their own: the client's half close is the end of `input`,
 * while output goes on until `end`.
 */
export class ClientSocket implements ClientStream {
  readonly input: AsyncIterable<Buffer> | undefined;
  private readonly abort = new AbortController();
  private ready: Promise<void> | undefined;

  /** Call when the answer's head was written. */
  constructor(
    private readonly socket: Duplex,
    private readonly options: ClientSocketOptions,
  ) {
    socket.once('close', () => this.abort.abort());
    if (options.stdin) {
      this.input = inputOf(socket, options.early);
    } else {
      // Read all the same, for else the client's end is never seen.
      socket.resume();
    }
    // A descriptor that is gone by then is no reason to fail: writes find out.
    this.ready = this.headTaken().catch(() => undefined);
  }

  get gone(): AbortSignal {
    return this.abort.signal;
  }

  async write(stream: 'stdout' | 'stderr' | 'system', chunk: Buffer): Promise<void> {
    if (this.ready) {
      await this.ready;
      this.ready = undefined;
    }
    const { socket } = this;
    if (!socket.writable || chunk.length === 0) return;
    let flushed: boolean;
    if (!this.options.framed) {
      flushed = socket.write(chunk);
    } else if (chunk.length <= COPY_LIMIT) {
      flushed = socket.write(Buffer.concat([frameHead(stream, chunk.length), chunk]));
    } else {
      socket.cork();
      socket.write(frameHead(stream, chunk.length));
      flushed = socket.write(chunk);
      socket.uncork();
    }
    if (!flushed) await drained(socket);
  }

  end(): void {
    const { socket } = this;
    if (socket.destroyed) return;
    socket.end(() => {
      socket.resume();
      const timer = setTimeout(() => socket.destroy(), LINGER).unref();
      socket.once('close', () => clearTimeout(timer));
      if (socket.readableEnded) socket.destroy();
    });
  }

  /**
   * Some clients read the head through a buffer and the stream below it: bytes that arrive together with the head are lost to
   * them. So the first ones wait until the peer has taken the head, or for a moment when that cannot be known.
   */
  private async headTaken(): Promise<void> {
    const { unsent, connection } = this.options;
    if (!unsent || connection.remoteAddress !== undefined) {
      await sleep(limits.headPause);
      return;
    }
    const patience = performance.now() + limits.headDrain;
    for (let pause = 0; performance.now() < patience; pause = Math.min(pause + 1, 5)) {
      const fd = descriptorOf(connection);
      if (fd === undefined || unsent(fd) === 0) return;
      await sleep(pause);
    }
  }
}

/** Resolves when there is room again, or nobody reads any more. */
export function drained(socket: NodeJS.EventEmitter): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      socket.off('drain', done);
      socket.off('close', done);
      resolve();
    };
    socket.once('drain', done);
    socket.once('close', done);
  });
}

/** Chunks until the client's end of input. The socket is held up while nobody takes them. */
function inputOf(socket: Duplex, early: Buffer): AsyncIterable<Buffer> {
  const waiting: Buffer[] = early.length > 0 ? [early] : [];
  let bytes = early.length;
  let ended = socket.readableEnded || socket.destroyed;
  let wake: (() => void) | undefined;
  const stir = (): void => {
    wake?.();
    wake = undefined;
  };
  const finish = (): void => {
    ended = true;
    stir();
  };
  socket.on('data', (chunk: Buffer) => {
    waiting.push(chunk);
    bytes += chunk.length;
    if (bytes >= INPUT_BACKLOG) socket.pause();
    stir();
  });
  socket.once('end', finish);
  socket.once('close', finish);
  socket.resume();
  return {
    async *[Symbol.asyncIterator]() {
      for (;;) {
        const chunk = waiting.shift();
        if (chunk) {
          bytes -= chunk.length;
          if (bytes < INPUT_BACKLOG && socket.isPaused()) socket.resume();
          yield chunk;
          continue;
        }
        if (ended) return;
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    },
  };
}
