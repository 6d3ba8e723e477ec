import { spawnSync } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, mkdtempSync, openSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type LoopVolume, openLoopVolume } from '../../../test/fakes/loop-volume.js';
import type { HostProjects } from '@gantry/core/contracts/host-storage.js';
import { host } from '@gantry/native/index.js';
import { LocalVolumeDriver } from './driver.js';

const isRoot = process.getuid?.() === 0;
if (!isRoot) console.log('skipped: mounted local volumes need root');

describe('local volumes', () => {
  let root: string;
  let driver: LocalVolumeDriver;

  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'gantry-container-volume-'));
    driver = new LocalVolumeDriver({ root, host, instance: 'test' });
  });
  afterEach(async () => {
    for (const { target } of host.files.mountsBelow(root)) await host.files.unmount(target, true);
    rmSync(root, { recursive: true, force: true });
  });

  it('are folders that stay until they are removed', async () => {
    await driver.create('v1', {});
    const path = await driver.mount('v1', 'c1');
    expect(path).toBe(join(root, 'v1/_data'));
    writeFileSync(join(path, 'file'), '');
    await expect(driver.remove('v1')).rejects.toMatchObject({ kind: 'conflict' });
    await driver.unmount('v1', 'c1');
    await driver.create('v1', {});
    expect(existsSync(join(path, 'file'))).toBe(true);
    expect((await driver.list()).map(({ name }) => name)).toEqual(['v1']);
    await driver.remove('v1');
    await driver.remove('v1');
    await expect(driver.get('v1')).rejects.toMatchObject({ kind: 'not-found' });
  });

  it('never leave their root', async () => {
    for (const name of ['..', '../x', 'a/b', '.', ''])
      await expect(driver.create(name, {})).rejects.toMatchObject({ kind: 'invalid-parameter' });
  });

  it('refuse options that mean nothing', async () => {
    await expect(driver.create('v1', { nope: '1' })).rejects.toMatchObject({
      kind: 'invalid-parameter',
      message: 'invalid option: "nope"; the nearest is type',
    });
    await expect(driver.create('v1', { type: 'tmpfs' })).rejects.toThrow('missing required option: "device"');
    expect(existsSync(join(root, 'v1'))).toBe(false);
  });

  it('name the option that was nearest to an unknown one', async () => {
    await expect(driver.create('v1', { devcie: '/x', type: 'none' })).rejects.toThrow('invalid option: "devcie"; the nearest is device');
    await expect(driver.create('v1', { 'o\0': 'x' })).rejects.toThrow('invalid option');
  });

  it('move to another name, but not while they are mounted or onto another', async () => {
    await driver.create('v1', {});
    await driver.create('taken', {});
    writeFileSync(join(await driver.mount('v1', 'c1'), 'file'), '');
    await expect(driver.rename('v1', 'v2')).rejects.toMatchObject({ kind: 'conflict' });
    await driver.unmount('v1', 'c1');
    await expect(driver.rename('v1', 'taken')).rejects.toMatchObject({ kind: 'conflict' });
    await expect(driver.rename('v1', '../v2')).rejects.toMatchObject({ kind: 'invalid-parameter' });
    await driver.rename('v1', 'v2');
    expect(existsSync(join((await driver.get('v2')).mountpoint, 'file'))).toBe(true);
    await expect(driver.get('v1')).rejects.toMatchObject({ kind: 'not-found' });
  });

  it.skipIf(!isRoot)('of memory change their size while they are in use, and keep it', async () => {
    await driver.create('v1', { type: 'tmpfs', device: 'tmpfs', o: 'size=1m,uid=1000' });
    const path = await driver.mount('v1', 'c1');
    writeFileSync(join(path, 'file'), Buffer.alloc(512 * 1024));
    await driver.resize('v1', 4 << 20);
    expect((await host.files.fileSystem(path)).total).toBe(4 << 20);
    await expect(driver.resize('v1', 4096)).rejects.toMatchObject({ kind: 'conflict' });
    await driver.unmount('v1', 'c1');
    expect((await host.files.fileSystem(await driver.mount('v1', 'c1'))).total).toBe(4 << 20);
  });

  it('make anew what a crash had half made', async () => {
    mkdirSync(join(root, 'v1'));
    await expect(driver.get('v1')).rejects.toMatchObject({ kind: 'not-found' });
    await driver.create('v1', {});
    expect((await driver.get('v1')).mountpoint).toBe(join(root, 'v1/_data'));
  });

  it.skipIf(!isRoot)('mount for the first user and unmount after the last', async () => {
    await driver.create('ram', { type: 'tmpfs', device: 'tmpfs', o: 'size=1m,uid=5' });
    const mounted = (): string[] => host.files.mountsBelow(root).map(({ type }) => type);
    await driver.mount('ram', 'c1');
    await driver.mount('ram', 'c2');
    await driver.mount('ram', 'c2');
    expect(mounted()).toEqual(['tmpfs']);
    // A daemon that starts anew finds the mount and does not stack another one on it.
    const again = new LocalVolumeDriver({ root, host, instance: 'test' });
    await again.mount('ram', 'c1');
    expect(mounted()).toEqual(['tmpfs']);
    await driver.unmount('ram', 'c1');
    expect(mounted()).toEqual(['tmpfs']);
    await driver.unmount('ram', 'c2');
    expect(mounted()).toEqual([]);
  });

  it.skipIf(!isRoot)('bind another folder', async () => {
    mkdirSync(join(root, 'elsewhere'));
    writeFileSync(join(root, 'elsewhere/file'), '');
    await driver.create('bound', { type: 'none', o: 'bind', device: join(root, 'elsewhere') });
    const path = await driver.mount('bound', 'c1');
    expect(existsSync(join(path, 'file'))).toBe(true);
    await driver.unmount('bound', 'c1');
    await driver.remove('bound');
    expect(existsSync(join(root, 'elsewhere/file'))).toBe(true);
  });
});

