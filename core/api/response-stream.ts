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
    return this.raw.writableLength;
  }

  async write(chunk: Buffer | string): Promise<void> {
    if (this.raw.destroyed || this.raw.writableEnded) return;
    if (!this.raw.write(chunk)) await drained(this.raw);
  }

  /** Without waiting for a slow client; look at `backlog`. */
  push(chunk: Buffer | string): void {
    if (!this.raw.destroyed && !this.raw.writableEnded) this.raw.write(chunk);
  }

  end(): void {
    if (!this.raw.destroyed) this.raw.end();
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
