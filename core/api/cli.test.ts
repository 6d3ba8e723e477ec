import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { existsSync, writeFileSync } from 'node:fs';
import { certificates } from '../../test/fakes/certificates.js';
import { FakeLog, FakeServices } from '../../test/fakes/services.js';
import { createServer, type ApiServer } from './server.js';

const DOCKER = ['/usr/local/bin/docker', '/usr/bin/docker'].find((path) => existsSync(path));
if (!DOCKER) console.log('skipped: no docker CLI on this machine');

let folder: string;
let services: FakeServices;
let server: ApiServer;

interface Run {
  code: number;
  out: string;
  err: string;
}

function docker(args: string[], input?: string): Promise<Run> {
  return new Promise((resolve) => {
    const child = execFile(
      DOCKER ?? '',
      args,
      { env: { ...process.env, DOCKER_HOST: `unix://${folder}/api.sock`, DOCKER_CONFIG: folder, HOME: folder }, timeout: 90_000 },
      (error, out, err) => resolve({ code: error ? Number(error.code ?? 1) : 0, out, err }),
    );
    child.stdin?.end(input ?? '');
  });
}

describe.skipIf(!DOCKER)('the docker CLI', () => {
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'gantry-api-'));
    services = new FakeServices();
    server = await createServer({ services, log: new FakeLog() });
    await server.listen({ kind: 'unix', path: join(folder, 'api.sock') });
  });

  afterEach(async () => {
    await server.close();
    await rm(folder, { recursive: true, force: true });
  });

  it('prints both versions', async () => {
    const { code, out, err } = await docker(['version']);
    expect(err).toBe('');
    expect(code).toBe(0);
    expect(out).toMatch(/Server: Gantry Engine/);
    expect(out).toMatch(/API version: +1\.51 \(minimum version 1\.24\)/);
  });

  it('prints info', async () => {
    const { code, out } = await docker(['info']);
    expect(code).toBe(0);
    expect(out).toContain('Storage Driver: overlay2');
    expect(out).toContain('Swarm: inactive');
  });

  it('lists and inspects', async () => {
    services.container({ state: { ...services.container().state, status: 'running', startedAt: new Date().toISOString() } });
    await services.volumes.create({ name: 'data', driver: '', options: {}, labels: {} });
    expect((await docker(['ps'])).out).toMatch(/cccccccccccc +busybox +"sh -c 'sleep 1'"/);
    expect((await docker(['images'])).out).toMatch(/busybox +latest +aaaaaaaaaaaa/);
    expect((await docker(['inspect', '-f', '{{.State.Status}} {{.NetworkSettings.Networks.bridge.IPAddress}}', 'web'])).out).toBe(
      'running 172.17.0.2\n',
    );
    expect((await docker(['image', 'inspect', '-f', '{{.Os}}/{{.Architecture}}', 'busybox'])).out).toBe('linux/amd64\n');
    expect((await docker(['network', 'ls'])).out).toMatch(/bridge +bridge +local/);
    expect((await docker(['volume', 'ls', '-q'])).out).toBe('data\n');
    expect((await docker(['system', 'df'])).out).toMatch(/Local Volumes +1 +1 +10B/);
    expect((await docker(['history', '--no-trunc', 'busybox'])).out).toContain('<missing>');
  });

  it('runs a container and hands on its output, errors and exit code', async () => {
    expect(await docker(['run', '--rm', 'busybox', 'echo', 'hello', 'world'])).toEqual({ code: 0, out: 'hello world\n', err: '' });
    expect(await docker(['run', 'busybox', 'fail'])).toEqual({ code: 3, out: '', err: 'it failed\n' });
  });

  it('sends input and its end to a container', async () => {
    expect(await docker(['run', '-i', '--rm', 'busybox', 'cat'], 'line 1\nline 2\n')).toEqual({
      code: 0,
      out: 'line 1\nline 2\n',
      err: '',
    });
  });

  it('runs an exec with input and takes its exit code', async () => {
    services.container();
    expect(await docker(['exec', '-i', 'web', 'cat'], 'input\n')).toEqual({ code: 7, out: 'input\nbye\n', err: '' });
  });

  it('prints logs and events', async () => {
    await docker(['run', '--name', 'one', 'busybox', 'echo', 'logged']);
    expect((await docker(['logs', '-t', 'one'])).out).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z logged\n$/);
    const events = await docker([
      'events',
      '--since',
      '1',
      '--until',
      String(Math.floor(Date.now() / 1000)),
      '--format',
      '{{.Type}} {{.Action}}',
    ]);
    expect(events.out).toBe('container start\ncontainer die\n');
  });

  it('draws the progress of a pull, and reports a failure inside it', async () => {
    services.images.progress = [
      { status: 'Pulling from library/busybox', id: 'latest' },
      { status: 'Pulling fs layer', id: 'abc' },
      { status: 'Downloading', id: 'abc', current: 1, total: 2 },
      { status: 'Pull complete', id: 'abc' },
      { status: 'Status: Downloaded newer image for busybox:latest' },
    ];
    const pulled = await docker(['pull', 'busybox']);
    expect(pulled.code).toBe(0);
    expect(pulled.out).toContain('abc: Pull complete');
    services.images.failure = new Error('connection reset');
    const failed = await docker(['pull', 'busybox']);
    expect(failed.code).toBe(1);
    expect(failed.err).toContain('connection reset');
  });

  it('exits with 127 and 126 by the words of a failed start', async () => {
    const failures = services.containers.failures;
    failures.set('start', new Error('exec: "nothing": executable file not found in $PATH: unknown'));
    expect((await docker(['run', 'busybox', 'nothing'])).code).toBe(127);
    failures.set('start', new Error('exec: "/etc": permission denied: unknown'));
    expect((await docker(['run', 'busybox', '/etc'])).code).toBe(126);
  });

  it('copies out and in, and shows statistics', async () => {
    services.container({ state: { ...services.container().state, status: 'running', startedAt: new Date().toISOString() } });
    expect(await docker(['stats', '--no-stream', '--format', '{{.Name}} {{.CPUPerc}}'])).toMatchObject({ code: 0, out: 'web 0.00%\n' });
    services.containers.stat = { name: 'tmp', size: 0, mode: 0o040755, mtimeMs: 0, linkTarget: '' };
    expect((await docker(['cp', '-', 'web:/tmp'], 'not really a tar')).code).toBe(0);
    expect(services.containers.extracted.toString()).toBe('not really a tar');
    expect((await docker(['top', 'web'])).out).toContain('sleep  1');
    expect((await docker(['diff', 'web'])).out).toBe('C /etc\nA /etc/x\nD /etc/y\n');
  });

  it('speaks TLS with a certificate, and not without one', async () => {
    const { server: own, client } = certificates(folder);
    const address = await server.listen({ kind: 'tcp', host: '127.0.0.1', port: 0, tls: { ...own, verifyClients: true } });
    writeFileSync(join(folder, 'cert.pem'), client.cert);
    writeFileSync(join(folder, 'key.pem'), client.key);
    const host = `tcp://localhost:${address.split(':')[1]}`;
    const run = await docker(['--host', host, '--tlsverify', 'run', '-i', '--rm', 'busybox', 'cat'], 'over TLS');
    expect(run).toEqual({ code: 0, out: 'over TLS', err: '' });
    await rm(join(folder, 'cert.pem'));
    await rm(join(folder, 'key.pem'));
    expect((await docker(['--host', host, '--tlsverify', 'ps'])).code).toBe(1);
  });

  it('finds out that there is no object of a name', async () => {
    expect(await docker(['inspect', 'ghost'])).toMatchObject({ code: 1, err: expect.stringContaining('No such object: ghost') });
  });

  it('exits with 125 when the engine refuses', async () => {
    services.container();
    const run = await docker(['run', '--name', 'web', 'busybox', 'true']);
    expect(run.code).toBe(125);
    expect(run.err).toContain('The container name "/web" is already in use by container');
  });
});
