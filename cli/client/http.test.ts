import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { afterEach, describe, expect, it } from 'vitest';
import { ApiError, Client, compareVersions, path, readAll } from './client.js';
import type { Endpoint } from './endpoint.js';
import { send } from './http.js';

let server: Server | undefined;
let folder = '';
const open = new Set<Socket>();

afterEach(async () => {
  for (const socket of open) socket.destroy();
  open.clear();
  await new Promise<void>((resolve) => (server ? server.close(() => resolve()) : resolve()));
  server = undefined;
  if (folder) rmSync(folder, { recursive: true });
  folder = '';
});

/** A server that gives each connection to `serve` once the head of its request is there. */
const listen = async (serve: (socket: Socket, head: string, rest: Buffer) => void): Promise<Endpoint> => {
  folder = mkdtempSync(join(tmpdir(), 'gantry-http-'));
  const socketPath = join(folder, 's');
  server = createServer({ allowHalfOpen: true }, (socket) => {
    open.add(socket);
    let text: Buffer = Buffer.alloc(0);
    const onData = (data: Buffer): void => {
      text = Buffer.concat([text, data]);
      const end = text.indexOf('\r\n\r\n');
      if (end < 0) return;
      socket.off('data', onData);
      serve(socket, text.subarray(0, end).toString(), text.subarray(end + 4));
    };
    socket.on('data', onData);
    socket.on('error', () => undefined);
  });
  await new Promise<void>((resolve) => (server as Server).listen(socketPath, resolve));
  return { url: `unix://${socketPath}`, address: { path: socketPath }, tls: undefined, isDefault: false };
};

const pause = async (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Every byte in a packet of its own, which no reader may notice. */
const dribble = async (socket: Socket, text: string): Promise<void> => {
  for (const byte of Buffer.from(text, 'latin1')) {
    socket.write(Buffer.from([byte]));
    await pause(0);
  }
};

const body = async (endpoint: Endpoint): Promise<string> => readAll(await send(endpoint, { method: 'GET', path: '/' }));

describe('an upload', () => {
  it('that is refused before it was read brings the reason', async () => {
    folder = mkdtempSync(join(tmpdir(), 'gantry-http-'));
    const socketPath = join(folder, 's');
    // On a thread of its own, since it has to answer and close while the client is busy writing.
    const refusing = new Worker(
      `const { parentPort, workerData } = require('node:worker_threads');
       require('node:http').createServer((request, response) => response.writeHead(409).end('taken'))
         .listen(workerData, () => parentPort.postMessage('ready'));`,
      { eval: true, workerData: socketPath },
    );
    try {
      await once(refusing, 'message');
      const endpoint: Endpoint = { url: `unix://${socketPath}`, address: { path: socketPath }, tls: undefined, isDefault: false };
      const pieces = (async function* () {
        yield Buffer.alloc(1024);
        await pause(0);
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 300);
        for (let i = 0; i < 64; ++i) yield Buffer.alloc(64 * 1024);
      })();
      const response = await send(endpoint, { method: 'PUT', path: '/', body: pieces });
      expect(response.status).toBe(409);
      expect((await readAll(response)).toString()).toBe('taken');
    } finally {
      await refusing.terminate();
    }
  });
});

