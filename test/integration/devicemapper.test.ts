import { createHash } from 'node:crypto';
import { execFileSync } from 'node:child_process';
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statfsSync,
  statSync,
  writeFileSync,
  writeSync,
  fsyncSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { snapshotId, type SnapshotId } from '@gantry/core/contracts/ids.js';
import type { DriverEnv, Logger } from '@gantry/core/contracts/manifest.js';
import { parseSize } from '@gantry/core/contracts/size.js';
import type { StorageDriver } from '@gantry/core/contracts/storage.js';
import { devicemapper } from '@gantry/drivers/storage/devicemapper/manifest.js';
import { host } from '@gantry/native/index.js';
import { storageConformance } from '../conformance/storage.js';

const quiet: Logger = { debug() {}, info() {}, warn() {}, error() {} };
const SMALL = { 'dm.loopdatasize': '2g', 'dm.loopmetadatasize': '64m', 'dm.use_deferred_removal': 'true' };
const SIZES = { ext4: '128m', xfs: '320m' } as const;

const envAt = (root: string, options: Record<string, string>): DriverEnv => {
  const runRoot = join(root, '..', 'run');
  mkdirSync(runRoot, { recursive: true });
  mkdirSync(root, { recursive: true });
  // Names in the kernel follow from it: two pools of two tests must not meet.
  const instance = createHash('sha256').update(root).digest('hex').slice(0, 8);
  return { root, runRoot, instance, options, host, log: quiet };
};

const probe =
  process.getuid?.() === 0
    ? await devicemapper.probe(envAt(mkdtempSync('/var/tmp/gantry-dm-probe-'), {}))
    : { ok: false as const, reason: 'needs root' };
const reason = probe.ok ? undefined : probe.reason;
if (reason) console.log(`skipped: devicemapper on a real kernel: ${reason}`);

for (const fileSystem of ['ext4', 'xfs'] as const) {
  describe.skipIf(reason)(`devicemapper with ${fileSystem} on loop files${reason ? ` (skipped: ${reason})` : ''}`, () => {
    if (reason) return;
    storageConformance('devicemapper', {
      folder: '/var/tmp',
      capabilities: devicemapper.capabilities,
      leastQuota: parseSize(SIZES[fileSystem]),
      host,
      open: (root) => devicemapper.open(envAt(root, { ...SMALL, 'dm.fs': fileSystem, 'dm.basesize': SIZES[fileSystem] })),
    });
  });
}

