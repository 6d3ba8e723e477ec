import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { drivers } from '@gantry/drivers/index.js';
import { host } from '@gantry/native/index.js';
import type { Content } from '@gantry/core/content/content.js';
import { chainIds, sha256, snapshotId, type Digest, type DiffId } from '@gantry/core/contracts/ids.js';
import type { DriverSource, Logger } from '@gantry/core/contracts/manifest.js';
import { DriverRegistry } from '@gantry/core/extension/driver-registry.js';
import { LayerStore } from '@gantry/core/layer/layer-store.js';
import type { LayerSource } from '@gantry/core/layer/layers.js';
import { Database } from '@gantry/core/state/database.js';
import type { Settings } from '@gantry/core/system/settings.js';

const isRoot = process.getuid?.() === 0;
if (!isRoot) console.log('skipped: layers on a real kernel need root');

const quiet: Logger = { debug() {}, info() {}, warn() {}, error() {} };
const source: DriverSource = {
  label: 'built in',
  find: async (kind, name) => drivers.find((one) => one.kind === kind && one.name === name) as never,
  names: (kind) => drivers.filter((one) => one.kind === kind).map((one) => one.name),
};

describe.skipIf(!isRoot)('layers on a real kernel', () => {
  let root: string;
  let database: Database;
  let registry: DriverRegistry;
  let store: LayerStore;

  const blobFolder = (): string => join(root, 'blobs');
  const content = {
    path: async (digest: Digest) => join(blobFolder(), digest.slice(7)),
  } as Content;

  const openStore = async (storageDriver = ''): Promise<LayerStore> => {
    const settings = { dataRoot: join(root, 'data'), execRoot: join(root, 'run'), storageDriver } as Settings;
    registry = new DriverRegistry([source], { ...settings, instance: 'test', host, log: quiet, optionsFor: () => ({}) });
    const opened = new LayerStore(settings, quiet, host, database, registry, content);
    await opened.open();
    return opened;
  };

  /** A gzip layer of the given files. */
  const layer = (files: Record<string, string>): LayerSource => {
    const tree = mkdtempSync(join(root, 'tree-'));
    for (const [name, text] of Object.entries(files)) {
      mkdirSync(join(tree, name, '..'), { recursive: true });
      writeFileSync(join(tree, name), text);
    }
    const tar = execFileSync('tar', ['-C', tree, '--sort=name', '-cf', '-', '.']);
    rmSync(tree, { recursive: true });
    const blob = execFileSync('gzip', ['-c'], { input: tar });
    writeFileSync(join(blobFolder(), createHash('sha256').update(blob).digest('hex')), blob);
    return { diffId: sha256(tar) as DiffId, blob: sha256(blob) };
  };

  const snapshots = (driver: string): string[] => {
    const folder = join(root, 'data', 'storage', driver);
    return existsSync(folder) ? readdirSync(folder).filter((name) => /[0-9a-f]{64}/.test(name)) : [];
  };

  beforeEach(async () => {
    root = mkdtempSync('/tmp/gantry-storage-layers-');
    for (const name of ['blobs', 'data', 'run', 'mnt']) mkdirSync(join(root, name));
    database = Database.open(join(root, 'state.db'));
    store = await openStore();
  });

  afterEach(async () => {
    await store.close();
    for (const { target } of host.files.mountsBelow(root)) await host.files.unmount(target, true);
    database.close();
    rmSync(root, { recursive: true, force: true });
  });

  const containerId = 'c'.repeat(64);

  it('chooses a driver and says why', () => {
    expect(store.defaultDriver.name).toBe('overlay2');
    expect(store.defaultDriver.reason).not.toBe('');
  });

  it('refuses a configured driver that does not exist', async () => {
    await expect(openStore('aufs')).rejects.toMatchObject({ kind: 'not-found' });
  });

  for (const driver of ['overlay2', 'vfs']) {
    it(`unpacks a stack for ${driver}, shows a container its tree and takes it all back`, async () => {
      const stack = [layer({ 'a/one': '1', keep: 'k' }), layer({ 'a/two': '2' }), layer({ 'a/.wh.one': '', three: '3' })];
      await store.prepare(driver, stack, 'sha256:image');
      expect(store.places()).toHaveLength(3);
      expect(store.sizeOf(chainIds(stack.map((one) => one.diffId))[0]!)).toBe(2);
      await store.createWritable(containerId, driver, stack, {});
      await store.createWritable(containerId, driver, stack, {});
      const mounts = await store.acquireWritable(containerId);
      const target = join(root, 'mnt');
      for (const mount of mounts) await host.files.mount(mount, target);
      expect(readdirSync(join(target, 'a'))).toEqual(['two']);
      expect(readFileSync(join(target, 'keep'), 'utf8')).toBe('k');
      expect(existsSync(join(target, '.dockerenv'))).toBe(true);
      expect(readlinkSync(join(target, 'etc/mtab'))).toBe('/proc/mounts');
      expect(await store.writableChanges(containerId)).toEqual([]);
      writeFileSync(join(target, 'new'), 'fresh');
      expect(await store.writableUsage(containerId)).toBe(5);
      await expect(store.removeWritable(containerId)).rejects.toMatchObject({ kind: 'conflict' });
      await host.files.unmount(target);
      await store.releaseWritable(containerId);
      await store.release('sha256:image');
      // Three layers, the places to mount on, the container's own.
      expect(snapshots(driver)).toHaveLength(5);
      await store.removeWritable(containerId);
      expect(snapshots(driver)).toEqual([]);
      expect(store.places()).toEqual([]);
    });
  }

  it('unpacks a stack once for two pulls at the same time', async () => {
    const stack = [layer({ a: '1' }), layer({ b: '2' }), layer({ c: '3' })];
    const events: string[] = [];
    const onLayer = (diff: DiffId, event: string): void => void events.push(`${event} ${diff}`);
    await Promise.all([store.prepare('overlay2', stack, 'sha256:x', onLayer), store.prepare('overlay2', stack, 'sha256:y', onLayer)]);
    expect(events.filter((event) => event.startsWith('extracting'))).toHaveLength(6);
    await store.release('sha256:x');
    expect(store.places()).toHaveLength(3);
    await store.release('sha256:y');
    expect(store.places()).toHaveLength(0);
  });

  it('keeps nothing of a stack whose layer is not what the configuration says', async () => {
    const wrong = layer({ b: '2' });
    const stack = [layer({ a: '1' }), { ...wrong, diffId: sha256('something else') as DiffId }, layer({ c: '3' })];
    await expect(store.prepare('overlay2', stack, 'sha256:x')).rejects.toMatchObject({ kind: 'invalid-parameter' });
    await store.release('sha256:x');
    expect(snapshots('overlay2')).toEqual([]);
    await store.prepare('overlay2', [stack[0]!, wrong], 'sha256:x');
    expect(store.places()).toHaveLength(2);
  });

  it('removes after a restart what no record names, and the layers of containers that are gone', async () => {
    const stack = [layer({ a: '1' })];
    await store.prepare('overlay2', stack, 'sha256:x');
    await store.createWritable(containerId, 'overlay2', stack, {});
    const { driver } = await registry.get('storage', 'overlay2');
    await driver.create(snapshotId('d'.repeat(64)), { writable: true });
    store = await openStore();
    await store.settle(new Set([containerId]));
    expect(snapshots('overlay2')).toHaveLength(3);
    await store.settle(new Set());
    expect(snapshots('overlay2')).toHaveLength(2);
    await store.release('sha256:x');
    expect(snapshots('overlay2')).toEqual([]);
  });

  it('unpacks again what a power cut may have damaged', async () => {
    const stack = [layer({ a: '1' }), layer({ b: '2' })];
    await store.prepare('overlay2', stack, 'sha256:x');
    await store.close();
    database.run("UPDATE layer_snapshot SET boot = 'an earlier one'");
    const top = join(root, 'data', 'storage', 'overlay2', store.places()[0]!.snapshot, 'diff');
    rmSync(top, { recursive: true });
    store = await openStore();
    await store.settle(new Set());
    expect(existsSync(top)).toBe(true);
    expect(store.places()).toHaveLength(2);
  });

  it('unpacks a layer again that somebody removed by hand', async () => {
    const stack = [layer({ a: '1' })];
    await store.prepare('overlay2', stack, 'sha256:x');
    rmSync(join(root, 'data', 'storage', 'overlay2', store.places()[0]!.snapshot), { recursive: true });
    store = await openStore();
    await store.prepare('overlay2', stack, 'sha256:y');
    expect(snapshots('overlay2')).toHaveLength(1);
  });
});
