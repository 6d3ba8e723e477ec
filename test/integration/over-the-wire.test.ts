import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, describe } from 'vitest';
import type { DriverEnv } from '@gantry/core/contracts/manifest.js';
import { overlay2 } from '@gantry/drivers/storage/overlay2/manifest.js';
import { vfs } from '@gantry/drivers/storage/vfs/manifest.js';
import { local } from '@gantry/drivers/volume/local/manifest.js';
import { host } from '@gantry/native/index.js';
import { storageConformance } from '../conformance/storage.js';
import { volumeConformance } from '../conformance/volume.js';
import { OverTheWire } from '../fakes/over-the-wire.js';
import { silentLog } from '../fakes/settings.js';

const isRoot = process.getuid?.() === 0;
if (!isRoot) console.log('skipped: drivers on a real kernel need root');

const envAt = (root: string): DriverEnv => {
  const runRoot = join(dirname(root), 'run');
  mkdirSync(root, { recursive: true });
  mkdirSync(runRoot, { recursive: true });
  return { root, runRoot, instance: 'wire', options: {}, host, log: silentLog };
};

describe.runIf(isRoot)('in-tree drivers keep their contracts over a socket', () => {
  for (const manifest of [vfs, overlay2]) {
    const wire = new OverTheWire<'storage'>(manifest);
    afterAll(() => wire.remove());
    storageConformance(`${manifest.name} (remote)`, {
      // What the protocol does not carry (quotas, parallel filling) is not declared by the twin.
      capabilities: [],
      folder: '/tmp',
      host,
      open: async (root) => (await wire.open(envAt(root))).driver,
    });
  }

  const folder = mkdtempSync('/tmp/gantry-wire-volumes-');
  const wire = new OverTheWire<'volume'>(local);
  afterAll(async () => {
    await wire.remove();
    rmSync(folder, { recursive: true, force: true });
  });
  volumeConformance('local (remote)', async () => (await wire.open(envAt(join(folder, 'driver')))).driver);
  volumeConformance('local', () => local.open(envAt(join(folder, 'own'))));
});
