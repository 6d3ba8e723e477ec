import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer as createHttpServer } from 'node:http';
import { createServer as createHttpsServer, type Server } from 'node:https';
import { createServer, type AddressInfo, type Server as NetServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { ImageRoom, putImage } from '@gantry/test/fakes/image-room.js';
import { FakeRegistry } from '@gantry/test/fakes/registry.js';
import { testSettings } from '@gantry/test/fakes/settings.js';
import { sha256 } from '../contracts/ids.js';
import { parseReference } from '../content/reference.js';
import { Endpoints, isInternalAddress, isLoopbackHost } from './endpoints.js';
import { Registry } from './registry.js';
import { RegistryClient } from './registry-client.js';
import { Transport } from './transport.js';

// Names that are no loopback, so that nothing is insecure by default, and that lead here without a name server.
const HOST = '127-0-0-1.registry.test';
const hasOpenssl = spawnSync('openssl', ['version']).status === 0;
if (!hasOpenssl) console.log('skipped: registries by TLS need openssl');

let folder: string;
let server: Server;
const seen: { authorized: boolean; path: string }[] = [];
const file = (name: string): string => join(folder, name);
const openssl = (...args: string[]): void => void execFileSync('openssl', args, { cwd: folder, stdio: 'pipe' });

describe.skipIf(!hasOpenssl)('a registry by TLS', () => {
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'gantry-tls-'));
    openssl(
      'req',
      '-x509',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:P-256',
      '-nodes',
      '-keyout',
      'ca.key',
      '-out',
      'ca.crt',
      '-subj',
      '/CN=trial',
      '-days',
      '2',
    );
    for (const name of ['server', 'client']) {
      openssl(
        'req',
        '-newkey',
        'ec',
        '-pkeyopt',
        'ec_paramgen_curve:P-256',
        '-nodes',
        '-keyout',
        `${name}.key`,
        '-out',
        `${name}.csr`,
        '-subj',
        `/CN=${name}`,
      );
      await writeFile(file(`${name}.ext`), `subjectAltName=DNS:${HOST},DNS:localhost,IP:127.0.0.1\n`);
      openssl(
        'x509',
        '-req',
        '-in',
        `${name}.csr`,
        '-CA',
        'ca.crt',
        '-CAkey',
        'ca.key',
        '-CAcreateserial',
        '-out',
        `${name}.crt`,
        '-days',
        '2',
        '-extfile',
        `${name}.ext`,
      );
    }
    server = createHttpsServer(
      {
        key: readFileSync(file('server.key')),
        cert: readFileSync(file('server.crt')),
        ca: readFileSync(file('ca.crt')),
        requestCert: true,
        rejectUnauthorized: false,
      },
      (request, response) => {
        seen.push({ authorized: (request.socket as TLSSocket).authorized, path: request.url ?? '' });
        // A way out of TLS, for who would take it.
        if (request.url?.includes('/blobs/')) response.writeHead(307, { Location: `http://localhost:${port()}/elsewhere` });
        response.end('{}');
      },
    );
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  });
  afterAll(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    await rm(folder, { recursive: true });
  });
  beforeEach(() => {
    seen.length = 0;
  });

  const port = (): number => (server.address() as AddressInfo).port;
  const certs = async (name: string, files: Record<string, string>): Promise<string> => {
    const root = file(`certs-${name}`);
    await mkdir(join(root, `localhost:${port()}`), { recursive: true });
    for (const [to, from] of Object.entries(files)) await writeFile(join(root, `localhost:${port()}`, to), readFileSync(file(from)));
    return root;
  };
  /** Verifies, although the name is this machine's: what a registry elsewhere would see of us. */
  const ping = async (root: string | undefined): Promise<string> => {
    const endpoints = new Endpoints(testSettings({ certificateFolders: root === undefined ? [] : [root] }));
    const tls = { ...(await endpoints.tlsFor(`localhost:${port()}`)), verify: true };
    const client = new RegistryClient(
      new Transport('test'),
      endpoints,
      { origin: `https://localhost:${port()}`, tls, mirror: false },
      '',
      undefined,
    );
    return client.ping(AbortSignal.timeout(5_000));
  };

  it('is not talked to when nobody vouches for it', async () => {
    await expect(ping(undefined)).rejects.toMatchObject({ kind: 'unavailable', message: expect.stringMatching(/certificate/) as string });
    expect(seen).toEqual([]);
  });

  it('is known by the authority in its folder of certificates', async () => {
    await ping(await certs('ca', { 'ca.crt': 'ca.crt' }));
    expect(seen).toEqual([{ authorized: false, path: '/v2/' }]);
  });

  it('is shown our own certificate', async () => {
    await ping(await certs('client', { 'ca.crt': 'ca.crt', 'client.cert': 'client.crt', 'client.key': 'client.key' }));
    expect(seen).toEqual([{ authorized: true, path: '/v2/' }]);
  });

  it('cannot lead us out of TLS', async () => {
    const root = await certs('redirect', { 'ca.crt': 'ca.crt' });
    const endpoints = new Endpoints(testSettings({ certificateFolders: [root] }));
    const tls = await endpoints.tlsFor(`localhost:${port()}`);
    const client = new RegistryClient(
      new Transport('test'),
      endpoints,
      { origin: `https://localhost:${port()}`, tls, mirror: false },
      'a',
      undefined,
    );
    await expect(client.hasBlob(sha256('x'), AbortSignal.timeout(5_000))).rejects.toThrow(
      'redirects from TLS to http://, which is refused',
    );
    expect(seen).toHaveLength(1);
  });

  it('tells what is missing in that folder', async () => {
    await expect(ping(await certs('lost', { 'client.cert': 'client.crt' }))).rejects.toThrow(
      'missing key client.key for client certificate client.cert',
    );
    await expect(ping(await certs('lost2', { 'client.key': 'client.key' }))).rejects.toThrow(
      'missing client certificate client.cert for key client.key',
    );
  });

  it('on this machine needs no authority', async () => {
    const registry = new Registry(testSettings({}));
    const clients = await registry.forPull(parseReference(`localhost:${port()}/a`), undefined);
    expect((await registry.firstWorking(clients, (client) => client.ping(AbortSignal.timeout(5_000)))).client.endpoint.origin).toBe(
      `https://localhost:${port()}`,
    );
    registry.close();
  });
});

