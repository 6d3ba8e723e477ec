import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { unavailable } from '@gantry/core/contracts/errors.js';
import {
  decodeExit,
  encodeFrame,
  Frame,
  HEADER_SIZE,
  MAX_PAYLOAD,
  PROTOCOL_VERSION,
  type ExitFrame,
  type FrameHeader,
} from './shim-protocol.js';

/** The shim's answer to a request that it could not do. */
export class ShimError extends Error {
  override readonly name = 'ShimError';
  constructor(
    readonly reason: number,
    message: string,
  ) {
    super(message);
  }
}

/** The connection ended while an answer was awaited. What was asked may or may not have been done. */
export class ShimGone extends Error {
  override readonly name = 'ShimGone';
}

export interface StreamListener {
  /** A part of one frame of output. While the promise is pending nothing more is read. */
  output(stream: 'stdout' | 'stderr', chunk: Buffer): void | Promise<void>;
  end(): void;
}

const EMPTY = Buffer.alloc(0);

/**
 * The shim cuts off a reader that lets its buffers stand full for half of this. While nothing is read here that goes unseen,
 * so whoever keeps one chunk this long is cut off on this side.
 */
const STALL_MS = 10_000;

/** One connection to a shim: requests with their answers, exits that are told, and at most one process' stream. */
export class ShimConnection {
  private readonly waiting = new Map<number, { resolve: (payload: Buffer) => void; reject: (error: Error) => void }>();
  private readonly exitListeners = new Set<(exit: ExitFrame) => void>();
  private nextTag = 1;
  private stream: StreamListener | undefined;

  private pending: Buffer = EMPTY;
  private header: FrameHeader | undefined;
  /** Bytes of the current output frame that have not come yet. */
  private outputLeft = 0;
  private busy = false;

  private gone = false;
  private readonly tellClosed: () => void;

  /** Resolves when the connection is closed, for whatever reason, and what had come before was handed over. */
  readonly closed: Promise<void>;

  constructor(private readonly socket: Socket) {
    socket.on('data', (chunk: Buffer) => {
      this.pending = this.pending.length === 0 ? chunk : Buffer.concat([this.pending, chunk]);
      this.parse();
    });
    socket.on('error', () => socket.destroy());
    const { promise, resolve } = Promise.withResolvers<void>();
    this.closed = promise;
    this.tellClosed = resolve;
    socket.on('close', () => {
      this.gone = true;
      if (!this.busy) this.finish();
    });
  }

  /** Meets the shim whose run folder is `folder`. Fails with `code` as connect(2) does. */
  static async connect(folder: string, timeoutMs: number): Promise<ShimConnection> {
    let path = join(folder, 'shim.sock');
    // A socket address holds 107 bytes; a folder may be deeper than that.
    const handle = Buffer.byteLength(path) > 100 ? await open(folder, constants.O_RDONLY | constants.O_DIRECTORY) : undefined;
    if (handle) path = `/proc/self/fd/${handle.fd}/shim.sock`;
    try {
      const socket = await new Promise<Socket>((resolve, reject) => {
        const opening = connect({ path });
        const timer = setTimeout(() => {
          opening.destroy();
          reject(Object.assign(new Error(`connect ${path}: timed out`), { code: 'ETIMEDOUT' }));
        }, timeoutMs);
        opening.once('connect', () => {
          clearTimeout(timer);
          opening.removeAllListeners('error');
          resolve(opening);
        });
        opening.once('error', (error) => {
          clearTimeout(timer);
          reject(error);
        });
      });
      const connection = new ShimConnection(socket);
      await connection.hello(timeoutMs);
      return connection;
    } finally {
      await handle?.close();
    }
  }

  async hello(timeoutMs: number): Promise<void> {
    const version = Buffer.alloc(4);
    version.writeUInt32LE(PROTOCOL_VERSION);
    const timer = setTimeout(() => this.socket.destroy(), timeoutMs);
    try {
      const spoken = (await this.request(Frame.hello, version)).readUInt32LE(0);
      if (spoken !== PROTOCOL_VERSION) {
        this.close();
        throw unavailable(`the shim speaks version ${spoken} of its protocol, this daemon version ${PROTOCOL_VERSION}`);
      }
    } finally {
      clearTimeout(timer);
    }
  }

  get open(): boolean {
    return !this.socket.destroyed;
  }

  onExit(listener: (exit: ExitFrame) => void): () => void {
    this.exitListeners.add(listener);
    return () => this.exitListeners.delete(listener);
  }

