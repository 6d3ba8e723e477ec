import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { Agent, request as httpRequest } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as tlsConnect, type ConnectionOptions } from 'node:tls';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { certificates } from '../../test/fakes/certificates.js';
import { frames, RawClient } from '../../test/fakes/raw-client.js';
import { config } from '../../test/fakes/records.js';
import { FakeLog, FakeServices } from '../../test/fakes/services.js';
import type { AuthorizationPlugin } from '../contracts/authorization.js';
import { createServer, type ApiServer } from './server.js';

let folder: string;
let path: string;
let services: FakeServices;
let server: ApiServer;
const clients: RawClient[] = [];

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
  server = await createServer({ services, log: new FakeLog() });
  await server.listen({ kind: 'unix', path });
});

afterEach(async () => {
  for (const each of clients.splice(0)) each.close();
  await server.close();
  rmSync(folder, { recursive: true, force: true });
});

describe('the listeners', () => {
  it('make a unix socket for its group alone', () => {
    expect(statSync(path).mode & 0o777).toBe(0o660);
  });

  it('take the place of a dead socket, and not of a live one or of a file', async () => {
    await expect(server.listen({ kind: 'unix', path })).rejects.toThrow('another process listens there');
    const dead = join(folder, 'dead.sock');
    spawnSync(process.execPath, [
      '-e',
      `require('net').createServer().listen(${JSON.stringify(dead)}, () => process.kill(process.pid, 9))`,
    ]);
    expect(statSync(dead).isSocket()).toBe(true);
    expect(await server.listen({ kind: 'unix', path: dead })).toBe(dead);
    const file = join(folder, 'file');
    writeFileSync(file, 'precious');
    await expect(server.listen({ kind: 'unix', path: file })).rejects.toThrow('not a socket');
    expect(readFileSync(file, 'utf8')).toBe('precious');
  });

  it('keep connections for more requests', async () => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const ports = new Set<unknown>();
    for (let i = 0; i < 3; i++) {
      await new Promise<void>((resolve, reject) => {
        const req = httpRequest({ socketPath: path, path: '/_ping', agent }, (res) => {
          ports.add(req.socket);
          expect(res.headers['keep-alive']).toBe('timeout=1800');
          res.resume();
          res.on('end', resolve);
        });
        req.on('error', reject);
        req.end();
      });
    }
    expect(ports.size).toBe(1);
    agent.destroy();
  });

  it('answer what is no HTTP with 400', async () => {
    const raw = await client();
    raw.send('hello there\r\n\r\n');
    await raw.until(() => raw.ended);
    expect(raw.answer.head).toMatch(/^HTTP\/1\.1 400 /);
  });

  it('refuse web pages and strange host names on TCP', async () => {
    const address = await server.listen({ kind: 'tcp', host: '127.0.0.1', port: 0 });
    const get = async (headers: Record<string, string>): Promise<number> => {
      const [host, port] = address.split(':');
      return new Promise((resolve, reject) => {
        const req = httpRequest({ host, port, path: '/_ping', headers }, (res) => {
          res.resume();
          resolve(res.statusCode ?? 0);
        });
        req.on('error', reject);
        req.end();
      });
    };
    expect(await get({})).toBe(200);
    expect(await get({ Host: 'localhost:2375' })).toBe(200);
    expect(await get({ Host: 'evil.example' })).toBe(403);
    expect(await get({ Origin: 'http://localhost' })).toBe(403);
  });

  it('refuse a TCP client without certificate, and hijack over TLS with half close', async () => {
    const tls = certificates(folder);
    const address = await server.listen({ kind: 'tcp', host: '127.0.0.1', port: 0, tls: { ...tls.server, verifyClients: true } });
    const port = Number(address.split(':')[1]);
    const anonymous = tlsConnect({ port, host: '127.0.0.1', ca: tls.server.ca, servername: 'localhost' });
    anonymous.on('error', () => undefined);
    await new Promise((resolve) => anonymous.once('close', resolve));

    services.container({ path: 'cat', args: [], config: config({ openStdin: true }) });
    const options: ConnectionOptions & { allowHalfOpen: boolean } = {
      port,
      host: '127.0.0.1',
      ...tls.client,
      servername: 'localhost',
      allowHalfOpen: true,
    };
    const socket = tlsConnect(options);
    await new Promise((resolve, reject) => {
      socket.once('secureConnect', resolve);
      socket.once('error', reject);
    });
    const raw = new RawClient(socket);
    clients.push(raw);
    raw.send(`POST /containers/web/attach?stream=1&stdin=1&stdout=1 HTTP/1.1\r\nHost: strange.example\r\n${UPGRADE}\r\n`);
    await raw.until(headDone(raw));
    await services.containers.start('web');
    raw.send('over TLS');
    raw.halfClose();
    await raw.until(() => raw.ended);
    expect(frames(raw.answer.body)).toEqual([[1, 'over TLS']]);
  });

  it('answer what is at work when they close, and take no more', async () => {
    services.container();
    const { promise: under, resolve: arrived } = Promise.withResolvers<void>();
    services.containers.pause = async () => {
      arrived();
      await new Promise((resolve) => setTimeout(resolve, 100));
    };
    const raw = await client();
    raw.send('POST /containers/web/pause HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n');
    await under;
    const idle = await client();
    await server.close();
    await raw.until(() => raw.ended);
    await idle.until(() => idle.ended);
    expect(raw.answer.head).toMatch(/^HTTP\/1\.1 204 /);
    await expect(RawClient.connect({ path })).rejects.toThrow();
  });

  it('tell access plugins who asks: the user of a unix socket, the name of a certificate', async () => {
    const users: string[] = [];
    const plugin: AuthorizationPlugin = {
      name: 'gate',
      authorizeRequest: async ({ user, authenticationMethod }) => {
        users.push(`${user} ${authenticationMethod}`);
        return { allow: true };
      },
      authorizeResponse: async ({ statusCode }) => {
        users.push(String(statusCode));
        return statusCode === 101 ? { allow: false, reason: 'no terminals' } : { allow: true };
      },
    };
    const guarded = await createServer({ services, log: new FakeLog(), authorization: () => [plugin], peerUid: () => 1000 });
    const unix = join(folder, 'guarded.sock');
    await guarded.listen({ kind: 'unix', path: unix });
    const tls = certificates(folder);
    const address = await guarded.listen({ kind: 'tcp', host: '127.0.0.1', port: 0, tls: { ...tls.server, verifyClients: true } });
    const ask = 'GET /version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n';

    const local = await RawClient.connect({ path: unix });
    local.send(ask);
    await local.until(() => local.ended);
    const remote = new RawClient(
      tlsConnect({ port: Number(address.split(':')[1]), host: '127.0.0.1', ...tls.client, servername: 'localhost' }),
    );
    remote.send(ask);
    await remote.until(() => remote.ended);
    expect(users).toEqual(['uid:1000 ', '200', 'client TLS', '200']);

    services.container();
    const attached = await RawClient.connect({ path: unix });
    attached.send(`POST /containers/web/attach?stream=1 HTTP/1.1\r\nHost: x\r\n${UPGRADE}\r\n`);
    await attached.until(() => attached.ended);
    expect(attached.answer.head).toMatch(/^HTTP\/1\.1 403 /);
    expect(attached.text).toContain('authorization denied by plugin gate: no terminals');
    await guarded.close();
  });

  it('end open streams when they close', async () => {
    services.container();
    const raw = await client();
    raw.send('GET /events HTTP/1.1\r\nHost: x\r\n\r\n');
    await raw.until(headDone(raw));
    await server.close();
    await raw.until(() => raw.ended);
  });
});
