import { spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { putImage } from '@gantry/test/fakes/image-room.js';
import { FakeRegistry } from '@gantry/test/fakes/registry.js';
import { Engine, whyNoEngine } from './engine.js';

const reason = whyNoEngine();

/** A layer archive of files that do not compress, so that what is sent in part is unpacked in part. */
function layerOf(files: Readonly<Record<string, Buffer>>): Buffer {
  const tree = mkdtempSync('/tmp/gantry-e2e-layer-');
  try {
    for (const [name, content] of Object.entries(files)) {
      mkdirSync(join(tree, name, '..'), { recursive: true });
      writeFileSync(join(tree, name), content);
    }
    return spawnSync('tar', ['-C', tree, '--sort=name', '-cf', '-', '.'], { maxBuffer: 64 << 20 }).stdout;
  } finally {
    rmSync(tree, { recursive: true });
  }
}

const large = (): Buffer =>
  layerOf(Object.fromEntries(Array.from({ length: 20 }, (_, index) => [`big/${String(index).padStart(2, '0')}`, randomBytes(200_000)])));

describe.skipIf(reason)(`layers that are unpacked while they arrive${reason ? ` (skipped: ${reason})` : ''}`, () => {
  let engine: Engine;
  let registry: FakeRegistry;
  let number = 0;

  beforeAll(async () => {
    registry = await new FakeRegistry().start();
    engine = await Engine.start();
  });
  afterAll(async () => {
    const left = await engine?.stop();
    await registry?.stop();
    expect(left).toEqual({});
  });
  afterEach(() => {
    registry.faults = [];
  });

  const overlay = (): string => join(engine.folder, 'data', 'storage', 'overlay2');
  const snapshots = (): string[] => readdirSync(overlay()).filter((name) => /^[0-9a-f]{64}/.test(name));
  const temporary = (): string[] => readdirSync(join(engine.folder, 'data', 'content', 'ingest'));
  /** Files of layers in any state. */
  const unpacked = (): string[] =>
    snapshots().flatMap((name) => {
      const folder = join(overlay(), name, 'diff', 'big');
      return existsSync(folder) ? readdirSync(folder) : [];
    });
  const until = async (what: string, is: () => boolean): Promise<void> => {
    for (let turn = 0; turn < 4000; turn++, await delay(20)) if (is()) return;
    expect.fail(`${what} did not come\n${engine.log.slice(-3000)}`);
  };
  /** An image of its own, and the requests for its first layer. */
  const image = (contents: readonly Buffer[], extra?: { config?: object }) => {
    const put = putImage(registry, `app${++number}`, 'v', contents, extra);
    return { ...put, name: `${registry.host}/app${number}:v`, first: new RegExp(`GET .*${put.layers[0]}`) };
  };
  const client = (...args: string[]) =>
    spawn('docker', args, { stdio: 'ignore', env: { ...process.env, DOCKER_HOST: `unix://${engine.socket}` } });
  const remove = (name: string): void => expect(engine.docker(['rmi', '-f', name])).toMatchObject({ code: 0 });

  it('has files of a layer before its last byte, shows nobody an image, and takes all back when the client leaves', async () => {
    const { name, first } = image([large()]);
    registry.faults = [{ on: first, stallAfter: 3_000_000 }];
    const pulling = client('pull', '-q', name);
    await until('the first files', () => unpacked().length > 8);
    expect(engine.docker(['images', '-q']).stdout).toBe('');
    pulling.kill('SIGINT');
    await until('the removal', () => snapshots().length === 0 && temporary().length === 0);
    registry.faults = [];
    expect(await engine.dockerBeside(['pull', '-q', name])).toMatchObject({ code: 0 });
    expect(unpacked()).toHaveLength(20);
    remove(name);
    expect(snapshots()).toEqual([]);
  });

  it('goes on where the connection broke', async () => {
    const { name, first } = image([large(), layerOf({ 'small/file': Buffer.from('x') })]);
    registry.faults = [{ on: first, resetAfter: 2_000_000, times: 1 }];
    const pulling = engine.dockerBeside(['pull', name]);
    await until('the first files', () => unpacked().length > 4);
    const early = unpacked().length;
    expect(await pulling).toMatchObject({ code: 0 });
    expect(early).toBeLessThan(20);
    expect(registry.seen(first).at(-1)?.headers.range).toMatch(/^bytes=[1-9]\d*-$/);
    expect(unpacked()).toHaveLength(20);
    remove(name);
  });

  it('unpacks the right bytes when the first ones were wrong', async () => {
    const { name, first } = image([large()]);
    registry.faults = [{ on: first, flip: true, times: 1 }];
    expect(await engine.dockerBeside(['pull', '-q', name])).toMatchObject({ code: 0 });
    expect(registry.seen(first)).toHaveLength(2);
    expect(unpacked()).toHaveLength(20);
    remove(name);
  });

  it('leaves nothing of a blob whose bytes are wrong each time', async () => {
    const { name, first } = image([large()]);
    registry.faults = [{ on: first, flip: true }];
    const { code, stderr } = await engine.dockerBeside(['pull', '-q', name]);
    expect(code).toBe(1);
    expect(stderr).toContain('filesystem layer verification failed for digest');
    expect(snapshots()).toEqual([]);
    expect(temporary()).toEqual([]);
  });

  it('leaves nothing of a layer that is another than the configuration says, nor of those around it', async () => {
    const contents = [layerOf({ a: Buffer.from('1') }), large(), layerOf({ b: Buffer.from('2') })];
    const wrong = { ...image(contents) };
    const config = JSON.parse(String(registry.blobs.get(wrong.id))) as { rootfs: { diff_ids: string[] } };
    config.rootfs.diff_ids[1] = `sha256:${'0'.repeat(64)}`;
    const described = registry.putBlob(Buffer.from(JSON.stringify(config)));
    const repository = `app${number}`;
    const manifest = JSON.parse(String(registry.manifests.get(`${repository}:v`)?.bytes)) as { config: object; mediaType: string };
    registry.putManifest(repository, 'v', { ...manifest, config: { ...manifest.config, ...described } }, manifest.mediaType);
    const { code, stderr } = await engine.dockerBeside(['pull', '-q', wrong.name]);
    expect(code).toBe(1);
    expect(stderr).toContain("the image's configuration says");
    expect(snapshots()).toEqual([]);
  });

  it('serves two clients that want the same, and the other one when the first leaves in the middle', async () => {
    const both = image([large()]);
    const results = await Promise.all([0, 1].map(() => engine.dockerBeside(['pull', '-q', both.name])));
    expect(results.map((result) => result.code)).toEqual([0, 0]);
    expect(registry.seen(both.first)).toHaveLength(1);
    remove(both.name);

    const { name, first } = image([large()]);
    registry.faults = [{ on: first, resetAfter: 3_000_000, times: 1 }];
    const leaver = client('pull', '-q', name);
    await until('the first files', () => unpacked().length > 4);
    const stayer = engine.dockerBeside(['pull', '-q', name]);
    await delay(200);
    leaver.kill('SIGINT');
    expect(await stayer).toMatchObject({ code: 0 });
    expect(unpacked()).toHaveLength(20);
    remove(name);
    expect(snapshots()).toEqual([]);
  });

  it('unpacks for a driver that takes one layer after the other', async () => {
    const { name } = image([layerOf({ a: Buffer.from('1') }), large()]);
    const before = registry.requests.length;
    const { code, stderr } = await new Promise<{ code: number; stderr: string }>((done) => {
      const gantry = spawn(join(import.meta.dirname, '../../cli/bin/gantry'), ['image', 'pull', '--storage-driver', 'vfs', name], {
        stdio: ['ignore', 'ignore', 'pipe'],
        env: { ...process.env, GANTRY_HOST: `unix://${engine.socket}` },
      });
      let text = '';
      gantry.stderr.on('data', (chunk: Buffer) => (text += chunk.toString()));
      gantry.on('close', (status) => done({ code: status ?? -1, stderr: text }));
    });
    expect({ code, stderr }).toMatchObject({ code: 0 });
    expect(registry.requests.length).toBeGreaterThan(before);
    const vfs = join(engine.folder, 'data', 'storage', 'vfs');
    const trees = readdirSync(vfs).filter((one) => existsSync(join(vfs, one, 'tree', 'big')));
    expect(trees).toHaveLength(1);
    expect(readFileSync(join(vfs, trees[0] ?? '', 'tree', 'a'), 'utf8')).toBe('1');
    remove(name);
  });

  it('finds and removes what a death in the middle left, and pulls again', async () => {
    const { name, first } = image([large()]);
    registry.faults = [{ on: first, stallAfter: 3_000_000 }];
    const pulling = client('pull', '-q', name);
    await until('the first files', () => unpacked().length > 8);
    await engine.down('SIGKILL');
    pulling.kill();
    expect(snapshots()).toHaveLength(1);
    await engine.up();
    expect(snapshots()).toEqual([]);
    expect(temporary()).toEqual([]);
    registry.faults = [];
    expect(await engine.dockerBeside(['pull', '-q', name])).toMatchObject({ code: 0 });
    expect(unpacked()).toHaveLength(20);
    remove(name);
  });
});
