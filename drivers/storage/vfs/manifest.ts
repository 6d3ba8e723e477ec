import type { DriverManifest } from '@gantry/core/contracts/manifest.js';
import { checkOptions } from '../options.js';
import { VfsDriver } from './driver.js';

/** Full copies: slow and large, and works on every file system. The others are measured against it. */
export const vfs: DriverManifest<'storage'> = {
  kind: 'storage',
  name: 'vfs',
  capabilities: [],
  probe: async () => ({ ok: true }),
  async open(env) {
    checkOptions('vfs', env.options, []);
    return new VfsDriver(env);
  },
};
