import type { Socket } from 'node:net';
import { connect, SocketReader } from './connection.js';
import type { Endpoint } from './endpoint.js';

/**
 * As much of HTTP/1.1 as a client of the engine needs, on a socket of its own for each request: node:http would cost
 * a command ten milliseconds of start-up and hides the socket that attach and exec live on.
 */
export interface HttpRequest {
  method: string;
  /** With its query, percent-encoded. */
  path: string;
  headers?: Record<string, string>;
  body?: string | Buffer | AsyncIterable<Uint8Array>;
}

export interface HttpResponse {
  status: number;
  /** Names in lower case. */
  headers: ReadonlyMap<string, string>;
  /** The decoded body, piece by piece as it comes. For a response that switched protocols: everything that follows. */
  body: AsyncGenerator<Buffer, void, void>;
  socket: Socket;
}

const headLimit = 256 * 1024;

/** @throws ConnectionError, or Error when the peer does not speak HTTP or goes away */
export const send = async (endpoint: Endpoint, request: HttpRequest): Promise<HttpResponse> => {
  const head = requestHead(endpoint, request);
  const socket = await connect(endpoint);
  const reader = new SocketReader(socket);
  try {
    const uploaded = write(socket, head, request.body);
    // The server may refuse before it has read everything; then its answer counts and the broken upload does not.
    uploaded.catch(() => undefined);
    const response = await readHead(reader, socket, request.method);
    return response;
  } catch (error) {
    socket.destroy();
    throw error;
  }
};