describe('an answer', () => {
  it('may come in any pieces, with a length', async () => {
    const endpoint = await listen((socket) => void dribble(socket, 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello'));
    expect(await body(endpoint)).toBe('hello');
  });

  it('may be chunked, with extensions and trailers, in any pieces', async () => {
    const endpoint = await listen(
      (socket) =>
        void dribble(
          socket,
          'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n1\r\n \r\nA\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n',
        ),
    );
    expect(await body(endpoint)).toBe('hello 0123456789');
  });

  it('may be several chunks in one packet', async () => {
    const endpoint = await listen((socket) =>
      socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n1\r\nb\r\n0\r\n\r\n'),
    );
    expect(await body(endpoint)).toBe('ab');
  });

  it('may last until the connection ends', async () => {
    const endpoint = await listen((socket) => socket.end('HTTP/1.1 200 OK\r\n\r\nall of it'));
    expect(await body(endpoint)).toBe('all of it');
  });

  it('gives what is there before the rest has come', async () => {
    const endpoint = await listen((socket) => socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n'));
    const response = await send(endpoint, { method: 'GET', path: '/' });
    expect(String((await response.body.next()).value)).toBe('one');
    response.socket.destroy();
  });

  it('of HEAD has no body, whatever its length says', async () => {
    const endpoint = await listen((socket) => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n'));
    expect(await readAll(await send(endpoint, { method: 'HEAD', path: '/' }))).toBe('');
  });

  it('that says continue is not yet the answer', async () => {
    const endpoint = await listen((socket) => socket.write('HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n'));
    expect((await send(endpoint, { method: 'GET', path: '/' })).status).toBe(204);
  });

  it.each([
    ['cut off in its head', 'HTTP/1.1 200', 'cut off'],
    ['nothing', '', 'without an answer'],
    ['cut off in its body', 'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf', 'unexpected EOF'],
    ['cut off in a chunk', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf', 'unexpected EOF'],
    ['a chunk without a size', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n', 'invalid chunk size'],
    ['another protocol', 'SSH-2.0-OpenSSH\r\n\r\n', 'does not speak HTTP'],
  ])('that is %s is an error', async (_, text, message) => {
    const endpoint = await listen((socket) => socket.end(text));
    await expect(body(endpoint)).rejects.toThrow(message);
  });
});

describe('a request', () => {
  it('sends a stream in chunks', async () => {
    let received = '';
    const endpoint = await listen((socket, _, rest) => {
      received += rest.toString();
      socket.on('data', (data) => {
        received += data.toString();
        if (received.endsWith('0\r\n\r\n')) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n');
      });
      if (received.endsWith('0\r\n\r\n')) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n');
    });
    const source = (async function* () {
      yield Buffer.from('one');
      yield Buffer.alloc(0);
      await pause(5);
      yield Buffer.from('two');
    })();
    await send(endpoint, { method: 'PUT', path: '/', body: source });
    expect(received).toBe('3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n');
  });

  it('hears a refusal that comes before all was sent', async () => {
    const endpoint = await listen((socket) => socket.end('HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno'));
    const endless = (async function* () {
      for (;;) {
        yield Buffer.alloc(1024);
        await pause(0);
      }
    })();
    const response = await send(endpoint, { method: 'PUT', path: '/', body: endless });
    expect(response.status).toBe(403);
    response.socket.destroy();
  });

  it('lets no line break into its head', async () => {
    const endpoint = await listen(() => undefined);
    const reaction = Promise.race([
      send(endpoint, { method: 'GET', path: '/a\r\nX: y' }),
      pause(300).then(() => Promise.reject(new Error('was sent'))),
    ]);
    await expect(reaction).rejects.toThrow('no line break');
  });

  it('keeps slashes and colons of a name in its path, and nothing that could end it', () => {
    expect(path`/images/${'host:5000/a/b@sha256:x'}/json`).toBe('/images/host:5000/a/b@sha256:x/json');
    expect(path`/containers/${'a?b#c d'}/json`).toBe('/containers/a%3Fb%23c%20d/json');
  });
});

describe('the client', () => {
  const api = (version: string, answer: string): Promise<Endpoint> =>
    listen((socket, head) =>
      socket.end(
        head.startsWith('HEAD /_ping')
          ? `HTTP/1.1 200 OK\r\nApi-Version: ${version}\r\n\r\n`
          : answer.replace('PATH', head.split(' ', 2)[1] as string),
      ),
    );
  const ok = 'HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nPATH';

  it('speaks the version of an older engine, and its own to a newer one', async () => {
    expect(await new Client(await api('1.41', ok)).text('GET', '/info')).toBe('/v1.41/info');
    server?.close();
    expect(await new Client(await api('1.99', ok)).text('GET', '/info')).toBe('/v1.51/info');
  });

  it('writes a query with lists, truth values and what must be encoded', async () => {
    const client = new Client(await api('1.41', ok));
    expect(await client.text('GET', '/x', { query: { a: true, b: false, c: undefined, d: ['1', '2'], e: 'a b&c' } })).toBe(
      '/v1.41/x?a=1&b=0&d=1&d=2&e=a%20b%26c',
    );
  });

  it("fails with the engine's own words", async () => {
    const message = '{"message":"No such container: x"}';
    const client = new Client(await api('1.41', `HTTP/1.1 404 Not Found\r\nContent-Length: ${message.length}\r\n\r\n${message}`));
    await expect(client.get('/x')).rejects.toThrow(new ApiError(404, 'No such container: x'));
  });

  it('asks once more when someone made the engine answer', async () => {
    const endpoint = await api('1.41', ok);
    const absent = { ...endpoint, address: { path: `${(endpoint.address as { path: string }).path}-not` } };
    let asked = 0;
    const client = new Client(absent, {
      onAbsent: async (error) => {
        asked++;
        expect(error.code).toBe('ENOENT');
        (absent.address as { path: string }).path = (endpoint.address as { path: string }).path;
        return true;
      },
    });
    expect(await client.text('GET', '/info')).toBe('/v1.41/info');
    expect(asked).toBe(1);
  });

  it('keeps both directions of a hijacked connection, and ends its own alone', async () => {
    let input = '';
    const endpoint = await listen((socket, head, rest) => {
      if (head.startsWith('HEAD')) return void socket.end('HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\n\r\n');
      expect(head).toContain('Upgrade: tcp');
      input += rest.toString();
      socket.write('HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nfirst');
      socket.on('data', (data) => (input += data.toString()));
      socket.on('end', () => void pause(5).then(() => socket.end(`got ${input}`)));
    });
    const stream = await new Client(endpoint).hijack('/containers/x/attach');
    stream.socket.end('typed');
    expect(await readAll(stream)).toBe('firstgot typed');
  });

  it('orders versions by number', () => {
    expect(compareVersions('1.9', '1.10')).toBeLessThan(0);
    expect(compareVersions('1.51', '1.51')).toBe(0);
    expect(compareVersions('2.0', '1.99')).toBeGreaterThan(0);
  });
});

describe('a client that is to tell of its requests', () => {
  it('says what was asked, what came of it and how long that took', async () => {
    const endpoint = await listen((socket) => socket.end('HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}'));
    const told: string[] = [];
    const client = new Client(endpoint, { apiVersion: '1.51', onAnswer: (line) => told.push(line) });
    await expect(client.get('/containers/x/json')).rejects.toBeInstanceOf(ApiError);
    expect(told).toEqual([expect.stringMatching(/^debug GET \/v1\.51\/containers\/x\/json 404 \d+ms$/)]);
  });
});
