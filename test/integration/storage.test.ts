import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe } from 'vitest';
import type { Capability, DriverEnv, DriverManifest, Logger } from '@gantry/core/contracts/manifest.js';
import { btrfs } from '@gantry/drivers/storage/btrfs/manifest.js';
import { overlay2 } from '@gantry/drivers/storage/overlay2/manifest.js';
import { vfs } from '@gantry/drivers/storage/vfs/manifest.js';
import { host } from '@gantry/native/index.js';
import { storageConformance } from '../conformance/storage.js';
import { type LoopFileSystem, openLoopVolume } from '../fakes/loop-volume.js';

const quiet: Logger = { debug() {}, info() {}, warn() {}, error() {} };

export const envAt = (root: string, options: Record<string, string> = {}): DriverEnv => {
  const runRoot = join(root, '..', 'run');
  mkdirSync(runRoot, { recursive: true });
  return { root, runRoot, instance: 'test', options, host, log: quiet };
};

const isRoot = process.getuid?.() === 0;
if (!isRoot) console.log('skipped: storage drivers on a real kernel need root');

/** What a driver declares, less what this file system cannot do. */
const served = (manifest: DriverManifest<'storage'>, projectQuota: boolean): Capability[] =>
  manifest.capabilities.filter((one) => one !== 'quota' || projectQuota || manifest.name === 'btrfs');

const fileSystems: Record<LoopFileSystem, readonly DriverManifest<'storage'>[]> = {
  ext4: [overlay2, vfs],
  xfs: [overlay2, vfs],
  btrfs: [btrfs, overlay2, vfs],
};

for (const [type, manifests] of Object.entries(fileSystems) as [LoopFileSystem, readonly DriverManifest<'storage'>[]][]) {
  const volume = isRoot ? openLoopVolume(type) : 'needs root';
  const reason = typeof volume === 'string' ? volume : undefined;
  describe.skipIf(reason)(`in-tree storage drivers on ${type}${reason ? ` (skipped: ${reason})` : ''}`, () => {
    if (typeof volume === 'string') return;
    afterAll(() => volume.close());
    for (const manifest of manifests)
      storageConformance(manifest.name, {
        folder: volume.path,
        capabilities: served(manifest, volume.projectQuota),
        host,
        open: (root, own) => manifest.open({ ...envAt(root), host: own }),
      });
  });
}