describe('the addresses of a registry', () => {
  const origins = async (domain: string, settings: Parameters<typeof testSettings>[0] = {}): Promise<string[]> =>
    (await new Endpoints(testSettings(settings)).forPull(domain)).map(
      (endpoint) => endpoint.origin + (endpoint.tls.verify ? '' : ' unverified'),
    );

  it.each<[string, Parameters<typeof testSettings>[0], string[]]>([
    ['docker.io', {}, ['https://registry-1.docker.io']],
    ['docker.io', { registryMirrors: ['https://mirror.test/'] }, ['https://mirror.test', 'https://registry-1.docker.io']],
    ['quay.io', { registryMirrors: ['https://mirror.test'] }, ['https://quay.io']],
    ['localhost:5000', {}, ['https://localhost:5000 unverified', 'http://localhost:5000 unverified']],
    ['127.8.9.1', {}, ['https://127.8.9.1 unverified', 'http://127.8.9.1 unverified']],
    ['[::1]:5000', {}, ['https://[::1]:5000 unverified', 'http://[::1]:5000 unverified']],
    ['10.1.2.3:5000', {}, ['https://10.1.2.3:5000']],
    ['10.1.2.3:5000', { insecureRegistries: ['10.0.0.0/8'] }, ['https://10.1.2.3:5000 unverified', 'http://10.1.2.3:5000 unverified']],
    ['r.test:5000', { insecureRegistries: ['r.test:5000'] }, ['https://r.test:5000 unverified', 'http://r.test:5000 unverified']],
    ['r.test:5001', { insecureRegistries: ['r.test:5000'] }, ['https://r.test:5001']],
    ['127.0.0.1.evil.test', {}, ['https://127.0.0.1.evil.test']],
  ])('%s with %j', async (domain, settings, expected) => {
    expect(await origins(domain, settings)).toEqual(expected);
  });

  it('are not computed from a network that is none', () => {
    expect(() => new Endpoints(testSettings({ insecureRegistries: ['10.0.0.0/99'] }))).toThrow('no such network');
  });

  it('includes plain HTTP for nobody else, even when TLS fails', async () => {
    let connections = 0;
    const bytes: Buffer[] = [];
    const trap: NetServer = createServer((socket) => {
      connections++;
      socket.on('data', (chunk) => {
        bytes.push(Buffer.from(chunk));
        socket.end('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}');
      });
      socket.on('error', () => undefined);
    });
    await new Promise<void>((resolve) => trap.listen(0, '127.0.0.1', resolve));
    try {
      const { port } = trap.address() as AddressInfo;
      const endpoints = new Endpoints(testSettings({}));
      const tls = { ...(await endpoints.tlsFor('elsewhere.test')), verify: true };
      const secure = { origin: `https://localhost:${port}`, tls, mirror: false };
      const client = new RegistryClient(new Transport('test'), endpoints, secure, 'a', undefined);
      const registry = new Registry(testSettings({}));
      await expect(registry.firstWorking([client], (one) => one.manifest('v', AbortSignal.timeout(5_000)))).rejects.toMatchObject({
        kind: 'unavailable',
      });
      registry.close();
      expect(connections).toBe(1);
      expect(Buffer.concat(bytes).toString('latin1')).not.toContain('GET ');
    } finally {
      trap.close();
    }
  });
});

