import { execFileSync, spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { packageRoot } from '@gantry/native/addon.js';
import type { Host } from '@gantry/core/contracts/host.js';
import { containerConfig, ImageRoom, lineOf } from '@gantry/test/fakes/image-room.js';
import { fakeBlobHost } from '@gantry/test/fakes/host-files.js';

/** A tool of the test, run to its end; fails with what it said. */
const run = (program: string, ...args: string[]): string => execFileSync(program, args, { encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 });
const missing = ['docker-registry', 'skopeo', 'umoci'].filter((tool) => spawnSync('sh', ['-c', `command -v ${tool}`]).status !== 0);
if (missing.length > 0) console.log(`skipped: images against a real registry need ${missing.join(', ')}`);

let host: Host = fakeBlobHost();
let folder: string;
let port: number;
let server: ChildProcess;
let room: ImageRoom;

async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((resolve) => probe.listen(0, '127.0.0.1', resolve));
  const found = (probe.address() as { port: number }).port;
  await new Promise((resolve) => probe.close(resolve));
  return found;
}

async function startRegistry(name: string, extra = ''): Promise<{ child: ChildProcess; port: number }> {
  const at = await freePort();
  const config = join(folder, `${name}.yml`);
  await writeFile(
    config,
    `version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: ${folder}/${name}\nhttp:\n  addr: 127.0.0.1:${at}\n${extra}`,
  );
  const child = spawn('docker-registry', ['serve', config], { stdio: 'ignore' });
  for (let tries = 0; tries < 1200; tries++) {
    const up = await fetch(`http://127.0.0.1:${at}/v2/`).then(
      () => true,
      () => false,
    );
    if (up) return { child, port: at };
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error('docker-registry does not answer');
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null) return;
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  await ended;
}

/** An OCI layout with two layers, made by umoci. */
async function makeLayout(layout: string): Promise<void> {
  const image = `${layout}:latest`;
  run('umoci', 'init', '--layout', layout);
  run('umoci', 'new', '--image', image);
  for (const step of ['one', 'two']) {
    const tree = join(folder, `tree-${step}`);
    await mkdir(tree, { recursive: true });
    await writeFile(join(tree, step), `file of ${step}\n`.repeat(10_000));
    run('umoci', 'insert', '--image', image, tree, `/${step}`);
  }
  run(
    'umoci',
    'config',
    '--image',
    image,
    '--config.cmd',
    '/one',
    '--config.env',
    'A=b',
    '--config.label',
    'kind=trial',
    '--author',
    'umoci',
  );
}

const registry = (): string => `127.0.0.1:${port}`;
interface Inspected {
  readonly Digest: string;
  readonly Layers: string[];
  readonly Labels: Record<string, string>;
}
const inspect = (source: string): Inspected => JSON.parse(run('skopeo', 'inspect', '--tls-verify=false', source)) as Inspected;

async function push(name: string, auth?: Parameters<ImageRoom['images']['login']>[0]): Promise<string[]> {
  const lines: string[] = [];
  await room.images.push(
    { name, tag: '', platform: undefined, auth },
    (progress) => lines.push(lineOf(progress)),
    new AbortController().signal,
  );
  return lines;
}