for (const type of ['ext4', 'xfs'] as const) {
  const volume = isRoot ? openLoopVolume(type, 400) : 'needs root';
  const reason = typeof volume === 'string' ? volume : volume.projectQuota ? undefined : 'no project quota in this kernel';
  if (reason !== undefined && typeof volume !== 'string') volume.close();
  if (reason !== undefined) console.log(`skipped: local volumes with a size on ${type}: ${reason}`);

  describe.skipIf(reason)(`local volumes with a size on ${type}`, () => {
    const opened = volume as LoopVolume;
    const MIB = 1 << 20;
    /** As a container's root does it: whoever has CAP_SYS_RESOURCE is not held by limits of ext4. */
    const write = (path: string, bytes: number): number | null => {
      const file = openSync(path, 'w');
      const words = ['--bounding-set=-sys_resource', '--inh-caps=-sys_resource', 'head', '-c', `${bytes}`, '/dev/zero'];
      const { status, error } = spawnSync('setpriv', words, { stdio: ['ignore', file, 'ignore'] });
      closeSync(file);
      if (error) throw error;
      return status;
    };
    let root: string;
    let driver: LocalVolumeDriver;

    beforeEach(() => {
      root = mkdtempSync(join(opened.path, 'volumes-'));
      driver = new LocalVolumeDriver({ root, host, instance: 'test' });
    });
    afterAll(() => opened.close());

    it('hold no more than that, until they get another, and leave no limit behind', async () => {
      await driver.create('v1', { size: '4m' });
      const path = await driver.mount('v1', 'c1');
      expect(write(join(path, 'fits'), 3 * MIB)).toBe(0);
      expect(write(join(path, 'big'), 3 * MIB)).not.toBe(0);
      rmSync(join(path, 'big'));
      expect(await driver.usage('v1')).toEqual({ size: 3 * MIB, limit: 4 * MIB });
      await driver.resize('v1', 8 * MIB);
      expect(write(join(path, 'big'), 3 * MIB)).toBe(0);
      await expect(driver.resize('v1', MIB)).rejects.toMatchObject({ kind: 'conflict' });
      const project = await host.projects.of(path);
      await driver.unmount('v1', 'c1');
      await driver.remove('v1');
      expect((await host.projects.usage(root, project)).limit).toBe(0);
      await driver.create('v2', {});
      await expect(driver.resize('v2', MIB)).rejects.toMatchObject({ kind: 'invalid-parameter' });
    });

    it('are limited each for itself, folders below included', async () => {
      for (const name of ['v1', 'v2', 'v3']) await driver.create(name, { size: '2m' });
      for (const name of ['v1', 'v2', 'v3']) {
        const path = await driver.mount(name, 'c1');
        mkdirSync(join(path, 'a/b'), { recursive: true });
        expect(write(join(path, 'a/b/fits'), MIB)).toBe(0);
        expect(write(join(path, 'a/b/big'), 2 * MIB)).not.toBe(0);
      }
    });

    it('keep their limit under another name, and in a daemon that starts anew', async () => {
      await driver.create('v1', { size: '2m' });
      await driver.rename('v1', 'v2');
      const again = new LocalVolumeDriver({ root, host, instance: 'test' });
      const path = await again.mount('v2', 'c1');
      expect(await again.usage('v2')).toMatchObject({ limit: 2 * MIB });
      expect(write(join(path, 'big'), 3 * MIB)).not.toBe(0);
      // A volume that is made afterwards takes no number that one of the first daemon's has.
      await again.create('v3', { size: '2m' });
      expect(await host.projects.of(await again.mount('v3', 'c1'))).not.toBe(await host.projects.of(path));
    });

    it('are made whole when a crash had left half of one', async () => {
      mkdirSync(join(root, 'v1/_data.new'), { recursive: true });
      await driver.create('v1', { size: '2m' });
      const path = await driver.mount('v1', 'c1');
      expect(write(join(path, 'big'), 3 * MIB)).not.toBe(0);
    });
  });
}

