import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe } from 'vitest';
import type { DriverEnv, DriverManifest, Logger } from '@gantry/core/contracts/manifest.js';
import { overlay2 } from '@gantry/drivers/storage/overlay2/manifest.js';
import { vfs } from '@gantry/drivers/storage/vfs/manifest.js';
import { host } from '@gantry/native/index.js';
import { storageConformance } from '../conformance/storage.js';

const quiet: Logger = { debug() {}, info() {}, warn() {}, error() {} };

export const envAt = (root: string, options: Record<string, string> = {}): DriverEnv => {
  const runRoot = join(root, '..', 'run');
  mkdirSync(runRoot, { recursive: true });
  return { root, runRoot, instance: 'test', options, host, log: quiet };
};

const isRoot = process.getuid?.() === 0;
if (!isRoot) console.log('skipped: storage drivers on a real kernel need root');

describe.runIf(isRoot)('in-tree storage drivers', () => {
  for (const manifest of [vfs, overlay2] as DriverManifest<'storage'>[])
    storageConformance(manifest.name, {
      capabilities: manifest.capabilities,
      host,
      open: (root) => manifest.open(envAt(root)),
    });
});