describe('an address', () => {
  it.each([
    ['127.1.2.3', true, true],
    ['::1', true, true],
    ['[::1]', true, true],
    ['::ffff:127.0.0.1', true, true],
    ['localhost', true, true],
    ['169.254.169.254', false, true],
    ['0.0.0.0', false, true],
    ['fe80::1', false, true],
    ['127.evil.test', false, false],
    ['localhost.evil.test', false, false],
    ['10.0.0.1', false, false],
  ])('%s: of this machine %s, internal %s', (host, own, internal) => {
    expect([isLoopbackHost(host), isInternalAddress(host)]).toEqual([own, internal]);
  });
});

describe('a proxy', () => {
  it('stands between us and every registry but those of this machine', async () => {
    const asked: string[] = [];
    const proxy = createHttpServer((request, response) => {
      asked.push(request.url ?? '');
      response.end('{}');
    });
    await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
    const own = await new FakeRegistry().start();
    const transport = new Transport('test', 5_000, { HTTP_PROXY: `http://127.0.0.1:${(proxy.address() as AddressInfo).port}` });
    try {
      const tls = { verify: false, ca: undefined, cert: undefined, key: undefined };
      const endpoints = new Endpoints(testSettings({ insecureRegistries: ['r.test'] }));
      for (const origin of ['http://r.test', `http://${own.host}`])
        await new RegistryClient(transport, endpoints, { origin, tls, mirror: false }, '', undefined).ping(AbortSignal.timeout(5_000));
      expect(asked).toEqual(['http://r.test/v2/']);
      expect(own.requests).toHaveLength(1);
    } finally {
      transport.close();
      await own.stop();
      proxy.closeAllConnections();
      proxy.close();
    }
  });
});

describe('mirrors and stalled registries', () => {
  let registry: FakeRegistry;
  let mirror: FakeRegistry;
  beforeEach(async () => {
    registry = await new FakeRegistry().start();
    mirror = await new FakeRegistry().start();
  });
  afterEach(async () => {
    await registry.stop();
    await mirror.stop();
  });

  it('a mirror serves what is asked of the Hub, without our credentials', async () => {
    const room = await ImageRoom.open({ registryMirrors: [`http://${mirror.host}`] });
    try {
      const image = putImage(mirror, 'library/busybox', 'latest', [Buffer.from('mirrored')]);
      const auth = { username: 'me', password: 'secret', identityToken: '', registryToken: 'token', serverAddress: '' };
      const lines = await room.pull('busybox', { tag: 'latest', auth });
      expect(lines[0]).toBe('latest: Pulling from library/busybox');
      expect(lines.at(-1)).toBe('Status: Downloaded newer image for busybox:latest');
      expect(room.images.resolve('busybox').id).toBe(image.id);
      for (const request of mirror.requests) expect(request.headers.authorization).toBeUndefined();
    } finally {
      await room.close();
    }
  });

  it('what stands after a mirror in the list stands in for it', async () => {
    const pool = new Registry(testSettings({}));
    putImage(registry, 'a', 'v', [Buffer.from('x')]);
    mirror.faults = [{ on: /./, status: 500 }];
    const endpoints = new Endpoints(testSettings({}));
    const transport = new Transport('test');
    const client = (host: string, isMirror: boolean): RegistryClient =>
      new RegistryClient(
        transport,
        endpoints,
        { origin: `http://${host}`, tls: { verify: false, ca: undefined, cert: undefined, key: undefined }, mirror: isMirror },
        'a',
        undefined,
      );
    const clients = [client(mirror.host, true), client(registry.host, false)];
    const { client: answered } = await pool.firstWorking(clients, (one) => one.manifest('v', AbortSignal.timeout(5_000)));
    expect(answered).toBe(clients[1]);
    transport.close();
    pool.close();
  });

  it('a registry that says nothing for a while is given up', async () => {
    registry.faults = [{ on: /GET/, delayMs: 60_000 }];
    const endpoints = new Endpoints(testSettings({}));
    const tls = { verify: false, ca: undefined, cert: undefined, key: undefined };
    const transport = new Transport('test', 200);
    const client = new RegistryClient(transport, endpoints, { origin: `http://${registry.host}`, tls, mirror: false }, 'a', undefined);
    await expect(client.ping(new AbortController().signal)).rejects.toThrow('nothing was sent or received');
    transport.close();
  });
});