  /** From now on output is handed over; until then it stays with the shim. */
  listen(stream: StreamListener): void {
    this.stream = stream;
    this.parse();
  }

  /** Fails with ShimError when the shim says no and ShimGone when it went away. */
  request(type: number, payload: Buffer = EMPTY, flags = 0): Promise<Buffer> {
    if (this.socket.destroyed) return Promise.reject(new ShimGone('the connection to the shim is closed'));
    const tag = this.nextTag++;
    return new Promise((resolve, reject) => {
      this.waiting.set(tag, { resolve, reject });
      this.socket.write(encodeFrame(type, flags, tag, payload));
    });
  }

  /** A frame without an answer. Resolves when the kernel has it, or when nobody is there to take it. */
  send(type: number, payload: Buffer = EMPTY): Promise<void> {
    if (this.socket.destroyed) return Promise.resolve();
    return new Promise((resolve) => this.socket.write(encodeFrame(type, 0, 0, payload), () => resolve()));
  }

  close(): void {
    this.abandon();
  }

  /** Goes through what has arrived, as far as listeners take it. */
  private parse(): void {
    while (!this.busy) {
      if (this.outputLeft > 0) {
        if (this.pending.length === 0 || !this.deliver()) return;
        continue;
      }
      this.header ??= this.takeHeader();
      const header = this.header;
      if (!header) return;
      if (header.size > MAX_PAYLOAD) {
        this.socket.destroy();
        return;
      }
      if (header.type === Frame.output) {
        this.outputLeft = header.size;
        if (header.size === 0) this.header = undefined;
        continue;
      }
      if (header.type === Frame.end && !this.stream) {
        this.socket.pause();
        return;
      }
      if (this.pending.length < header.size) return;
      const payload = this.pending.subarray(0, header.size);
      this.pending = this.pending.subarray(header.size);
      this.header = undefined;
      this.dispatch(header, payload);
    }
  }

  private takeHeader(): FrameHeader | undefined {
    if (this.pending.length < HEADER_SIZE) return undefined;
    const header = {
      size: this.pending.readUInt32LE(0),
      type: this.pending.readUInt16LE(4),
      flags: this.pending.readUInt16LE(6),
      tag: this.pending.readUInt32LE(8),
    };
    this.pending = this.pending.subarray(HEADER_SIZE);
    return header;
  }

  /** Hands over what has come of an output frame; false when it must wait. */
  private deliver(): boolean {
    if (!this.stream) {
      this.socket.pause();
      return false;
    }
    const chunk = this.pending.subarray(0, this.outputLeft);
    this.pending = this.pending.subarray(chunk.length);
    this.outputLeft -= chunk.length;
    const name = this.header?.flags === 2 ? 'stdout' : 'stderr';
    if (this.outputLeft === 0) this.header = undefined;
    const taken = this.stream.output(name, chunk);
    if (!(taken instanceof Promise)) {
      this.socket.resume();
      return true;
    }
    this.busy = true;
    this.socket.pause();
    const stalled = setTimeout(() => this.abandon(), STALL_MS);
    taken.then(
      () => {
        clearTimeout(stalled);
        if (!this.busy) return;
        this.busy = false;
        this.socket.resume();
        this.parse();
        if (this.gone && !this.busy) this.finish();
      },
      () => {
        clearTimeout(stalled);
        this.abandon();
      },
    );
    return false;
  }

  /** Nobody takes what comes: there is nothing to wait for. */
  private abandon(): void {
    this.pending = EMPTY;
    this.busy = false;
    this.socket.destroy();
    if (this.gone) this.finish();
  }

  private finish(): void {
    for (const { reject } of this.waiting.values()) reject(new ShimGone('the shim closed the connection'));
    this.waiting.clear();
    this.tellClosed();
  }

  private dispatch(header: FrameHeader, payload: Buffer): void {
    switch (header.type) {
      case Frame.ok:
        this.settle(header.tag)?.resolve(Buffer.from(payload));
        return;
      case Frame.error:
        this.settle(header.tag)?.reject(new ShimError(payload.readUInt32LE(0), payload.toString('utf8', 4)));
        return;
      case Frame.end:
        this.stream?.end();
        this.socket.resume();
        return;
      case Frame.exit: {
        const exit = decodeExit(header, payload);
        for (const listener of this.exitListeners) listener(exit);
        return;
      }
      default:
      // A later shim may tell more than is understood here.
    }
  }

  private settle(tag: number): { resolve: (payload: Buffer) => void; reject: (error: Error) => void } | undefined {
    const found = this.waiting.get(tag);
    this.waiting.delete(tag);
    return found;
  }
}
