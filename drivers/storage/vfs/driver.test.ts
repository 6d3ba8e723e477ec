import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { snapshotId } from '@gantry/core/contracts/ids.js';
import { host } from '@gantry/native/index.js';
import { type LoopFileSystem, openLoopVolume } from '../../../test/fakes/loop-volume.js';
import { vfs } from './manifest.js';

const image = snapshotId('a'.repeat(64));
const container = snapshotId('b'.repeat(64));
const LARGE = 64 << 20;

for (const type of ['xfs', 'btrfs', 'ext4'] as LoopFileSystem[]) {
  const volume = process.getuid?.() === 0 ? openLoopVolume(type) : 'needs root';
  const reason = typeof volume === 'string' ? volume : undefined;

  describe.skipIf(reason)(`vfs on ${type}${reason ? ` (skipped: ${reason})` : ''}`, () => {
    if (typeof volume === 'string') return;
    afterAll(() => volume.close());

    it(`copies a large file ${type === 'ext4' ? 'whole, where blocks cannot be shared' : 'without taking its blocks twice'}`, async () => {
      const root = mkdtempSync(join(volume.path, 'trial-'));
      for (const name of ['driver', 'run']) mkdirSync(join(root, name));
      const log = { debug() {}, info() {}, warn() {}, error() {} };
      const env = { root: join(root, 'driver'), runRoot: join(root, 'run'), instance: 'test', options: {}, host, log };
      const driver = await vfs.open(env);
      const free = async (): Promise<number> => {
        await host.files.sync(root);
        const { bavail, bsize } = statfsSync(root);
        return bavail * bsize;
      };
      await driver.create(image, { writable: true });
      const content = randomBytes(LARGE);
      writeFileSync(join(env.root, image, 'tree/large'), content);
      const before = await free();
      await driver.create(container, { parent: image, writable: true });
      const taken = before - (await free());
      if (type === 'ext4') expect(taken).toBeGreaterThan(LARGE / 2);
      else expect(taken).toBeLessThan(LARGE / 4);
      // One's own from then on.
      writeFileSync(join(env.root, container, 'tree/large'), 'small');
      expect(readFileSync(join(env.root, image, 'tree/large')).equals(content)).toBe(true);
      await driver.remove(container);
      await driver.remove(image);
      rmSync(root, { recursive: true });
    });
  });
}

describe('vfs', () => {
  it('refuses options that it does not have, and a size that nobody keeps', async () => {
    const log = { debug() {}, info() {}, warn() {}, error() {} };
    const env = { root: '/proc', runRoot: '/proc', instance: 'test', options: {}, host, log };
    await expect(vfs.open({ ...env, options: { 'vfs.siez': '1g' } })).rejects.toThrow('the nearest is vfs.size');
    await expect(vfs.open({ ...env, options: { 'vfs.size': '1g' } })).rejects.toMatchObject({ kind: 'invalid-parameter' });
  });
});