describe.skipIf(reason)('devicemapper', () => {
  let root: string;
  let env: DriverEnv;
  let driver: StorageDriver;
  const options = { ...SMALL, 'dm.fs': 'ext4', 'dm.basesize': '128m' };
  const id = (word: string): SnapshotId => snapshotId(createHash('sha256').update(word).digest('hex'));
  const deviceNames = (): string =>
    execFileSync('dmsetup', ['ls'], { encoding: 'utf8' })
      .split('\n')
      .filter((line) => line.includes(env.instance))
      .join('\n');

  const inside = async <T>(snapshot: SnapshotId, work: (tree: string) => T, on = driver): Promise<T> => {
    const place = mkdtempSync(join(root, 'view-'));
    for (const mount of await on.acquire(snapshot)) await host.files.mount(mount, place);
    try {
      return work(place);
    } finally {
      await host.files.unmount(place);
      await on.release(snapshot);
    }
  };
  const restart = async (): Promise<void> => {
    await driver.close();
    driver = await devicemapper.open(env);
  };

  beforeEach(async () => {
    root = mkdtempSync('/var/tmp/gantry-dm-');
    env = envAt(join(root, 'driver'), options);
    driver = await devicemapper.open(env);
  });
  afterEach(async () => {
    for (const { target } of host.files.mountsBelow(root)) await host.files.unmount(target, true);
    for (const snapshot of await driver.list()) await driver.remove(snapshot);
    await driver.close();
    expect(deviceNames()).toBe('');
    expect(execFileSync('losetup', ['-a'], { encoding: 'utf8' })).not.toContain(root);
    rmSync(root, { recursive: true, force: true });
  });

  it('keeps what was written over a restart, and nothing active while it is away', async () => {
    await driver.create(id('a'), { writable: true });
    await inside(id('a'), (tree) => writeFileSync(join(tree, 'file'), 'kept'));
    await driver.close();
    expect(deviceNames()).toBe('');
    driver = await devicemapper.open(env);
    expect(await driver.list()).toEqual([id('a')]);
    expect(await inside(id('a'), (tree) => readFileSync(join(tree, 'file'), 'utf8'))).toBe('kept');
  });

  it('leaves a container that runs alone while the daemon is away', async () => {
    await driver.create(id('a'), { writable: true });
    const place = join(root, 'running');
    mkdirSync(place);
    for (const mount of await driver.acquire(id('a'))) await host.files.mount(mount, place);
    await restart();
    writeFileSync(join(place, 'file'), 'goes on');
    await driver.acquire(id('a'));
    await host.files.unmount(place);
    await driver.release(id('a'));
    expect(await inside(id('a'), (tree) => readFileSync(join(tree, 'file'), 'utf8'))).toBe('goes on');
  });

  it('takes a device back that a crash left half made or half removed', async () => {
    await driver.create(id('a'), { writable: true });
    await driver.create(id('b'), { writable: true });
    const records = join(env.root, 'devices');
    execFileSync('mv', [join(records, `${id('a')}.ready`), join(records, `${id('a')}.making`)]);
    execFileSync('mv', [join(records, `${id('b')}.ready`), join(records, `${id('b')}.removing`)]);
    await restart();
    expect(await driver.list()).toEqual([]);
    expect(readdirSync(records)).toEqual(['base.ready']);
    // Their numbers are free again.
    await driver.create(id('a'), { writable: true });
    expect(await driver.metadata(id('a'))).toMatchObject({ DeviceId: '2' });
  });

  it('gives a container the size that it asks for, and no other one', async () => {
    await driver.create(id('image'), { writable: false });
    await driver.create(id('large'), { writable: true, parent: id('image'), quota: 256 << 20 });
    await driver.create(id('plain'), { writable: true, parent: id('image') });
    const sizeOf = (snapshot: SnapshotId): Promise<number> =>
      inside(snapshot, (tree) => {
        const { blocks, bsize } = statfsSync(tree);
        return (blocks * bsize) >> 20;
      });
    expect(await sizeOf(id('large'))).toBeGreaterThan(200);
    expect(await sizeOf(id('plain'))).toBeLessThan(128);
    expect(await driver.metadata(id('large'))).toMatchObject({ DeviceSize: `${256 << 20}` });
    await inside(id('large'), (tree) => writeFileSync(join(tree, 'file'), Buffer.alloc(160 << 20, 1)));
    await restart();
    expect(await inside(id('large'), (tree) => statSync(join(tree, 'file')).size)).toBe(160 << 20);
    await expect(driver.create(id('small'), { writable: true, parent: id('image'), quota: 64 << 20 })).rejects.toThrow(
      `has ${128 << 20} bytes at least (dm.basesize)`,
    );
    expect(await driver.exists(id('small'))).toBe(false);
  });

  it('does not believe a record that is ahead of the pool', async () => {
    await driver.create(id('a'), { writable: true });
    const path = join(env.root, 'devices', `${id('a')}.ready`);
    writeFileSync(path, JSON.stringify({ ...(JSON.parse(readFileSync(path, 'utf8')) as object), transaction: 1000 }));
    await restart();
    expect(await driver.exists(id('a'))).toBe(false);
  });

  it('gives a full pool as an error to who writes, takes nothing new, and works again when something is removed', async () => {
    await driver.close();
    const small = envAt(join(root, 'full', 'driver'), { ...options, 'dm.loopdatasize': '160m', 'dm.basesize': '128m' });
    const full = await devicemapper.open(small);
    const fill = (tree: string): string => {
      const fd = openSync(join(tree, 'large'), 'w');
      const block = Buffer.alloc(1 << 20, 7);
      try {
        for (let written = 0; written < 110; written++) {
          writeSync(fd, block);
          fsyncSync(fd);
        }
        return 'all of it';
      } catch (error) {
        return (error as NodeJS.ErrnoException).code ?? '';
      } finally {
        closeSync(fd);
      }
    };
    await full.create(id('first'), { writable: true });
    await full.create(id('second'), { writable: true });
    await full.create(id('quiet'), { writable: true });
    await inside(id('quiet'), (tree) => writeFileSync(join(tree, 'file'), 'untouched'), full);
    expect(await inside(id('first'), fill, full)).toBe('all of it');
    expect(['ENOSPC', 'EIO', 'EROFS']).toContain(await inside(id('second'), fill, full));
    await expect(full.create(id('third'), { writable: true })).rejects.toThrow(/dm\.min_free_space|out_of_data_space/);
    expect(await inside(id('quiet'), (tree) => readFileSync(join(tree, 'file'), 'utf8'), full)).toBe('untouched');
    await full.remove(id('first'));
    await full.create(id('third'), { writable: true });
    await inside(id('third'), (tree) => writeFileSync(join(tree, 'file'), 'room again'), full);
    // Its journal makes it whole again.
    expect(await inside(id('second'), (tree) => existsSync(join(tree, 'large')), full)).toBe(true);
    for (const snapshot of await full.list()) await full.remove(snapshot);
    await full.close();
    driver = await devicemapper.open(env);
  });

  it('works on a whole block device, and refuses one that holds something', async () => {
    await driver.close();
    const file = join(root, 'disk');
    execFileSync('truncate', ['-s', '1G', file]);
    const loop = execFileSync('losetup', ['--find', '--show', file], { encoding: 'utf8' }).trim();
    try {
      const direct = { 'dm.directlvm_device': loop, 'dm.fs': 'ext4', 'dm.basesize': '128m' };
      const own = envAt(join(root, 'direct', 'driver'), direct);
      execFileSync('mkfs.ext4', ['-q', loop]);
      await expect(devicemapper.open(own)).rejects.toThrow(/is not empty/);
      const forced = { ...own, options: { ...direct, 'dm.directlvm_device_force': 'true' } };
      let disk = await devicemapper.open(forced);
      await disk.create(id('a'), { writable: true });
      await inside(id('a'), (tree) => writeFileSync(join(tree, 'file'), 'on a disk'), disk);
      await disk.close();
      disk = await devicemapper.open(own);
      expect(await inside(id('a'), (tree) => readFileSync(join(tree, 'file'), 'utf8'), disk)).toBe('on a disk');
      const [name] = execFileSync('dmsetup', ['ls', '--target', 'thin-pool'], { encoding: 'utf8' }).split('\t');
      const other = await devicemapper
        .open(envAt(join(root, 'pool', 'driver'), { 'dm.thinpooldev': `/dev/mapper/${name}`, 'dm.fs': 'ext4' }))
        .catch((error: unknown) => error as Error);
      // Two drivers on one pool meet in the numbers of their devices: the second one sees that its number is taken.
      expect(other).toBeInstanceOf(Error);
      for (const snapshot of await disk.list()) await disk.remove(snapshot);
      await disk.close();
    } finally {
      execFileSync('losetup', ['-d', loop]);
    }
    driver = await devicemapper.open(env);
  });

  it('says what it cannot do', async () => {
    await expect(driver.create(id('a'), { writable: true, quota: 1 << 20 })).rejects.toMatchObject({ kind: 'invalid-parameter' });
    await driver.close();
    await expect(devicemapper.open({ ...env, options: { ...options, 'dm.fs': 'xfs' } })).rejects.toThrow(/are ext4 since it was made/);
    await expect(devicemapper.open({ ...env, options: { 'dm.bsaesize': '1g' } })).rejects.toThrow(/the nearest is dm\.basesize/);
    await expect(devicemapper.open({ ...env, options: { 'dm.thinpooldev': '/dev/mapper/nothing' } })).rejects.toThrow(
      /there is no thin pool/,
    );
    driver = await devicemapper.open(env);
  });
});
