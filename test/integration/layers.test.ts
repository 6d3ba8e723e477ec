import { existsSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { host } from '@gantry/native/index.js';
import { chainIds, sha256, snapshotId, type Digest, type DiffId } from '@gantry/core/contracts/ids.js';
import type { LayerSource } from '@gantry/core/layer/layers.js';
import { LayerRoom } from './layer-room.js';

const isRoot = process.getuid?.() === 0;
if (!isRoot) console.log('skipped: layers on a real kernel need root');

describe.skipIf(!isRoot)('layers on a real kernel', () => {
  let room: LayerRoom;
  const layer = (files: Record<string, string>): LayerSource => room.layer(files);
  const snapshots = (driver: string): string[] => room.snapshots(driver);

  beforeEach(async () => {
    room = await LayerRoom.open();
  });
  afterEach(() => room.close());

  const containerId = 'c'.repeat(64);

  it('chooses a driver and says why', () => {
    expect(room.store.defaultDriver.name).toBe('overlay2');
    expect(room.store.defaultDriver.reason).not.toBe('');
  });

  it('refuses a configured driver that does not exist', async () => {
    await expect(room.openStore('aufs')).rejects.toMatchObject({ kind: 'not-found' });
  });

  for (const driver of ['overlay2', 'vfs']) {
    it(`unpacks a stack for ${driver}, shows a container its tree and takes it all back`, async () => {
      const stack = [layer({ 'a/one': '1', keep: 'k' }), layer({ 'a/two': '2' }), layer({ 'a/.wh.one': '', three: '3' })];
      await room.store.prepare(driver, stack, 'sha256:image');
      expect(room.store.places()).toHaveLength(3);
      expect(room.store.sizeOf(chainIds(stack.map((one) => one.diffId))[0]!)).toBe(2);
      await room.store.createWritable(containerId, driver, stack, {});
      await room.store.createWritable(containerId, driver, stack, {});
      const mounts = await room.store.acquireWritable(containerId);
      const target = join(room.root, 'mnt');
      for (const mount of mounts) await host.files.mount(mount, target);
      expect(readdirSync(join(target, 'a'))).toEqual(['two']);
      expect(readFileSync(join(target, 'keep'), 'utf8')).toBe('k');
      expect(existsSync(join(target, '.dockerenv'))).toBe(true);
      expect(readlinkSync(join(target, 'etc/mtab'))).toBe('/proc/mounts');
      expect(await room.store.writableChanges(containerId)).toEqual([]);
      writeFileSync(join(target, 'new'), 'fresh');
      expect(await room.store.writableUsage(containerId)).toBe(5);
      await expect(room.store.removeWritable(containerId)).rejects.toMatchObject({ kind: 'conflict' });
      await host.files.unmount(target);
      await room.store.releaseWritable(containerId);
      await room.store.release('sha256:image');
      // Three layers, the places to mount on, the container's own.
      expect(snapshots(driver)).toHaveLength(5);
      await room.store.removeWritable(containerId);
      expect(snapshots(driver)).toEqual([]);
      expect(room.store.places()).toEqual([]);
    });
  }

  it('keeps what a container needed unpacked for its image, for the next one', async () => {
    const stack = [layer({ file: '1' })];
    const image = 'sha256:image' as Digest;
    await room.store.createWritable(containerId, 'vfs', stack, { image });
    await room.store.removeWritable(containerId);
    expect(room.store.places()).toMatchObject([{ driver: 'vfs', holders: [image] }]);
    await room.store.release(image);
    expect(snapshots('vfs')).toEqual([]);
  });

  it('unpacks a stack once for two pulls at the same time', async () => {
    const stack = [layer({ a: '1' }), layer({ b: '2' }), layer({ c: '3' })];
    const events: string[] = [];
    const onLayer = (diff: DiffId, event: string): void => void events.push(`${event} ${diff}`);
    await Promise.all([
      room.store.prepare('overlay2', stack, 'sha256:x', onLayer),
      room.store.prepare('overlay2', stack, 'sha256:y', onLayer),
    ]);
    expect(events.filter((event) => event.startsWith('extracting'))).toHaveLength(6);
    await room.store.release('sha256:x');
    expect(room.store.places()).toHaveLength(3);
    await room.store.release('sha256:y');
    expect(room.store.places()).toHaveLength(0);
  });

  it('keeps nothing of a stack whose layer is not what the configuration says', async () => {
    const wrong = layer({ b: '2' });
    const stack = [layer({ a: '1' }), { ...wrong, diffId: sha256('something else') as DiffId }, layer({ c: '3' })];
    await expect(room.store.prepare('overlay2', stack, 'sha256:x')).rejects.toMatchObject({ kind: 'invalid-parameter' });
    await room.store.release('sha256:x');
    expect(snapshots('overlay2')).toEqual([]);
    await room.store.prepare('overlay2', [stack[0]!, wrong], 'sha256:x');
    expect(room.store.places()).toHaveLength(2);
  });

  it('removes after a restart what no record names, and the layers of containers that are gone', async () => {
    const stack = [layer({ a: '1' })];
    await room.store.prepare('overlay2', stack, 'sha256:x');
    await room.store.createWritable(containerId, 'overlay2', stack, {});
    const { driver } = await room.registry.get('storage', 'overlay2');
    await driver.create(snapshotId('d'.repeat(64)), { writable: true });
    room.store = await room.openStore();
    await room.store.settle(new Set([containerId]));
    expect(snapshots('overlay2')).toHaveLength(3);
    await room.store.settle(new Set());
    expect(snapshots('overlay2')).toHaveLength(2);
    await room.store.release('sha256:x');
    expect(snapshots('overlay2')).toEqual([]);
  });

  it('unpacks again what a power cut may have damaged', async () => {
    const stack = [layer({ a: '1' }), layer({ b: '2' })];
    await room.store.prepare('overlay2', stack, 'sha256:x');
    await room.store.close();
    room.database.run("UPDATE layer_snapshot SET boot = 'an earlier one'");
    const top = join(room.root, 'data', 'storage', 'overlay2', room.store.places()[0]!.snapshot, 'diff');
    rmSync(top, { recursive: true });
    room.store = await room.openStore();
    await room.store.settle(new Set());
    expect(existsSync(top)).toBe(true);
    expect(room.store.places()).toHaveLength(2);
  });

  it('unpacks a layer again that somebody removed by hand', async () => {
    const stack = [layer({ a: '1' })];
    await room.store.prepare('overlay2', stack, 'sha256:x');
    rmSync(join(room.root, 'data', 'storage', 'overlay2', room.store.places()[0]!.snapshot), { recursive: true });
    room.store = await room.openStore();
    await room.store.prepare('overlay2', stack, 'sha256:y');
    expect(snapshots('overlay2')).toHaveLength(1);
  });
});
