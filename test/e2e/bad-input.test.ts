import { createServer as createHttp } from 'node:http';
import { type AddressInfo, createServer } from 'node:net';
import { spawnSync } from 'node:child_process';
import { closeSync, existsSync, ftruncateSync, mkdirSync, mkdtempSync, openSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createHash } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type KernelState, kernelState, leftBehind } from './audit.js';
import { Engine, whyNoEngine } from './engine.js';
import { openTrial, type Trial } from './trial.js';

const reason = whyNoEngine();
const sha256 = (bytes: Buffer) => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

/** One ustar entry. */
function entry(name: string, content: string): Buffer {
  const header = Buffer.alloc(512);
  header.write(name, 0);
  header.write('0000644\0', 100);
  header.write('0000000\0', 108);
  header.write('0000000\0', 116);
  header.write(`${content.length.toString(8).padStart(11, '0')}\0`, 124);
  header.write('00000000000\0', 136);
  header.write('        ', 148);
  header.write('0', 156);
  header.write('ustar\x0000', 257);
  let sum = 0;
  for (const byte of header) sum += byte;
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return Buffer.concat([header, Buffer.from(content), Buffer.alloc((512 - (content.length % 512)) % 512)]);
}

/** A registry that serves one image as it is told, lies and resets included. */
function lyingRegistry(layer: Buffer, blobFault: 'none' | 'reset' | 'corrupt') {
  const tar = layer;
  const gz = gzipSync(tar);
  const config = Buffer.from(
    JSON.stringify({ architecture: 'amd64', os: 'linux', config: {}, rootfs: { type: 'layers', diff_ids: [sha256(tar)] } }),
  );
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: 'application/vnd.docker.distribution.manifest.v2+json',
      config: { mediaType: 'application/vnd.docker.container.image.v1+json', size: config.length, digest: sha256(config) },
      layers: [{ mediaType: 'application/vnd.docker.image.rootfs.diff.tar.gzip', size: gz.length, digest: sha256(gz) }],
    }),
  );
  const server = createHttp((request, response) => {
    const url = request.url ?? '';
    if (url === '/v2/') response.end('{}');
    else if (url.includes('/manifests/')) {
      response.setHeader('content-type', 'application/vnd.docker.distribution.manifest.v2+json');
      response.setHeader('docker-content-digest', sha256(manifest));
      response.end(request.method === 'HEAD' ? undefined : manifest);
    } else if (url.endsWith(sha256(config))) response.end(config);
    else if (blobFault === 'reset') {
      response.writeHead(200, { 'content-length': gz.length });
      response.write(gz.subarray(0, gz.length >> 1));
      setTimeout(() => response.socket?.resetAndDestroy(), 20);
    } else if (blobFault === 'corrupt') {
      const wrong = Buffer.from(gz);
      wrong[wrong.length >> 1] = (wrong[wrong.length >> 1] ?? 0) ^ 0xff;
      response.end(wrong);
    } else response.end(gz);
  });
  return new Promise<{ name: string; close: () => Promise<void> }>((done) =>
    server.listen(0, '127.0.0.1', () =>
      done({
        name: `127.0.0.1:${(server.address() as AddressInfo).port}/bad/image:latest`,
        close: () => new Promise((closed) => (server.closeAllConnections(), server.close(() => closed()))),
      }),
    ),
  );
}

