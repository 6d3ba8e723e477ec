import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { closeSync, mkdirSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { snapshotId, type SnapshotId } from '@gantry/core/contracts/ids.js';
import type { DriverEnv } from '@gantry/core/contracts/manifest.js';
import type { StorageDriver } from '@gantry/core/contracts/storage.js';
import { host } from '@gantry/native/index.js';
import { overlay2 } from './manifest.js';

const isRoot = process.getuid?.() === 0;
if (!isRoot) console.log('skipped: overlay2 on a real kernel needs root');

const id = (name: string | number): SnapshotId => snapshotId(createHash('sha256').update(`${name}`).digest('hex'));

describe.skipIf(!isRoot)('overlay2', () => {
  let root: string;
  let env: DriverEnv;
  let driver: StorageDriver;

  beforeEach(async () => {
    root = mkdtempSync('/tmp/gantry-storage-overlay-');
    for (const name of ['driver', 'run', 'mnt']) mkdirSync(join(root, name));
    const log = { debug() {}, info() {}, warn() {}, error() {} };
    env = { root: join(root, 'driver'), runRoot: join(root, 'run'), instance: 'test', options: {}, host, log };
    driver = await overlay2.open(env);
  });
  afterEach(async () => {
    for (const { target } of host.files.mountsBelow(root)) await host.files.unmount(target, true);
    rmSync(root, { recursive: true, force: true });
  });

  it('stacks 128 layers, mounts them with names that fit the kernel, and refuses one more', async () => {
    let parent: SnapshotId | undefined;
    for (let depth = 0; depth < 128; depth++) {
      await driver.create(id(depth), { writable: false, ...(parent === undefined ? {} : { parent }) });
      parent = id(depth);
    }
    if (parent === undefined) throw new Error('unreachable');
    await driver.create(id('container'), { writable: true, parent });
    const [mount] = await driver.acquire(id('container'));
    if (!mount) throw new Error('nothing to mount');
    expect(mount.options.join(',').length).toBeGreaterThan(4096);
    await host.files.mount(mount, join(root, 'mnt'));
    await host.files.unmount(join(root, 'mnt'));
    await driver.create(id(128), { writable: false, parent });
    await expect(driver.create(id('deeper'), { writable: true, parent: id(128) })).rejects.toMatchObject({
      kind: 'invalid-parameter',
      message: expect.stringContaining('max depth exceeded') as string,
    });
  });

  it('refuses an option that it does not have', async () => {
    await expect(overlay2.open({ ...env, options: { 'overlay2.sise': '1G' } })).rejects.toMatchObject({ kind: 'invalid-parameter' });
  });

  it('says by its probe what is missing, and leaves nothing behind', async () => {
    expect(await overlay2.probe({ ...env, root: join(root, 'not/yet') })).toMatchObject({ ok: true });
    expect(await overlay2.probe({ ...env, root: join(root, 'a:b') })).toMatchObject({ ok: false });
    mkdirSync(join(root, 'ram'));
    await host.files.mount({ type: 'ramfs', source: 'ramfs', options: [] }, join(root, 'ram'));
    expect(await overlay2.probe({ ...env, root: join(root, 'ram/driver') })).toMatchObject({
      ok: false,
      reason: expect.stringContaining('ramfs') as string,
    });
    expect(readdirSync(root).toSorted()).toEqual(['driver', 'mnt', 'ram', 'run']);
  });

  it('tries once for a kernel and a file system, and again when something else is written down', async () => {
    const kept = join(env.root, 'probe.json');
    const counted = (): DriverEnv & { mounts: number } => {
      const other = { ...env, mounts: 0 };
      const files = { ...host.files, mount: (...args: Parameters<typeof host.files.mount>) => (other.mounts++, host.files.mount(...args)) };
      return Object.assign(other, { host: { ...host, files } });
    };
    const later = counted();
    expect(await overlay2.probe(later)).toMatchObject({ ok: true });
    expect(later.mounts).toBe(0);
    writeFileSync(kept, readFileSync(kept, 'utf8').replace('Linux version', 'Linux version 0'));
    const other = counted();
    expect(await overlay2.probe(other)).toMatchObject({ ok: true });
    expect(other.mounts).toBeGreaterThan(0);
    writeFileSync(kept, '{"torn');
    expect(await overlay2.probe(counted())).toMatchObject({ ok: true });
  });

  it('makes again what was half made when the daemon died', async () => {
    mkdirSync(join(env.root, id('a')));
    symlinkSync('nowhere', join(env.root, id('a'), 'diff'));
    expect(await driver.exists(id('a'))).toBe(false);
    expect(await driver.list()).toEqual([id('a')]);
    await driver.create(id('a'), { writable: true });
    expect(await driver.exists(id('a'))).toBe(true);
  });

  it('makes the short name of a layer again that somebody removed', async () => {
    await driver.create(id('image'), { writable: false });
    await driver.create(id('container'), { writable: true, parent: id('image') });
    const links = join(env.root, 'l');
    for (const name of readdirSync(links)) rmSync(join(links, name));
    expect(await driver.exists(id('image'))).toBe(true);
    const [mount] = await driver.acquire(id('container'));
    if (!mount) throw new Error('nothing to mount');
    await host.files.mount(mount, join(root, 'mnt'));
    await host.files.unmount(join(root, 'mnt'));
    await driver.release(id('container'));
  });

  it('fails a difference in which overlayfs keeps references instead of content', async () => {
    await driver.create(id('a'), { writable: true });
    const folder = join(env.root, id('a'), 'diff', 'moved');
    mkdirSync(folder);
    await host.files.setXattr(folder, 'trusted.overlay.redirect', Buffer.from('/elsewhere'));
    await expect(buffer(await driver.diff(id('a'), undefined))).rejects.toThrow(/reference/);
  });

  it('keeps the root folder as the image has it', async () => {
    await driver.create(id('image'), { writable: false });
    writeFileSync(
      join(root, 'layer'),
      execFileSync('tar', ['--mode=0711', '--owner=7', '--group=8', '-C', join(root, 'mnt'), '-cf', '-', '.']),
    );
    const fd = openSync(join(root, 'layer'), 'r');
    await driver.applyDiff(id('image'), undefined, { fd });
    closeSync(fd);
    await driver.create(id('container'), { writable: true, parent: id('image') });
    const [mount] = await driver.acquire(id('container'));
    if (!mount) throw new Error('nothing to mount');
    await host.files.mount(mount, join(root, 'mnt'));
    expect(
      execFileSync('stat', ['-c', '%a %u %g', join(root, 'mnt')])
        .toString()
        .trim(),
    ).toBe('711 7 8');
  });
});