describe('local volumes with a size, where the file system is one of our own', () => {
  it('belong to a project from before their first file, with its limit, which goes with them', async () => {
    const root = mkdtempSync(join(tmpdir(), 'gantry-container-volume-'));
    const limits = new Map<number, number>();
    const folders = new Map<string, number>();
    const inode = (path: string): string => String(statSync(path).ino);
    const projects: HostProjects = {
      refusal: async () => undefined,
      assign: async (path, project) => void folders.set(inode(path), project),
      of: async (path) => folders.get(inode(path)) ?? 0,
      limit: async (_path, project, bytes) => void limits.set(project, bytes),
      usage: async (_path, project) => ({ bytes: limits.get(project) ? 100 : 0, files: 0, limit: limits.get(project) ?? 0 }),
    };
    const driver = new LocalVolumeDriver({ root, instance: 'test', host: { ...host, projects } });
    try {
      await driver.create('v1', { size: '1k' });
      expect([...limits.values()]).toEqual([1024]);
      expect(await driver.usage('v1')).toMatchObject({ limit: 1024 });
      await driver.resize('v1', 2048);
      await expect(driver.resize('v1', 50)).rejects.toMatchObject({ kind: 'conflict' });
      expect([...limits.values()]).toEqual([2048]);
      // The same name again has the limit that it asks for now.
      await driver.remove('v1');
      expect([...limits.values()]).toEqual([0]);
      await driver.create('v1', {});
      await expect(driver.resize('v1', 2048)).rejects.toMatchObject({ kind: 'invalid-parameter' });
    } finally {
      rmSync(root, { recursive: true, force: true });
    }
  });

  it('are refused with the reason where nothing can be limited', async () => {
    const root = mkdtempSync(join(tmpdir(), 'gantry-container-volume-'));
    const projects = { refusal: async () => 'mounted without prjquota' } as unknown as HostProjects;
    const driver = new LocalVolumeDriver({ root, instance: 'test', host: { ...host, projects } });
    await expect(driver.create('v1', { size: '1g' })).rejects.toThrow('mounted without prjquota');
    expect(existsSync(join(root, 'v1'))).toBe(false);
    rmSync(root, { recursive: true, force: true });
  });
});
