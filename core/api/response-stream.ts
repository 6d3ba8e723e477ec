import type { ServerResponse } from 'node:http';
import type { Readable } from 'node:stream';
import { finished } from 'node:stream/promises';
import type { FastifyReply } from 'fastify';
import { messageOf } from '../contracts/errors.js';
import { drained } from './client-socket.js';
import type { ApiContext } from './context.js';

/** An answer that is written bit by bit: its head goes out at once, and each write is a chunk of its own. */
export class ResponseStream {
  private readonly abort = new AbortController();
  private readonly queue: string[] = [];
  private queuedBytes = 0;
  private pumping: Promise<void> | undefined;

  private constructor(private readonly raw: ServerResponse) {
    raw.once('close', () => this.abort.abort());
    raw.on('error', () => undefined);
  }

  static async open(context: ApiContext, reply: FastifyReply, contentType: string): Promise<ResponseStream> {
    await context.authorizeAnswer(reply.request, 200);
    const headers = reply.getHeaders();
    reply.hijack();
    const raw = reply.raw;
    raw.writeHead(200, { ...headers, 'Content-Type': contentType } as Record<string, string>);
    raw.flushHeaders();
    context.open.add(raw);
    raw.once('close', () => context.open.delete(raw));
    return new ResponseStream(raw);
  }

  /** Aborts when the client is gone, and after the answer's end. */
  get gone(): AbortSignal {
    return this.abort.signal;
  }

  /** Bytes that the client has not taken. */
  get backlog(): number {
    return this.raw.writableLength + this.queuedBytes;
  }

  /** Waits for a slow client. Writes of one turn may share a chunk. */
  async write(chunk: Buffer): Promise<void> {
    if (this.raw.destroyed || this.raw.writableEnded) return;
    if (!this.raw.write(chunk)) await drained(this.raw);
  }

  /** As {@link write}, and `chunk` is free for other use when it resolves. */
  async writeOut(chunk: Buffer): Promise<void> {
    if (!this.raw.destroyed && !this.raw.writableEnded) await this.taken(chunk);
  }

  /** One object in a chunk of its own: some clients take each chunk for one document. Resolves when it is on its way. */
  async object(text: string): Promise<void> {
    this.push(text);
    await this.pumping;
  }

  /** As {@link object}, without waiting for a slow client; look at `backlog`. */
  push(text: string): void {
    this.queue.push(text);
    this.queuedBytes += text.length;
    this.pumping ??= this.pump();
  }

  /** Ends the answer behind what was pushed. */
  async end(): Promise<void> {
    await this.pumping;
    if (!this.raw.destroyed) this.raw.end();
  }

  private async pump(): Promise<void> {
    for (let text = this.queue.shift(); text !== undefined; text = this.queue.shift()) {
      const next = text;
      this.queuedBytes -= next.length;
      if (this.raw.destroyed || this.raw.writableEnded) continue;
      await this.taken(next);
    }
    this.pumping = undefined;
  }

  /** Writes, and waits until the kernel has it or the client is gone. */
  private taken(chunk: string | Buffer): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        this.raw.off('close', done);
        resolve();
      };
      this.raw.once('close', done);
      this.raw.write(chunk, done);
    });
  }

  /** Cuts the connection, so that the client cannot take what it has for the whole. */
  fail(): void {
    this.raw.destroy();
  }
}

/** Sends an archive. A failure in the middle cuts the connection: the status is out, and a clean end would look complete. */
export async function sendReadable(context: ApiContext, reply: FastifyReply, contentType: string, content: Readable): Promise<void> {
  try {
    await context.authorizeAnswer(reply.request, 200);
  } catch (error) {
    content.destroy();
    throw error;
  }
  const headers = reply.getHeaders();
  reply.hijack();
  const raw = reply.raw;
  context.open.add(raw);
  raw.once('close', () => {
    context.open.delete(raw);
    content.destroy();
  });
  raw.writeHead(200, { ...headers, 'Content-Type': contentType } as Record<string, string>);
  content.once('error', (error) => {
    context.log.warn('an archive could not be sent whole', { url: reply.request.url, error: messageOf(error) });
    raw.destroy();
  });
  content.pipe(raw);
  await finished(raw).catch(() => undefined);
}
