// A small image made from Debian's busybox-static, and a real registry (Debian's docker-registry) on loopback that serves it:
// what the trial run, the tests and the bench work on without any network.
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { create } from 'tar';

const digestOf = (bytes) => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

/** The root file system as a folder: busybox with its applets, and the files that programs look for. */
export function makeRootfs(folder) {
  const busybox = ['/bin/busybox', '/usr/bin/busybox'].find((path) => existsSync(path));
  if (!busybox) throw new Error('busybox-static is not installed');
  for (const name of ['bin', 'etc', 'home', 'root', 'tmp', 'usr/bin', 'usr/sbin', 'var/www', 'var/spool', 'sbin', 'dev', 'proc', 'sys'])
    mkdirSync(join(folder, name), { recursive: true });
  chmodSync(join(folder, 'tmp'), 0o1777);
  chmodSync(join(folder, 'root'), 0o700);
  copyFileSync(busybox, join(folder, 'bin/busybox'));
  chmodSync(join(folder, 'bin/busybox'), 0o755);
  const applets = spawnSync(busybox, ['--list'], { encoding: 'utf8' }).stdout.trim().split('\n');
  for (const applet of applets) if (applet !== 'busybox') symlinkSync('/bin/busybox', join(folder, 'bin', applet));
  writeFileSync(
    join(folder, 'etc/passwd'),
    'root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/usr/sbin:/bin/false\nwww-data:x:33:33:www-data:/var/www:/bin/false\nnobody:x:65534:65534:nobody:/home:/bin/false\n',
  );
  writeFileSync(join(folder, 'etc/group'), 'root:x:0:\ndaemon:x:1:\nwww-data:x:33:\nstaff:x:50:nobody\nnogroup:x:65534:\n');
  writeFileSync(join(folder, 'var/www/index.html'), 'served by gantry\n');
}

/** The image as bytes: one layer, its configuration and manifest (Docker's schema 2). `env` and `cmd` go into the configuration. */
export async function makeImage(options = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'gantry-image-'));
  try {
    const rootfs = join(folder, 'rootfs');
    mkdirSync(rootfs);
    makeRootfs(rootfs);
    options.extend?.(rootfs);
    const archive = join(folder, 'layer.tar');
    // One fixed time: the same input gives the same digests.
    await create({ cwd: rootfs, file: archive, portable: true, mtime: new Date('2024-01-01T00:00:00Z') }, ['.']);
    const tar = readFileSync(archive);
    const layer = gzipSync(tar, { level: 6 });
    const config = Buffer.from(
      JSON.stringify({
        architecture: process.arch === 'arm64' ? 'arm64' : 'amd64',
        os: 'linux',
        created: '2024-01-01T00:00:00Z',
        config: {
          Env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', ...(options.env ?? [])],
          Cmd: options.cmd ?? ['sh'],
          ...options.config,
        },
        rootfs: { type: 'layers', diff_ids: [digestOf(tar)] },
        history: [{ created: '2024-01-01T00:00:00Z', created_by: 'COPY busybox / # buildkit' }],
      }),
    );
    const manifest = Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: 'application/vnd.docker.distribution.manifest.v2+json',
        config: { mediaType: 'application/vnd.docker.container.image.v1+json', size: config.length, digest: digestOf(config) },
        layers: [{ mediaType: 'application/vnd.docker.image.rootfs.diff.tar.gzip', size: layer.length, digest: digestOf(layer) }],
      }),
    );
    return { tar, layer, config, manifest, digest: digestOf(manifest), id: digestOf(config) };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function freePort() {
  const server = createServer();
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  const { port } = server.address();
  await new Promise((done) => server.close(done));
  return port;
}

/** Starts docker-registry on a free loopback port; `stop()` ends it and removes its data. */
export async function startRegistry() {
  const folder = mkdtempSync(join(tmpdir(), 'gantry-registry-'));
  const port = await freePort();
  const address = `127.0.0.1:${port}`;
  writeFileSync(
    join(folder, 'config.yml'),
    `version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: ${folder}/data\n  delete:\n    enabled: true\nhttp:\n  addr: ${address}\n`,
  );
  const child = spawn('docker-registry', ['serve', join(folder, 'config.yml')], { stdio: 'ignore' });
  let gone;
  child.on('error', (error) => (gone = error));
  child.on('exit', (code) => (gone ??= new Error(`docker-registry ended with ${code}`)));
  const until = Date.now() + 15_000;
  for (;;) {
    if (gone) throw gone;
    const up = await fetch(`http://${address}/v2/`).then(
      (answer) => answer.ok,
      () => false,
    );
    if (up) break;
    if (Date.now() > until) throw new Error('docker-registry does not answer');
    await new Promise((done) => setTimeout(done, 30));
  }
  return {
    address,
    async push(name, tag, image) {
      for (const blob of [image.layer, image.config, ...(image.moreLayers ?? [])]) {
        const begun = await fetch(`http://${address}/v2/${name}/blobs/uploads/`, { method: 'POST' });
        const place = new URL(begun.headers.get('location'), `http://${address}`);
        place.searchParams.set('digest', digestOf(blob));
        const put = await fetch(place, { method: 'PUT', body: blob, headers: { 'content-type': 'application/octet-stream' } });
        if (put.status !== 201) throw new Error(`the registry refused a blob: ${put.status}`);
      }
      const put = await fetch(`http://${address}/v2/${name}/manifests/${tag}`, {
        method: 'PUT',
        body: image.manifest,
        headers: { 'content-type': JSON.parse(image.manifest.toString()).mediaType },
      });
      if (put.status !== 201) throw new Error(`the registry refused the manifest: ${put.status} ${await put.text()}`);
      return `${address}/${name}:${tag}`;
    },
    async stop() {
      if (!gone) {
        const ended = new Promise((done) => child.on('exit', done));
        child.kill('SIGTERM');
        await ended;
      }
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