describe.skipIf(missing.length > 0)('images against a real registry', () => {
  beforeAll(async () => {
    if (existsSync(join(packageRoot, 'build', 'Release', 'gantry.node'))) host = (await import('@gantry/native/index.js')).host;
    else console.log('the native addon is not built: blobs go through the fake host');
    folder = await mkdtemp(join(tmpdir(), 'gantry-registry-'));
    ({ child: server, port } = await startRegistry('registry'));
    await makeLayout(join(folder, 'layout'));
    for (const [format, tag] of [
      ['oci', 'oci'],
      ['v2s2', 'docker'],
    ])
      run(
        'skopeo',
        'copy',
        '-q',
        '--format',
        format ?? '',
        '--dest-tls-verify=false',
        `oci:${folder}/layout:latest`,
        `docker://${registry()}/trial:${tag}`,
      );
  });
  afterAll(async () => {
    await stop(server);
    await rm(folder, { recursive: true });
  });
  beforeEach(async () => {
    room = await ImageRoom.open({}, host);
  });
  afterEach(async () => {
    await room.close();
  });

  it.each(['oci', 'docker'])('pulls an image of the %s kind and pushes it back byte for byte', async (tag) => {
    const name = `${registry()}/trial:${tag}`;
    const oracle = inspect(`docker://${name}`);
    expect((await room.pull(name)).at(-1)).toBe(`Status: Downloaded newer image for ${name}`);
    const image = room.images.resolve(name);
    expect(image.repoDigests).toEqual([`${registry()}/trial@${oracle.Digest}`]);
    expect(room.images.layersOf(image).map((layer) => layer.blob)).toEqual(oracle.Layers);
    expect(image).toMatchObject({ author: 'umoci', config: { cmd: ['/one'], env: ['A=b'], labels: { kind: 'trial' } } });

    const copy = `${registry()}/copy-${tag}:v`;
    await room.images.tag(image.id, copy, '');
    const lines = await push(copy);
    expect(lines.filter((line) => line.includes('Mounted from trial'))).toHaveLength(2);
    expect(inspect(`docker://${copy}`)).toMatchObject({ Digest: oracle.Digest, Layers: oracle.Layers });
  });

  it('writes an archive that skopeo reads in both ways, and reads what skopeo writes', async () => {
    const name = `${registry()}/trial:docker`;
    await room.pull(name);
    const { id } = room.images.resolve(name);
    const archive = join(folder, 'saved.tar');
    const chunks: Buffer[] = [];
    for await (const chunk of await room.images.save([name], undefined)) chunks.push(Buffer.from(chunk as Uint8Array));
    await writeFile(archive, Buffer.concat(chunks));
    const layout = join(folder, 'extracted');
    await mkdir(layout, { recursive: true });
    run('tar', '-C', layout, '-xf', archive);
    expect(inspect(`docker-archive:${archive}`).Labels).toEqual({ kind: 'trial' });
    expect(inspect(`oci:${layout}`).Digest).toBe(inspect(`docker://${name}`).Digest);

    const load = async (path: string): Promise<string[]> => {
      const lines: string[] = [];
      await room.images.load(Readable.from([await readFile(path)], { objectMode: false }), { quiet: true }, (progress) =>
        lines.push(lineOf(progress)),
      );
      return lines;
    };
    await room.images.remove(id, { force: true, noPrune: false });
    expect(await load(archive)).toEqual([`Loaded image: ${name}\n`]);
    expect(room.images.resolve(name).id).toBe(id);

    const theirs = join(folder, 'theirs.tar');
    run('skopeo', 'copy', '-q', '--src-tls-verify=false', `docker://${name}`, `docker-archive:${theirs}:theirs:v`);
    expect(await load(theirs)).toEqual(['Loaded image: theirs:v\n']);
    const oci = join(folder, 'theirs-oci.tar');
    run('skopeo', 'copy', '-q', '--src-tls-verify=false', `docker://${name}`, `oci-archive:${oci}:example.org/oci:v`);
    expect(await load(oci)).toEqual(['Loaded image: example.org/oci:v\n']);
    expect(room.images.resolve('theirs:v').diffIds).toEqual(room.images.resolve('example.org/oci:v').diffIds);
  });

  it('pushes an image that was made here, which skopeo then can copy', async () => {
    await room.pull(`${registry()}/trial:oci`);
    const tree = join(folder, 'committed');
    await mkdir(tree, { recursive: true });
    await writeFile(join(tree, 'added'), 'x'.repeat(2_000_000));
    const layer = execFileSync('tar', ['-C', tree, '-c', 'added'], { maxBuffer: 8_000_000 });
    const id = await room.images.commit({
      parent: room.images.resolve(`${registry()}/trial:oci`),
      layer: Readable.from([layer], { objectMode: false }),
      config: containerConfig({ cmd: ['/added'] }),
      history: { created: new Date().toISOString(), createdBy: 'test', author: '', comment: '', emptyLayer: false },
      author: '',
      repository: `${registry()}/made`,
      tag: 'here',
    });
    const lines = await push(`${registry()}/made:here`);
    expect(lines.at(-1)).toMatch(/^aux here sha256:/);
    expect(inspect(`docker://${registry()}/made:here`).Digest).toBe(lines.at(-1)?.split(' ')[2]);
    run('skopeo', 'copy', '-q', '--src-tls-verify=false', `docker://${registry()}/made:here`, `oci:${folder}/check:v`);
    await room.images.remove(id, { force: true, noPrune: true });
    await room.pull(`${registry()}/made:here`);
    expect(room.images.resolve(id).config.cmd).toEqual(['/added']);
  });

  it('reads a multi-platform index by one platform', async () => {
    const { id, mediaType } = await indexOf('trial', 'docker');
    const name = `${registry()}/trial:multi`;
    await room.pull(name);
    expect(room.images.resolve(name).repoDigests).toEqual([`${registry()}/trial@${id}`]);
    expect(await room.images.distribution(name, undefined)).toMatchObject({
      digest: id,
      mediaType,
      platforms: [{ architecture: 'amd64' }, { architecture: 's390x' }],
    });
    await expect(room.pull(name, { platform: 'linux/riscv64' })).rejects.toThrow(
      'no matching manifest for linux/riscv64 in the manifest list entries',
    );
  });

  it('tells a missing tag and a missing repository in the words that clients look for', async () => {
    await expect(room.pull(`${registry()}/trial:nope`)).rejects.toMatchObject({
      kind: 'not-found',
      message: expect.stringMatching(/^manifest for .*\/trial:nope not found: manifest unknown: manifest unknown$/) as string,
    });
    await expect(room.pull(`${registry()}/nothing:v`)).rejects.toMatchObject({ kind: 'not-found' });
    await expect(room.pull(`${registry()}/nothing`)).rejects.toThrow(/^repository .*\/nothing not found: name unknown/);
  });

  it('proves itself to a registry that asks for a password', async () => {
    const passwords = join(folder, 'htpasswd');
    // me:s3cret, by bcrypt with few rounds.
    await writeFile(passwords, 'me:$2b$04$fjaoremJw15ry0Zb9lesNepfsGcERsZVoH1FtcYYX8/SqUQbc65v6\n');
    const closed = await startRegistry('closed', `auth:\n  htpasswd:\n    realm: closed\n    path: ${passwords}\n`);
    try {
      const auth = { username: 'me', password: 's3cret', identityToken: '', registryToken: '', serverAddress: `127.0.0.1:${closed.port}` };
      expect(await room.images.login(auth)).toEqual({ status: 'Login Succeeded', identityToken: '' });
      await expect(room.images.login({ ...auth, password: 'no' })).rejects.toMatchObject({ kind: 'unauthorized' });
      await room.pull(`${registry()}/trial:docker`);
      const name = `127.0.0.1:${closed.port}/mine:v`;
      await room.images.tag(`${registry()}/trial:docker`, name, '');
      await expect(push(name)).rejects.toMatchObject({ kind: 'unauthorized' });
      await push(name, auth);
      await expect(room.pull(name)).rejects.toThrow("may require 'docker login'");
      await room.pull(name, { auth });
    } finally {
      await stop(closed.child);
    }
  });
});

/** Puts an index for two platforms into the registry, both served by the same manifest. */
async function indexOf(repository: string, tag: string): Promise<{ id: string; mediaType: string }> {
  const mediaType = 'application/vnd.docker.distribution.manifest.list.v2+json';
  const base = `http://${registry()}/v2/${repository}/manifests`;
  const answer = await fetch(`${base}/${tag}`, { headers: { accept: 'application/vnd.docker.distribution.manifest.v2+json' } });
  const size = (await answer.arrayBuffer()).byteLength;
  const digest = answer.headers.get('docker-content-digest');
  const entry = (architecture: string): object => ({
    mediaType: answer.headers.get('content-type'),
    digest,
    size,
    platform: { os: 'linux', architecture },
  });
  const body = JSON.stringify({
    schemaVersion: 2,
    mediaType,
    manifests: [entry(process.arch === 'arm64' ? 'arm64' : 'amd64'), entry('s390x')],
  });
  const put = await fetch(`${base}/multi`, { method: 'PUT', body, headers: { 'content-type': mediaType } });
  if (put.status !== 201) throw new Error(await put.text());
  return { id: put.headers.get('docker-content-digest') ?? '', mediaType };
}
