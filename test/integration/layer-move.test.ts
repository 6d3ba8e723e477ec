import { execFileSync } from 'node:child_process';
import {
  chownSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { host } from '@gantry/native/index.js';
import { snapshotId } from '@gantry/core/contracts/ids.js';
import type { LayerSource } from '@gantry/core/layer/layers.js';
import { Examination } from '@gantry/core/state/examination.js';
import { Journal } from '@gantry/core/state/journal.js';
import { silentLog } from '../fakes/settings.js';
import { LayerRoom } from './layer-room.js';

const isRoot = process.getuid?.() === 0;
if (!isRoot) console.log('skipped: moving layers on a real kernel needs root');

const containerId = 'c'.repeat(64);
const nothing = (): void => undefined;

describe.skipIf(!isRoot)('layers that move between storage drivers', () => {
  let room: LayerRoom;
  let stack: LayerSource[];

  /** What a container may do to its files. */
  const disturb = (tree: string): void => {
    writeFileSync(join(tree, 'new'), 'fresh');
    linkSync(join(tree, 'new'), join(tree, 'hard'));
    symlinkSync('/nowhere', join(tree, 'soft'));
    rmSync(join(tree, 'a/one'));
    rmSync(join(tree, 'b'), { recursive: true });
    mkdirSync(join(tree, 'b'));
    writeFileSync(join(tree, 'b/again'), 'made anew');
    renameSync(join(tree, 'c/file'), join(tree, 'c/renamed'));
    chownSync(join(tree, 'keep'), 1234, 4321);
    execFileSync('mknod', [join(tree, 'fifo'), 'p']);
    execFileSync('mknod', [join(tree, 'null'), 'c', '1', '3']);
    execFileSync('truncate', ['-s', '3M', join(tree, 'holes')]);
  };

  const listing = (tree: string): string =>
    execFileSync('find', ['.', '-mindepth', '1', '-printf', '%p %y %m %U %G %s %l\n'], { cwd: tree, encoding: 'utf8' })
      .split('\n')
      // Sizes of folders are their file systems' own business.
      .map((line) => line.replace(/^(\S+ d \d+ \d+ \d+) \d+/, '$1'))
      .toSorted()
      .join('\n');

  const find = async (repair: boolean, containers = new Set([containerId]), deep = false) => {
    const examination = new Examination(repair, silentLog);
    await room.store.examine(examination, async () => containers, { deep });
    return examination.findings.map(({ area, subject, state }) => `${area} ${subject} ${state}`);
  };

  beforeEach(async () => {
    room = await LayerRoom.open();
    stack = [room.layer({ 'a/one': '1', keep: 'k', same: 'one', 'b/x': 'x', 'c/file': 'f' }), room.layer({ 'a/two': '2' })];
    await room.store.prepare('overlay2', stack, 'sha256:image');
    await room.store.createWritable(containerId, 'overlay2', stack, {});
  });
  afterEach(() => room.close());

  it('carries a container to another driver and back, equal to the byte', async () => {
    await room.inside(containerId, disturb);
    const before = await room.inside(containerId, listing);
    let recorded = 0;
    const there = await room.store.moveWritable(containerId, 'vfs', () => recorded++);
    expect(recorded).toBe(1);
    expect(room.store.writables()).toMatchObject([{ container: containerId, driver: 'vfs' }]);
    expect(await room.inside(containerId, listing)).toBe(before);
    expect(room.snapshots('overlay2')).not.toContain(containerId);
    await room.inside(containerId, (tree) => {
      expect(lstatSync(join(tree, 'new')).nlink).toBe(2);
      expect(existsSync(join(tree, 'b/x'))).toBe(false);
    });
    const back = await room.store.moveWritable(containerId, 'overlay2', nothing);
    expect(back).toEqual(there);
    expect(await room.inside(containerId, listing)).toBe(before);
    expect(room.snapshots('vfs')).toEqual([]);
  });

  it('carries a change that shows in no property of the file', async () => {
    await room.store.moveWritable(containerId, 'vfs', nothing);
    await room.inside(containerId, (tree) => {
      const { atime, mtime } = lstatSync(join(tree, 'same'));
      writeFileSync(join(tree, 'same'), 'two');
      utimesSync(join(tree, 'same'), atime, mtime);
    });
    await room.store.moveWritable(containerId, 'overlay2', nothing);
    expect(await room.inside(containerId, (tree) => readFileSync(join(tree, 'same'), 'utf8'))).toBe('two');
  });

  it('leaves the layer where it is when the other driver cannot take it', async () => {
    await room.inside(containerId, disturb);
    const before = await room.inside(containerId, listing);
    await expect(room.store.moveWritable(containerId, 'aufs', nothing)).rejects.toMatchObject({ kind: 'not-found' });
    await expect(
      room.store.moveWritable(containerId, 'vfs', () => {
        throw new Error('no room for the record');
      }),
    ).rejects.toThrow('no room for the record');
    expect(room.store.writables()).toMatchObject([{ driver: 'overlay2' }]);
    expect(room.snapshots('vfs')).not.toContain(containerId);
    expect(await room.inside(containerId, listing)).toBe(before);
    expect(new Journal(room.database).pending()).toEqual([]);
  });

  it('removes the old copy of what somebody still used when that ends', async () => {
    await room.inside(containerId, disturb);
    await room.store.acquireWritable(containerId);
    // The caller sees to it; should it not, the old layer stays until it can be removed.
    await room.store.moveWritable(containerId, 'vfs', nothing);
    expect(room.snapshots('overlay2')).toContain(containerId);
    expect(await find(false)).toEqual([`container ${containerId} found`]);
    await (await room.registry.get('storage', 'overlay2')).driver.release(snapshotId(containerId));
    expect(await find(true)).toEqual([`container ${containerId} repaired`]);
    expect(await find(false)).toEqual([]);
    expect(room.snapshots('overlay2')).not.toContain(containerId);
  });

  it('makes layers again that somebody took away, before a container stands on nothing', async () => {
    const [, top] = room.store.places();
    rmSync(join(room.root, 'data/storage/overlay2', top?.snapshot ?? ''), { recursive: true });
    expect(await find(false)).toEqual([`layer ${top?.chainId} found`]);
    expect(await room.inside(containerId, (tree) => readdirSync(join(tree, 'a')))).toEqual(['one', 'two']);
    expect(await find(false)).toEqual([]);
  });

  it('refuses a container whose own files are gone, and says so', async () => {
    rmSync(join(room.root, 'data/storage/overlay2', containerId), { recursive: true });
    await expect(room.store.acquireWritable(containerId)).rejects.toThrow(/files of container c+ are gone from storage driver overlay2/);
    expect(await find(true)).toEqual([`container ${containerId} found`]);
  });

  it('repairs only what it is told to, and tells what it cannot repair', async () => {
    const bottom = room.store.places().find(({ diffId }) => diffId === stack[0]?.diffId);
    const stray = snapshotId('d'.repeat(64));
    await (await room.registry.get('storage', 'overlay2')).driver.create(stray, { writable: true });
    rmSync(join(room.root, 'data/storage/overlay2', bottom?.snapshot ?? ''), { recursive: true });
    const blob = room.blob(bottom!.blob);
    renameSync(blob, `${blob}.away`);
    expect(await find(false)).toEqual([`layer ${bottom?.chainId} found`, `snapshot ${stray} found`]);
    expect(await room.store.orphans()).toEqual([{ driver: 'overlay2', snapshot: stray, size: 0 }]);
    expect(await find(true)).toEqual([`layer ${bottom?.chainId} failed`, `snapshot ${stray} repaired`]);
    renameSync(`${blob}.away`, blob);
    expect(await find(true)).toEqual([`layer ${bottom?.chainId} repaired`]);
    expect(await find(true, new Set())).toEqual([`layer ${containerId} repaired`]);
    expect(host.files.mountsBelow(room.root)).toEqual([]);
  });

  it('finds a layer that somebody changed, and unpacks it again', async () => {
    const bottom = room.store.places().find(({ diffId }) => diffId === stack[0]?.diffId);
    for (const driver of ['overlay2', 'vfs']) {
      await room.store.prepare(driver, stack, 'sha256:image');
      expect(await find(false, undefined, true)).toEqual([]);
    }
    const file = join(room.root, 'data/storage/overlay2', bottom?.snapshot ?? '', 'diff/same');
    const { atime, mtime } = lstatSync(file);
    writeFileSync(file, 'two');
    utimesSync(file, atime, mtime);
    expect(await find(false)).toEqual([]);
    expect(await find(false, undefined, true)).toEqual([`layer ${bottom?.chainId} found`]);
    await room.store.acquireWritable(containerId);
    expect(await find(true, undefined, true)).toEqual([`layer ${bottom?.chainId} failed`]);
    await room.store.releaseWritable(containerId);
    expect(await find(true, undefined, true)).toEqual([`layer ${bottom?.chainId} repaired`]);
    expect(readFileSync(file, 'utf8')).toBe('one');
    expect(await find(false, undefined, true)).toEqual([]);
    expect(await room.store.orphans()).toEqual([]);
  });

  it('drops what an image holds with one driver only', async () => {
    await room.store.prepare('vfs', stack, 'sha256:image');
    expect(room.store.places().map(({ driver, holders }) => `${driver} ${holders.toSorted().join(' ')}`)).toEqual([
      `overlay2 ${containerId} sha256:image`,
      `overlay2 ${containerId} sha256:image`,
      'vfs sha256:image',
      'vfs sha256:image',
    ]);
    await room.store.releaseFrom('sha256:image', 'vfs');
    expect(room.snapshots('vfs')).toEqual([]);
    expect(room.store.places()).toHaveLength(2);
  });
});
