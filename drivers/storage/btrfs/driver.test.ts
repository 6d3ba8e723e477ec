import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import { snapshotId } from '@gantry/core/contracts/ids.js';
import type { DriverEnv } from '@gantry/core/contracts/manifest.js';
import type { StorageDriver } from '@gantry/core/contracts/storage.js';
import { host } from '@gantry/native/index.js';
import { openLoopVolume } from '../../../test/fakes/loop-volume.js';
import { btrfs } from './manifest.js';

const volume = process.getuid?.() === 0 ? openLoopVolume('btrfs') : 'needs root';
const reason = typeof volume === 'string' ? volume : undefined;

const image = snapshotId('a'.repeat(64));
const container = snapshotId('b'.repeat(64));

describe.skipIf(reason)(`btrfs${reason ? ` (skipped: ${reason})` : ''}`, () => {
  if (typeof volume === 'string') return;
  let root: string;
  let env: DriverEnv;
  let driver: StorageDriver;
  const warnings: string[] = [];

  beforeEach(async () => {
    root = mkdtempSync(join(volume.path, 'trial-'));
    for (const name of ['driver', 'run']) mkdirSync(join(root, name));
    warnings.length = 0;
    const log = { debug() {}, info() {}, warn: (message: string) => void warnings.push(message), error() {} };
    env = { root: join(root, 'driver'), runRoot: join(root, 'run'), instance: 'test', options: {}, host, log };
    driver = await btrfs.open(env);
    await driver.create(image, { writable: true });
  });
  afterEach(async () => {
    for (const snapshot of await driver.list()) await driver.remove(snapshot);
    rmSync(root, { recursive: true, force: true });
  });
  afterAll(() => volume.close());

  const tree = (id: string): string => join(env.root, id, 'tree');

  it('cannot serve elsewhere, and says where it would be', async () => {
    expect(await btrfs.probe({ ...env, root: '/proc/nowhere' })).toMatchObject({
      ok: false,
      reason: expect.stringContaining('not on btrfs') as string,
    });
    expect(await btrfs.probe(env)).toMatchObject({ ok: true });
    expect(readdirSync(env.root)).toEqual([image]);
  });

  it('refuses a size below its least, and options that it does not have', async () => {
    driver = await btrfs.open({ ...env, options: { 'btrfs.min_space': '1g' } });
    await expect(driver.create(container, { parent: image, writable: true, quota: 1 << 20 })).rejects.toMatchObject({
      kind: 'invalid-parameter',
      message: expect.stringContaining('min_space') as string,
    });
    expect(await driver.exists(container)).toBe(false);
    await expect(btrfs.open({ ...env, options: { 'btrfs.min_spcae': '1g' } })).rejects.toThrow('the nearest is btrfs.min_space');
    await expect(btrfs.open({ ...env, options: { 'btrfs.min_space': 'much' } })).rejects.toThrow("invalid size: 'much'");
  });

  it('gives what is in subvolumes of a container, and removes them with it', async () => {
    await driver.create(container, { parent: image, writable: true });
    execFileSync('btrfs', ['-q', 'subvolume', 'create', join(tree(container), 'inner')]);
    execFileSync('btrfs', ['-q', 'subvolume', 'create', join(tree(container), 'inner/most')]);
    writeFileSync(join(tree(container), 'inner/most/file'), 'deep');
    expect(await driver.changes(container, image)).toContainEqual({ path: '/inner/most/file', kind: 'added' });
    const names = execFileSync('tar', ['-tf', '-'], { input: await buffer(await driver.diff(container, image)) }).toString();
    expect(names).toContain('inner/most/file');
    await driver.remove(container);
    expect(existsSync(join(env.root, container))).toBe(false);
    expect(execFileSync('btrfs', ['subvolume', 'list', volume.path]).toString()).not.toContain('inner');
  });

  it('sees what became of the parent since, and differences from one further below', async () => {
    const top = snapshotId('c'.repeat(64));
    for (const name of ['stays', 'goes']) writeFileSync(join(tree(image), name), name);
    await driver.create(container, { parent: image, writable: true });
    await driver.create(top, { parent: container, writable: true });
    writeFileSync(join(tree(container), 'late'), 'late');
    rmSync(join(tree(container), 'goes'));
    writeFileSync(join(tree(top), 'own'), 'own');
    expect(await driver.changes(top, container)).toEqual([
      { path: '/goes', kind: 'added' },
      { path: '/late', kind: 'deleted' },
      { path: '/own', kind: 'added' },
    ]);
    expect(await driver.changes(top, image)).toEqual([{ path: '/own', kind: 'added' }]);
    expect(warnings).toEqual([]);
  });

  it('lists the names of a file whose links lie far apart', async () => {
    // More names than one leaf of the file system's tree has room for, in two forms.
    const long = 'n'.repeat(200);
    for (const folder of ['one', 'two']) mkdirSync(join(tree(image), folder));
    writeFileSync(join(tree(image), 'one/file'), 'first');
    for (let name = 0; name < 300; name++)
      linkSync(join(tree(image), 'one/file'), join(tree(image), name % 2 ? 'one' : 'two', `${long}${name}`));
    await driver.create(container, { parent: image, writable: true });
    writeFileSync(join(tree(container), 'one/file'), 'second one');
    const changes = await driver.changes(container, image);
    expect(changes).toEqual(await host.files.changesDiff({ tree: tree(container), parent: tree(image) }));
    expect(changes).toHaveLength(303);
    expect(warnings).toEqual([]);
  });

  it('removes views of a daemon that died while it compared', async () => {
    mkdirSync(join(env.root, 'view-dead'));
    await host.subvolumes.snapshot(tree(image), join(env.root, 'view-dead/tree'), { readOnly: true });
    driver = await btrfs.open(env);
    expect(readdirSync(env.root)).toEqual([image]);
  });

  /** A fixed sequence, so that a failure can be repeated. */
  const random = (seed: number): ((below: number) => number) => {
    let state = seed;
    return (below) => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return Math.floor((state / 2 ** 32) * below);
    };
  };

  const everyPath = (folder: string, prefix = ''): string[] =>
    readdirSync(folder).flatMap((name) => [
      `${prefix}${name}`,
      ...(lstatSync(join(folder, name)).isDirectory() ? everyPath(join(folder, name), `${prefix}${name}/`) : []),
    ]);

  /** One change of any kind at any place; what cannot be done is left. */
  const change = (at: string, pick: (below: number) => number): void => {
    const paths = everyPath(at);
    const any = (): string => join(at, paths[pick(paths.length)] ?? '');
    const fresh = join(at, paths.filter((path) => lstatSync(join(at, path)).isDirectory())[pick(20)] ?? '', `new-${pick(1e6)}`);
    const kinds: (() => void)[] = [
      () => writeFileSync(any(), `written ${pick(1e6)}`),
      () => writeFileSync(fresh, 'fresh'),
      () => mkdirSync(fresh),
      () => symlinkSync(`to-${pick(9)}`, fresh),
      () => linkSync(any(), fresh),
      () => renameSync(any(), fresh),
      () => renameSync(any(), any()),
      () => rmSync(any(), { recursive: true }),
      () => chmodSync(any(), 0o600 + pick(0o177)),
      () => {
        // Two change places.
        const [one, two] = [any(), any()];
        renameSync(one, `${fresh}-x`);
        renameSync(two, one);
        renameSync(`${fresh}-x`, two);
      },
    ];
    try {
      kinds[pick(kinds.length)]?.();
    } catch {
      // A folder into itself, a file as a folder and the like.
    }
  };

  it('finds by the file system’s own trees what a comparison of two trees finds', async () => {
    for (let seed = 1; seed <= 12; seed++) {
      const pick = random(seed);
      const base = snapshotId(`${seed}`.padStart(64, '0'));
      const top = snapshotId(`${seed}`.padStart(64, 'f'));
      await driver.create(base, { writable: true });
      for (let folder = 0; folder < 12; folder++) {
        mkdirSync(join(tree(base), `d${folder}/e/f`), { recursive: true });
        for (const name of ['one', 'e/two', 'e/f/three']) writeFileSync(join(tree(base), `d${folder}/${name}`), `${name} ${folder}`);
      }
      linkSync(join(tree(base), 'd0/one'), join(tree(base), 'd1/linked'));
      await driver.create(top, { parent: base, writable: true });
      for (let step = 0; step < 30; step++) change(tree(top), pick);
      const wanted = await host.files.changesDiff({ tree: tree(top), parent: tree(base) });
      expect(await driver.changes(top, base), `seed ${seed}`).toEqual(wanted);
      expect(await driver.usage(top), `seed ${seed}`).toBe(await host.files.sizeDiff({ tree: tree(top), parent: tree(base) }));
    }
    expect(warnings).toEqual([]);
    expect(readdirSync(env.root).filter((name) => name.startsWith('view-'))).toEqual([]);
  });
});
