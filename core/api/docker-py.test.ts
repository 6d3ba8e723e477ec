import { execFile, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { state } from '../../test/fakes/records.js';
import { FakeLog, FakeServices } from '../../test/fakes/services.js';
import { createServer, type ApiServer } from './server.js';

const PYTHON = '/usr/bin/python3';
const there = spawnSync(PYTHON, ['-c', 'import docker']).status === 0;
if (!there) console.log('skipped: no docker module for Python on this machine');

/** The real call where the addon is built; else the server pauses instead. */
const unsent = await import('../../native/net.js').then(
  ({ net }) => ({ unsent: (fd: number) => net.unsent(fd) }),
  () => ({}),
);

let folder: string;
let services: FakeServices;
let server: ApiServer;

/** Runs a script with `client` bound to this server; what it prints is compared. */
function python(script: string): Promise<string> {
  const program = `import docker, json\nclient = docker.DockerClient(base_url='unix://${folder}/api.sock', version='auto', timeout=10)\n${script}`;
  return new Promise((resolve, reject) => {
    execFile(PYTHON, ['-c', program], { timeout: 90_000 }, (error, out, err) => (error ? reject(new Error(err)) : resolve(out)));
  });
}

describe.skipIf(!there)('docker-py', () => {
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'gantry-api-'));
    services = new FakeServices();
    server = await createServer({ services, log: new FakeLog(), ...unsent });
    await server.listen({ kind: 'unix', path: join(folder, 'api.sock') });
    services.container({
      id: '5'.repeat(64),
      name: 'up',
      path: 'sleep',
      state: state({ status: 'running', startedAt: '2026-01-01T00:00:00Z' }),
    });
  });
  afterAll(async () => {
    await server.close();
    rmSync(folder, { recursive: true, force: true });
  });

  it('finds the version, lists and tells absent things by their class', async () => {
    const out = await python(`
print(client.ping(), client.info()['Driver'], [c.name for c in client.containers.list()], client.images.list()[0].tags)
for find, kind in ((client.images.get, docker.errors.ImageNotFound), (client.containers.get, docker.errors.NotFound), (client.volumes.get, docker.errors.NotFound), (client.networks.get, docker.errors.NotFound)):
    try:
        find('ghost')
    except kind as error:
        print(type(error).__name__)
print(client.df()['LayersSize'])
`);
    expect(out).toBe("True overlay2 ['up'] ['busybox:latest']\nImageNotFound\nNotFound\nNotFound\nNotFound\n4200000\n");
  });

  it('runs a container, takes its output and its exit code', async () => {
    const out = await python(`
print(client.containers.run('busybox', ['echo', 'hello'], remove=False).decode(), end='')
try:
    client.containers.run('busybox', 'fail', name='failing', stderr=True)
except docker.errors.ContainerError as error:
    print(error.exit_status, error.stderr.decode(), end='')
print(client.containers.get('failing').logs(stdout=False, stderr=True).decode(), end='')
`);
    expect(out).toBe('hello\n3 it failed\nit failed\n');
  });

  it('loses nothing of an exec whose output comes at once', async () => {
    const out = await python(`
up = client.containers.get('up')
for i in range(20):
    code, output = up.exec_run(['echo', str(i)])
    assert (code, output) == (7, ('echo %d\\n' % i).encode()), (i, code, output)
code, sock = up.exec_run(['cat'], stdin=True, socket=True, tty=True)
import socket as s
raw = sock._sock
raw.sendall(b'ping')
raw.shutdown(s.SHUT_WR)
got = b''
while True:
    part = raw.recv(100)
    if not part: break
    got += part
print(got)
`);
    expect(out).toBe("b'pingbye\\n'\n");
  });

  it('reads progress, failures in it, and events', async () => {
    services.images.progress = [
      { status: 'Pulling fs layer', id: 'abc' },
      { status: 'Pull complete', id: 'abc' },
    ];
    expect(await python("print([line['status'] for line in client.api.pull('busybox', tag='latest', stream=True, decode=True)])")).toBe(
      "['Pulling fs layer', 'Pull complete']\n",
    );
    services.images.progress = [{ stream: 'Loaded image: busybox:latest\n' }];
    expect(await python("print(client.images.load(b'x')[0].tags)")).toBe("['busybox:latest']\n");
    services.images.failure = new Error('no space left');
    expect(
      await python(`
try:
    client.images.load(b'x')
except docker.errors.ImageLoadError as error:
    print(error)
`),
    ).toContain('no space left');
    services.images.failure = undefined;
    expect(await python("import time\nprint([e['Action'] for e in client.events(since=1, until=int(time.time()), decode=True)][:2])")).toBe(
      "['start', 'die']\n",
    );
  });

  it('copies, and reads statistics', async () => {
    const out = await python(`
up = client.containers.get('up')
print(up.put_archive('/', b'tar'))
bits, stat = up.get_archive('/x')
print(b''.join(bits), stat['name'], stat['mode'])
print(up.stats(stream=False)['name'])
print(next(iter(up.stats(stream=True, decode=True)))['name'])
`);
    expect(out).toBe("True\nb'archive' x 420\n/up\n/up\n");
  });
});
