import { request } from 'node:http';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { MEDIA_TYPE } from '../protocol/methods.js';

/** One request and what came of it. */
export interface Exchange {
  readonly method: string;
  readonly request: unknown;
  /** 0 when no answer came. */
  readonly status: number;
  readonly text: string;
  /** The parsed answer, when it was an object. */
  readonly answer: Readonly<Record<string, unknown>>;
}

/** Milliseconds for one answer of a plugin under test. */
const PATIENCE = 30_000;

/** Sends one call as an engine does: POST, no content type, a trailing newline, an empty body when there is nothing to say. */
export async function exchange(socket: string, method: string, body: unknown, query = ''): Promise<Exchange> {
  for (let tries = 0; ; tries++) {
    const result = await once(socket, method, body, query);
    // A short queue of connections is full: nothing was delivered, and it is no fault of the plugin's.
    if (result.status !== 0 || !result.text.includes('EAGAIN') || tries >= 50) return result;
    await sleep(20);
  }
}

function once(socket: string, method: string, body: unknown, query: string): Promise<Exchange> {
  const bytes = body === undefined ? Buffer.alloc(0) : Buffer.isBuffer(body) ? body : Buffer.from(`${JSON.stringify(body)}\n`);
  return new Promise((done) => {
    const failed = (why: string): void => done({ method, request: body, status: 0, text: why, answer: {} });
    const call = request(
      {
        socketPath: socket,
        method: 'POST',
        path: `/${method}${query}`,
        headers: { host: 'plugin.moby.localhost', 'user-agent': 'Go-http-client/1.1', accept: MEDIA_TYPE, 'content-length': bytes.length },
        timeout: PATIENCE,
        agent: false,
      },
      (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('error', (error) => failed(error.message));
        response.on('end', () => {
          const text = Buffer.concat(chunks).toString('utf8');
          done({ method, request: body, status: response.statusCode ?? 0, text, answer: objectIn(text) });
        });
      },
    );
    call.on('timeout', () => call.destroy(new Error(`no answer within ${PATIENCE / 1000} s`)));
    call.on('error', (error) => failed(error.message));
    call.end(bytes);
  });
}

/** Sends a call and goes away without waiting for its answer, as an engine that is killed. */
export function abandon(socket: string, method: string, body: unknown): Promise<void> {
  const text = `${JSON.stringify(body)}\n`;
  return new Promise((done) => {
    const connection = connect(socket, () => {
      connection.write(
        `POST /${method} HTTP/1.1\r\nHost: plugin.moby.localhost\r\nAccept: ${MEDIA_TYPE}\r\nContent-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`,
        () => connection.destroy(),
      );
    });
    connection.on('error', () => done());
    connection.on('close', () => done());
  });
}

function objectIn(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}