describe.skipIf(reason)(`bad input${reason ? ` (skipped: ${reason})` : ''}`, () => {
  let trial: Trial;
  let before: KernelState;
  let records: string;
  const docker = (...args: string[]) => trial.engine.docker(args);
  /** Every record that a failed call could have left. */
  const recorded = () =>
    JSON.stringify([
      docker('ps', '-aq').stdout,
      docker('images', '-q').stdout,
      docker('volume', 'ls', '-q').stdout,
      docker('network', 'ls', '-q').stdout,
    ]);

  beforeAll(async () => {
    trial = await openTrial();
  });
  beforeEach(() => {
    before = kernelState(trial.engine.footprint);
    records = recorded();
  });
  afterEach(async () => {
    let left = leftBehind(before, kernelState(trial.engine.footprint));
    for (const until = Date.now() + 60_000; Date.now() < until && Object.keys(left).length > 0;) {
      await new Promise((done) => setTimeout(done, 20));
      left = leftBehind(before, kernelState(trial.engine.footprint));
    }
    expect(left).toEqual({});
    expect(recorded()).toBe(records);
    const bundles = join(trial.engine.folder, 'run/containers');
    expect(existsSync(bundles) ? readdirSync(bundles) : []).toEqual([]);
  });
  afterAll(async () => {
    if (trial) expect(await trial.close()).toEqual({});
  });

  it('names a missing image', () => {
    const result = docker('run', '--rm', '--pull', 'never', 'no-such-image');
    expect(result).toMatchObject({ code: 125 });
    expect(result.stderr).toContain('No such image: no-such-image:latest');
  });

  it('names what the registry does not have', () => {
    const result = docker('pull', `${trial.registry.address}/trial/busybox:missing`);
    expect(result.code).toBe(1);
    expect(result.stderr).toMatch(/manifest for .* not found: manifest unknown/);
  });

  it('names an unknown storage driver, runtime, network driver, log driver and volume driver', async () => {
    const body = (host: object) => ({ Image: trial.image, Cmd: ['true'], HostConfig: host });
    for (const host of [{ StorageOpt: { driver: 'zfs' } }, { Runtime: 'nonesuch' }, { LogConfig: { Type: 'nonesuch', Config: {} } }]) {
      const { status, body: answer } = await trial.engine.api<{ message: string }>('POST', '/containers/create', body(host));
      expect([400, 404], answer.message).toContain(status);
      expect(answer.message).toMatch(/zfs|nonesuch/);
    }
    expect(
      (await trial.engine.api<{ message: string }>('POST', '/networks/create', { Name: 'some', Driver: 'nonesuch' })).body.message,
    ).toContain('nonesuch');
    expect(
      (await trial.engine.api<{ message: string }>('POST', '/volumes/create', { Name: 'some', Driver: 'nonesuch' })).body.message,
    ).toContain('nonesuch');
  });

  it('says which feature a driver misses on this kernel', async () => {
    // overlay cannot have its upper folder on an overlay: a data root on one is such a host.
    const folder = mkdtempSync('/tmp/gantry-nested-');
    for (const name of ['lower', 'upper', 'work', 'merged']) mkdirSync(join(folder, name));
    expect(
      spawnSync('mount', [
        '-t',
        'overlay',
        'overlay',
        '-o',
        `lowerdir=${folder}/lower,upperdir=${folder}/upper,workdir=${folder}/work`,
        `${folder}/merged`,
      ]).status,
    ).toBe(0);
    try {
      await expect(Engine.start(['--storage-driver', 'overlay2', '--data-root', join(folder, 'merged/data')])).rejects.toThrow(
        /overlay2 cannot serve on this host.*overlay/,
      );
    } finally {
      spawnSync('umount', [join(folder, 'merged')]);
      rmSync(folder, { recursive: true, force: true });
    }
  });

  it('names who holds a name', () => {
    docker('create', '--name', 'taken', trial.image);
    try {
      const result = docker('create', '--name', 'taken', trial.image);
      expect(result.code).toBe(1);
      expect(result.stderr).toMatch(/Conflict\. The container name "\/taken" is already in use by container "[0-9a-f]{64}"/);
    } finally {
      docker('rm', 'taken');
    }
  });

  it('names a taken port and starts nothing', async () => {
    const holder = createServer();
    await new Promise<void>((done) => holder.listen(0, '127.0.0.1', done));
    const { port } = holder.address() as AddressInfo;
    try {
      const result = docker('run', '--rm', '-p', `127.0.0.1:${port}:80`, trial.image, 'true');
      expect(result.code).toBe(125);
      expect(result.stderr).toMatch(/port is already allocated|address already in use/);
      expect(result.stderr).toContain(String(port));
    } finally {
      holder.close();
      docker('rm', '-f', ...docker('ps', '-aq').stdout.split('\n').filter(Boolean));
    }
  });

  it('refuses a bad body with what is wrong in it', async () => {
    const call = (body: unknown) => trial.engine.api<{ message: string }>('POST', '/containers/create', body);
    expect(await call({ Image: trial.image, HostConfig: { Memory: 'lots' } })).toMatchObject({ status: 400 });
    expect(await call({ Image: trial.image, HostConfig: { Memory: 1000 } })).toMatchObject({
      status: 400,
      body: { message: expect.stringContaining('Minimum memory limit') as string },
    });
    expect(await call({ Image: trial.image, HostConfig: { AutoRemove: true, RestartPolicy: { Name: 'always' } } })).toMatchObject({
      status: 400,
    });
    expect(docker('run', '--rm', '--network', 'no-such-network', trial.image).stderr).toContain('no-such-network');
    docker('rm', ...docker('ps', '-aq').stdout.split('\n').filter(Boolean));
    expect(docker('run', '--cap-add', 'NONSENSE', '--rm', trial.image).code).toBe(125);
    expect((await trial.engine.api('POST', '/no/such/route')).status).toBe(404);
    expect((await trial.engine.api<{ message: string }>('POST', '/build')).status).toBe(501);
  });

  it('ends with 127 for a missing program, 126 for one that cannot be executed', () => {
    const missing = docker('run', '--rm', trial.image, 'no-such-program');
    expect(missing.code).toBe(127);
    expect(missing.stderr).toContain('executable file not found in $PATH');
    const path = docker('run', '--rm', trial.image, '/no/such/program');
    expect(path.code).toBe(127);
    expect(path.stderr).toContain('no such file or directory');
    const refused = docker('run', '--rm', trial.image, '/etc/passwd');
    expect(refused.code).toBe(126);
    expect(refused.stderr).toContain('permission denied');
    expect(docker('run', '--rm', '-u', 'nobody-at-all', trial.image, 'true').stderr).toContain('unable to find user nobody-at-all');
  });

  it('takes no blob whose digest does not match', async () => {
    const registry = await lyingRegistry(Buffer.concat([entry('file', 'x'.repeat(5000)), Buffer.alloc(1024)]), 'corrupt');
    try {
      const result = await trial.engine.dockerBeside(['pull', registry.name]);
      expect(result.code).toBe(1);
      expect(result.stderr).toMatch(/digest|verification/i);
    } finally {
      await registry.close();
    }
  });

  it('says so when a registry resets in the middle of a blob', async () => {
    const registry = await lyingRegistry(Buffer.concat([entry('file', 'x'.repeat(50_000)), Buffer.alloc(1024)]), 'reset');
    try {
      const result = await trial.engine.dockerBeside(['pull', registry.name]);
      expect(result.code).toBe(1);
      expect(result.stderr).not.toBe('');
    } finally {
      await registry.close();
    }
  }, 120_000);

  it('refuses a layer with a path that climbs out', async () => {
    const registry = await lyingRegistry(
      Buffer.concat([entry('../../../../../../../../tmp/gantry-climbed-out', 'x'), Buffer.alloc(1024)]),
      'none',
    );
    try {
      const result = await trial.engine.dockerBeside(['pull', registry.name]);
      expect(result.code).toBe(1);
      expect(result.stderr).toContain('gantry-climbed-out');
      expect(readdirSync('/tmp')).not.toContain('gantry-climbed-out');
    } finally {
      await registry.close();
    }
  });

  it('says that the disk is full, and goes on serving', async () => {
    const folder = mkdtempSync('/tmp/gantry-full-');
    const disk = join(folder, 'disk');
    const data = join(folder, 'data');
    mkdirSync(data);
    const fd = openSync(disk, 'w');
    ftruncateSync(fd, 24 << 20);
    closeSync(fd);
    expect(spawnSync('mkfs.ext4', ['-q', '-O', '^has_journal', disk]).status).toBe(0);
    expect(spawnSync('mount', ['-o', 'loop', disk, data]).status).toBe(0);
    const full = await Engine.start(['--data-root', join(data, 'root')]);
    try {
      expect(() => writeFileSync(join(data, 'ballast'), Buffer.alloc(64 << 20))).toThrow(/ENOSPC/);
      const result = full.docker(['pull', trial.image]);
      expect(result.code).toBe(1);
      expect(result.stderr).toMatch(/no space left on device/i);
      expect(full.docker(['images', '-q']).stdout).toBe('');
      rmSync(join(data, 'ballast'));
      expect(full.docker(['pull', '-q', trial.image]), full.log.slice(-2000)).toMatchObject({ code: 0 });
    } finally {
      expect(await full.stop()).toEqual({});
      spawnSync('umount', [data]);
      rmSync(folder, { recursive: true, force: true });
    }
  }, 240_000);
});
