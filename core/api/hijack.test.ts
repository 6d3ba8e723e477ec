import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { config, state } from '../../test/fakes/records.js';
import { frames, RawClient } from '../../test/fakes/raw-client.js';
import { FakeLog, FakeServices } from '../../test/fakes/services.js';
import { createServer, type ApiServer } from './server.js';

let folder: string;
let path: string;
let services: FakeServices;
let server: ApiServer;
const clients: RawClient[] = [];
let unsent: ((fd: number) => number) | undefined;

async function client(): Promise<RawClient> {
  const made = await RawClient.connect({ path });
  clients.push(made);
  return made;
}

const UPGRADE = 'Connection: Upgrade\r\nUpgrade: tcp\r\n';
const headDone = (raw: RawClient) => () => raw.text.includes('\r\n\r\n');

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'gantry-api-'));
  path = join(folder, 'api.sock');
  services = new FakeServices();
  unsent = undefined;
  server = await createServer({ services, log: new FakeLog(), unsent: (fd) => unsent?.(fd) ?? 0, peerUid: () => 1000 });
  await server.listen({ kind: 'unix', path });
});

afterEach(async () => {
  for (const each of clients.splice(0)) each.close();
  await server.close();
  rmSync(folder, { recursive: true, force: true });
});

describe('an upgraded connection', () => {
  it('answers 101 UPGRADED, frames both streams, and ends after the last output', async () => {
    services.container({ path: 'fail', args: [] });
    const raw = await client();
    raw.send(`POST /v1.50/containers/web/attach?stream=1&stdout=1&stderr=1 HTTP/1.1\r\nHost: x\r\n${UPGRADE}\r\n`);
    await raw.until(headDone(raw));
    expect(raw.answer.head).toMatch(/^HTTP\/1\.1 101 UPGRADED\r\n/);
    expect(raw.answer.head).toContain('\r\nConnection: Upgrade\r\nUpgrade: tcp');
    expect(raw.answer.head).toContain('Content-Type: application/vnd.docker.multiplexed-stream');
    expect(raw.answer.head).toMatch(/\r\napi-version: 1\.51/i);
    await services.containers.start('web');
    await raw.until(() => raw.ended);
    expect(frames(raw.answer.body)).toEqual([[2, 'it failed\n']]);
  });

  it('does not frame a terminal, and says so by its type', async () => {
    services.container({ path: 'echo', args: ['hi'], config: config({ tty: true }) });
    const raw = await client();
    raw.send(`POST /v1.50/containers/web/attach?stream=1&stdout=1 HTTP/1.1\r\nHost: x\r\n${UPGRADE}\r\n`);
    await raw.until(headDone(raw));
    await services.containers.start('web');
    await raw.until(() => raw.ended);
    expect(raw.answer.head).toContain('Content-Type: application/vnd.docker.raw-stream');
    expect(raw.answer.body.toString()).toBe('hi\n');
  });

  it('has one type for framed and raw streams before 1.42', async () => {
    services.container();
    const raw = await client();
    raw.send(`POST /v1.41/containers/web/attach?stdout=1 HTTP/1.1\r\nHost: x\r\n${UPGRADE}\r\n`);
    await raw.until(headDone(raw));
    expect(raw.answer.head).toContain('Content-Type: application/vnd.docker.raw-stream');
  });

  it('takes the body, and input behind it in the same packet, and keeps its direction after the half close', async () => {
    services.container();
    const id = await services.execs.create('web', execRequest(['cat']));
    const body = '{"Detach":false,"Tty":false}';
    const raw = await client();
    raw.send(
      `POST /exec/${id}/start HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n${UPGRADE}\r\n${body}early `,
    );
    await raw.until(headDone(raw));
    raw.send('late');
    raw.halfClose();
    await raw.until(() => raw.ended);
    expect(
      frames(raw.answer.body)
        .map(([, text]) => text)
        .join(''),
    ).toBe('early latebye\n');
    expect(services.execs.inspect(id).exitCode).toBe(7);
  });

  it('takes a chunked body', async () => {
    services.container();
    const id = await services.execs.create('web', execRequest(['cat']));
    const raw = await client();
    raw.send(
      `POST /exec/${id}/start HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n${UPGRADE}\r\n2\r\n{}\r\n0\r\n\r\nearly`,
    );
    raw.halfClose();
    await raw.until(() => raw.ended);
    expect(raw.answer.head).toMatch(/^HTTP\/1\.1 101 /);
    expect(frames(raw.answer.body)).toEqual([
      [1, 'early'],
      [1, 'bye\n'],
    ]);
  });

  it('takes a body that comes later than the head, as some clients send it', async () => {
    services.container();
    const id = await services.execs.create('web', execRequest(['cat']));
    const raw = await client();
    raw.send(`POST /exec/${id}/start HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n${UPGRADE}\r\n`);
    await new Promise((resolve) => setTimeout(resolve, 50));
    raw.send('{}');
    await raw.until(headDone(raw));
    const payload = 'x'.repeat(3_000_000);
    raw.send(payload);
    raw.halfClose();
    await raw.until(() => raw.ended);
    const got = frames(raw.answer.body)
      .map(([, text]) => text)
      .join('');
    expect(got.length).toBe(payload.length + 'bye\n'.length);
    expect(got.endsWith('xbye\n')).toBe(true);
  });

  it('that had its body later still tells when the client is gone', async () => {
    services.container();
    const id = await services.execs.create('web', execRequest(['cat']));
    const { promise: gone, resolve } = Promise.withResolvers<void>();
    services.execs.start = async (_id, _options, open) => {
      const stream = await open({ tty: true });
      stream.gone.addEventListener('abort', () => resolve());
      while (!stream.gone.aborted) {
        await stream.write('stdout', Buffer.from('x'));
        await new Promise((next) => setTimeout(next, 5));
      }
    };
    const raw = await client();
    raw.send(`POST /exec/${id}/start HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n${UPGRADE}\r\n`);
    await new Promise((next) => setTimeout(next, 50));
    raw.send('{}');
    await raw.until(headDone(raw));
    raw.close();
    await gone;
  });

  it('gets a plain answer when the route refuses before the stream opens', async () => {
    const raw = await client();
    raw.send(`POST /containers/ghost/attach?stream=1&stdout=1 HTTP/1.1\r\nHost: x\r\n${UPGRADE}\r\n`);
    await raw.until(() => raw.ended);
    expect(raw.answer.head).toMatch(/^HTTP\/1\.1 404 /);
    expect(raw.answer.head).toMatch(/content-type: application\/json\r\n/i);
    expect(raw.answer.body.toString()).toContain('"message":"No such container: ghost"');
  });

  it('of a kind that is not served is refused plainly', async () => {
    for (const [url, protocol] of [
      ['/session', 'h2c'],
      ['/grpc', 'h2c'],
    ]) {
      const raw = await client();
      raw.send(`POST ${url} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: ${protocol}\r\n\r\n`);
      await raw.until(() => raw.ended);
      expect(raw.answer.head).toMatch(/^HTTP\/1\.1 501 /);
    }
  });

  it('hands on what the client asked for, detach keys as they are', async () => {
    services.container();
    const raw = await client();
    raw.send(`POST /containers/web/attach?logs=1&stdin=1&stderr=True&detachKeys=ctrl-x%2Cx HTTP/1.1\r\nHost: x\r\n${UPGRADE}\r\n`);
    await raw.until(() => raw.ended);
    expect(services.containers.calls.find(([name]) => name === 'attach')?.[2]).toEqual({
      stdin: true,
      stdout: false,
      stderr: true,
      logs: true,
      stream: false,
      detachKeys: 'ctrl-x,x',
    });
  });

  it('gets errors after the upgrade as text in the stream', async () => {
    services.container();
    const id = await services.execs.create('web', execRequest(['nothing']));
    services.execs.failStart = new Error('exec: "nothing": executable file not found in $PATH');
    const raw = await client();
    raw.send(`POST /exec/${id}/start HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n${UPGRADE}\r\n`);
    await raw.until(() => raw.ended);
    expect(frames(raw.answer.body)).toEqual([[1, 'exec: "nothing": executable file not found in $PATH\r\n']]);
  });

  it('holds the first frame until the client has taken the head', async () => {
    let asked = 0;
    unsent = () => (++asked < 4 ? 100 : 0);
    services.container();
    const id = await services.execs.create('web', execRequest(['echo']));
    const raw = await client();
    raw.send(`POST /exec/${id}/start HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n${UPGRADE}\r\n`);
    await raw.until(() => raw.ended);
    expect(asked).toBe(4);
    expect(raw.pieces[0]?.toString()).toMatch(/\r\n\r\n$/);
    expect(frames(Buffer.concat(raw.pieces.slice(1)))).toEqual([[1, 'echo\n']]);
  });

  it('goes on when nobody can tell', async () => {
    unsent = () => {
      throw new Error('EBADF');
    };
    services.container();
    const id = await services.execs.create('web', execRequest(['echo']));
    const raw = await client();
    raw.send(`POST /exec/${id}/start HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n${UPGRADE}\r\n`);
    await raw.until(() => raw.ended);
    expect(frames(raw.answer.body)).toEqual([[1, 'echo\n']]);
  });

  it('does not hold it for ever', async () => {
    unsent = () => 100;
    services.container();
    const id = await services.execs.create('web', execRequest(['echo']));
    const raw = await client();
    raw.send(`POST /exec/${id}/start HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n${UPGRADE}\r\n`);
    await raw.until(() => raw.ended);
    expect(frames(raw.answer.body)).toEqual([[1, 'echo\n']]);
  });

  it('holds up the writer while the client does not read', async () => {
    services.container();
    let written = 0;
    let stop = false;
    services.containers.attach = async (_name, _options, open) => {
      const stream = await open({ tty: true });
      while (!stop && written < 1000) {
        await stream.write('stdout', Buffer.alloc(64 * 1024));
        written++;
      }
    };
    const raw = await client();
    raw.socket.pause();
    raw.send(`POST /containers/web/attach?stream=1&stdout=1 HTTP/1.1\r\nHost: x\r\n${UPGRADE}\r\n`);
    // What lies between the two fills up, and then nothing more is written.
    for (let before = -1; before !== written || written === 0;) {
      before = written;
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    expect(written).toBeLessThan(100);
    stop = true;
  });

  it('tells the service when the client is gone', async () => {
    services.container();
    const { promise: gone, resolve } = Promise.withResolvers<void>();
    services.containers.attach = async (_name, _options, open) => {
      const stream = await open({ tty: true });
      stream.gone.addEventListener('abort', () => resolve());
      while (!stream.gone.aborted) {
        await stream.write('stdout', Buffer.from('x'));
        await new Promise((next) => setTimeout(next, 5));
      }
    };
    const raw = await client();
    raw.send(`POST /containers/web/attach?stream=1&stdout=1 HTTP/1.1\r\nHost: x\r\n${UPGRADE}\r\n`);
    await raw.until(headDone(raw));
    raw.close();
    await gone;
  });
});

describe('a raw stream without upgrade', () => {
  it('is 200 without length or chunks, ends with the connection, and keeps half closes apart', async () => {
    services.container({ path: 'cat', args: [], config: config({ openStdin: true }) });
    const raw = await client();
    raw.send('POST /v1.30/containers/web/attach?stream=1&stdin=1&stdout=1 HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\n\r\n');
    await raw.until(headDone(raw));
    expect(raw.answer.head).toMatch(/^HTTP\/1\.1 200 OK\r\nContent-Type: application\/vnd\.docker\.raw-stream/);
    expect(raw.answer.head).not.toMatch(/content-length|transfer-encoding/i);
    await services.containers.start('web');
    raw.send('one ');
    await raw.until(() => raw.text.includes('one'));
    raw.send('two');
    raw.halfClose();
    await raw.until(() => raw.ended);
    expect(
      frames(raw.answer.body)
        .map(([, text]) => text)
        .join(''),
    ).toBe('one two');
  });
});

describe('a websocket', () => {
  it('carries both directions unframed', async () => {
    services.container({ path: 'cat', args: [], config: config({ openStdin: true }) });
    const socket = new WebSocket(`ws+unix://${path}:/v1.50/containers/web/attach/ws?stream=1&stdin=1&stdout=1`);
    const got: Buffer[] = [];
    socket.on('message', (data) => got.push(data as Buffer));
    await new Promise((resolve, reject) => {
      socket.once('open', resolve);
      socket.once('error', reject);
    });
    await services.containers.start('web');
    socket.send('hello');
    while (got.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    expect(Buffer.concat(got).toString()).toBe('hello');
    const closed = new Promise((resolve) => socket.once('close', resolve));
    services.containers.finish('c'.repeat(64), 0);
    await closed;
  });

  it('is refused with a status when there is no such container', async () => {
    const socket = new WebSocket(`ws+unix://${path}:/containers/ghost/attach/ws?stream=1`);
    const error = await new Promise<Error>((resolve) => socket.once('error', resolve));
    expect(error.message).toContain('404');
  });

  it('with a broken handshake is refused, and the server goes on', async () => {
    services.container();
    const broken = await client();
    broken.send('GET /containers/web/attach/ws?stream=1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n');
    await broken.until(() => broken.ended);
    expect(broken.answer.head).toMatch(/^HTTP\/1\.1 400 /);
    const next = await client();
    next.send('GET /_ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
    await next.until(() => next.ended);
    expect(next.text).toContain('OK');
  });

  it('needs the handshake', async () => {
    services.container();
    const raw = await client();
    raw.send('GET /containers/web/attach/ws HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
    await raw.until(() => raw.ended);
    expect(raw.answer.head).toMatch(/^HTTP\/1\.1 400 /);
  });
});

describe('answers that last', () => {
  it('send the head of wait before there is a result', async () => {
    services.container({ path: 'sleep', args: ['9'], state: state({ status: 'running' }) });
    const raw = await client();
    raw.send('POST /containers/web/wait?condition=next-exit HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
    await raw.until(headDone(raw));
    expect(raw.answer.head).toMatch(/^HTTP\/1\.1 200 /);
    expect(raw.answer.head).toMatch(/content-type: application\/json/i);
    services.containers.finish('c'.repeat(64), 5);
    await raw.until(() => raw.ended);
    expect(raw.answer.body.toString()).toContain('{"StatusCode":5}');
    expect(raw.answer.body.toString()).not.toContain('Error');
  });

  it('send the head of events before the first one, replay, and go on without a gap', async () => {
    services.events.publish({ type: 'container', action: 'create', id: 'one', attributes: { image: 'busybox' } });
    const raw = await client();
    raw.send('GET /events?since=1 HTTP/1.1\r\nHost: x\r\n\r\n');
    await raw.until(() => raw.text.includes('"create"'));
    services.events.publish({ type: 'image', action: 'delete', id: 'two', attributes: {} });
    services.events.publish({ type: 'network', action: 'destroy', id: 'three', attributes: {} });
    await raw.until(() => raw.text.includes('"destroy"'));
    const [first, second, third] = raw.text
      .split('\r\n')
      .filter((line) => line.startsWith('{'))
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(first).toMatchObject({ status: 'create', id: 'one', from: 'busybox', Type: 'container', Action: 'create', scope: 'local' });
    expect(second).toMatchObject({ status: 'delete', id: 'two', Type: 'image' });
    expect(second).not.toHaveProperty('from');
    expect(third).not.toHaveProperty('status');
    expect(raw.text).toMatch(/"time":\d{10},"timeNano":\d{18}7}/);
  });

  it('end the events at once when `until` is past', async () => {
    const raw = await client();
    raw.send('GET /events?since=1&until=2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
    await raw.until(() => raw.ended);
    expect(raw.answer.head).toMatch(/^HTTP\/1\.1 200 /);
  });

  it('send each object of a pull in a chunk of its own', async () => {
    services.images.progress = [
      { status: 'Pulling from library/busybox', id: 'latest' },
      { status: 'Downloading', id: 'abc', current: 512, total: 1024 },
    ];
    const raw = await client();
    raw.send('POST /images/create?fromImage=busybox&tag=latest HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n');
    await raw.until(() => raw.ended);
    expect(raw.answer.head).toMatch(/transfer-encoding: chunked/i);
    const chunks = raw.answer.body
      .toString()
      .split(/(?:^|\r\n)[0-9a-f]+\r\n/)
      .filter((chunk) => chunk.startsWith('{'));
    expect(chunks).toHaveLength(2);
    expect(chunks[0]).toMatch(/}\r\n$/);
    expect(JSON.parse(chunks[1] ?? '')).toEqual({
      status: 'Downloading',
      progressDetail: { current: 512, total: 1024 },
      progress: `[${'='.repeat(25)}>${' '.repeat(25)}]     512B/1.024kB`,
      id: 'abc',
    });
  });

  it('cut the connection when an archive fails in the middle', async () => {
    services.container();
    const { Readable } = await import('node:stream');
    services.containers.export = async () =>
      Readable.from(
        (async function* () {
          yield Buffer.alloc(100_000);
          throw new Error('the disk is gone');
        })(),
      );
    const raw = await client();
    raw.send('GET /containers/web/export HTTP/1.1\r\nHost: x\r\n\r\n');
    await raw.until(() => raw.ended);
    expect(raw.answer.head).toMatch(/^HTTP\/1\.1 200 /);
    expect(raw.text).not.toMatch(/\r\n0\r\n\r\n$/);
  });

  it('abort the work when the client leaves, but not a stop', async () => {
    services.container({ path: 'sleep', args: [], state: state({ status: 'running' }) });
    const { promise: stopped, resolve } = Promise.withResolvers<void>();
    services.containers.stop = async () => {
      await new Promise((next) => setTimeout(next, 100));
      resolve();
    };
    const stop = await client();
    stop.send('POST /containers/web/stop HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n');
    await new Promise((next) => setTimeout(next, 20));
    stop.close();
    await stopped;
    const wait = await client();
    wait.send('POST /containers/web/wait HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n');
    await wait.until(headDone(wait));
    wait.close();
    const signal = services.containers.calls.find(([name]) => name === 'wait')?.[3] as AbortSignal;
    while (!signal.aborted) await new Promise((next) => setTimeout(next, 5));
  });
});

function execRequest(cmd: string[]) {
  return {
    attachStdin: true,
    attachStdout: true,
    attachStderr: true,
    tty: false,
    detachKeys: '',
    env: [],
    workingDir: '',
    user: '',
    privileged: false,
    cmd,
    consoleSize: undefined,
  };
}
