import { connect, type NetConnectOpts, type Socket } from 'node:net';

/** A client that sees every byte as it comes, for tests of upgrades and half closes. */
export class RawClient {
  private readonly chunks: Buffer[] = [];
  private waiting: (() => void) | undefined;
  ended = false;

  constructor(readonly socket: Socket) {
    socket.on('error', () => undefined);
    socket.on('data', (chunk: Buffer) => {
      this.chunks.push(chunk);
      this.waiting?.();
    });
    const end = (): void => {
      this.ended = true;
      this.waiting?.();
    };
    socket.on('end', end);
    socket.on('close', end);
  }

  static async connect(options: NetConnectOpts): Promise<RawClient> {
    const socket = connect({ ...options, allowHalfOpen: true });
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('error', reject);
    });
    return new RawClient(socket);
  }

  /** The pieces that came so far, one for each read. */
  get pieces(): readonly Buffer[] {
    return this.chunks;
  }

  get text(): string {
    return Buffer.concat(this.chunks).toString('latin1');
  }

  send(data: string | Buffer): void {
    this.socket.write(data);
  }

  /** Ends this side and goes on reading. */
  halfClose(): void {
    this.socket.end();
  }

  async until(condition: () => boolean, millis = 60_000): Promise<void> {
    const deadline = Date.now() + millis;
    while (!condition()) {
      if (Date.now() > deadline) throw new Error(`gave up waiting; got ${JSON.stringify(this.text)}`);
      if (this.ended && !condition()) throw new Error(`the connection ended; got ${JSON.stringify(this.text)}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, 50);
        this.waiting = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  /** Head and everything behind it. */
  get answer(): { head: string; body: Buffer } {
    const all = Buffer.concat(this.chunks);
    const split = all.indexOf('\r\n\r\n');
    return { head: all.subarray(0, split).toString(), body: all.subarray(split + 4) };
  }

  close(): void {
    this.socket.destroy();
  }
}

/** Undoes Docker's framing: `[stream number, text]` for each frame. */
export function frames(data: Buffer): [number, string][] {
  const found: [number, string][] = [];
  for (let at = 0; at + 8 <= data.length;) {
    const length = data.readUInt32BE(at + 4);
    found.push([data[at] ?? -1, data.subarray(at + 8, at + 8 + length).toString()]);
    at += 8 + length;
  }
  return found;
}