const requestHead = (endpoint: Endpoint, request: HttpRequest): string => {
  const { body } = request;
  const host = 'path' in endpoint.address ? 'api.gantry.localhost' : `${endpoint.address.host}:${endpoint.address.port}`;
  const headers: Record<string, string> = { Host: host, 'User-Agent': 'gantry', ...request.headers };
  const streamed = body !== undefined && typeof body !== 'string' && !Buffer.isBuffer(body);
  // A server that refuses an upload before it has read it all, and closes, cuts its own answer off: it goes on reading only where it
  // may expect another request.
  headers['Connection'] ??= streamed ? 'keep-alive' : 'close';
  if (typeof body === 'string' || Buffer.isBuffer(body)) headers['Content-Length'] = String(Buffer.byteLength(body));
  else if (streamed) headers['Transfer-Encoding'] = 'chunked';
  else if (request.method === 'POST' || request.method === 'PUT') headers['Content-Length'] = '0';
  const lines = [`${request.method} ${request.path} HTTP/1.1`, ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`)];
  if (lines.some((line) => /[\r\n]/.test(line))) throw new Error('a request header may hold no line break');
  return `${lines.join('\r\n')}\r\n\r\n`;
};

const write = async (socket: Socket, head: string, body: HttpRequest['body']): Promise<void> => {
  if (body === undefined) {
    socket.write(head);
    return;
  }
  if (typeof body === 'string' || Buffer.isBuffer(body)) {
    socket.cork();
    socket.write(head);
    socket.write(body);
    socket.uncork();
    return;
  }
  socket.write(head);
  try {
    for await (const piece of body) {
      if (piece.length === 0) continue;
      socket.cork();
      socket.write(`${piece.length.toString(16)}\r\n`);
      socket.write(piece);
      const flowing = socket.write('\r\n');
      socket.uncork();
      if (socket.destroyed) return;
      if (!flowing) await drained(socket);
    }
    socket.write('0\r\n\r\n');
  } catch (error) {
    // A source that fails must not look like a complete upload: cutting the connection is the only way to say so.
    socket.destroy(error as Error);
    throw error;
  }
};

/** Resolves when the socket takes more, or will never. */
export const drained = async (socket: Socket): Promise<void> =>
  new Promise((resolve) => {
    const done = (): void => {
      socket.off('drain', done).off('close', done).off('error', done);
      resolve();
    };
    socket.once('drain', done).once('close', done).once('error', done);
  });

const readHead = async (reader: SocketReader, socket: Socket, method: string): Promise<HttpResponse> => {
  for (;;) {
    const text = await headText(reader);
    const [first, ...lines] = text.split('\r\n') as [string, ...string[]];
    const status = Number(/^HTTP\/1\.[01] (\d{3})/.exec(first)?.[1] ?? Number.NaN);
    if (Number.isNaN(status)) throw new Error(`the peer does not speak HTTP: ${JSON.stringify(first.slice(0, 80))}`);
    const headers = new Map<string, string>();
    for (const line of lines) {
      const at = line.indexOf(':');
      if (at > 0) headers.set(line.slice(0, at).trim().toLowerCase(), line.slice(at + 1).trim());
    }
    if (status >= 100 && status < 200 && status !== 101) continue;
    return { status, headers, body: bodyOf(reader, socket, status, headers, method), socket };
  }
};

const headText = async (reader: SocketReader): Promise<string> => {
  let head: Buffer = Buffer.alloc(0);
  for (;;) {
    const piece = await reader.read();
    if (!piece)
      throw new Error(head.length === 0 ? 'the engine closed the connection without an answer' : 'the answer of the engine is cut off');
    const searchFrom = Math.max(0, head.length - 3);
    head = head.length === 0 ? piece : Buffer.concat([head, piece]);
    const end = head.indexOf('\r\n\r\n', searchFrom);
    if (end >= 0) {
      reader.unread(head.subarray(end + 4));
      return head.subarray(0, end).toString('latin1');
    }
    if (head.length > headLimit) throw new Error('the head of the answer is too long');
  }
};

const bodyOf = async function* (
  reader: SocketReader,
  socket: Socket,
  status: number,
  headers: ReadonlyMap<string, string>,
  method: string,
): AsyncGenerator<Buffer, void, void> {
  const encoding = headers.get('transfer-encoding')?.toLowerCase();
  const length = headers.get('content-length');
  try {
    if (status === 101) yield* rest(reader);
    else if (method === 'HEAD' || status === 204 || status === 304) return;
    else if (encoding?.endsWith('chunked')) yield* chunked(reader);
    else if (length === undefined) yield* rest(reader);
    else yield* exactly(reader, Number(length));
  } finally {
    socket.destroy();
  }
};

const rest = async function* (reader: SocketReader): AsyncGenerator<Buffer, void, void> {
  for (let piece = await reader.read(); piece; piece = await reader.read()) yield piece;
};

const exactly = async function* (reader: SocketReader, length: number): AsyncGenerator<Buffer, void, void> {
  let left = length;
  while (left > 0) {
    const piece = await reader.read();
    if (!piece) throw new Error('unexpected EOF');
    if (piece.length > left) reader.unread(piece.subarray(left));
    yield piece.subarray(0, left);
    left -= Math.min(left, piece.length);
  }
};

const readLine = async (reader: SocketReader): Promise<string> => {
  let text: Buffer = Buffer.alloc(0);
  for (;;) {
    const piece = await reader.read();
    if (!piece) throw new Error('unexpected EOF');
    text = text.length === 0 ? piece : Buffer.concat([text, piece]);
    const end = text.indexOf('\n');
    if (end >= 0) {
      reader.unread(text.subarray(end + 1));
      return text.subarray(0, end).toString('latin1').trim();
    }
    if (text.length > headLimit) throw new Error('a line of the answer is too long');
  }
};

const chunked = async function* (reader: SocketReader): AsyncGenerator<Buffer, void, void> {
  for (;;) {
    const size = (await readLine(reader)).split(';', 1)[0]?.trim() ?? '';
    if (!/^[\da-fA-F]{1,13}$/.test(size)) throw new Error(`invalid chunk size ${JSON.stringify(size)}`);
    const length = Number.parseInt(size, 16);
    if (length === 0) {
      // Trailers end with an empty line; a peer that closes right after the last chunk has said everything too.
      while ((await readLine(reader).catch(() => '')) !== '');
      return;
    }
    yield* exactly(reader, length);
    await readLine(reader);
  }
};
