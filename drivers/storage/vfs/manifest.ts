import type { DriverManifest } from '@gantry/core/contracts/manifest.js';
import { checkOptions, fullNames, sizeOption } from '../options.js';
import { ProjectQuota } from '../../project-quota.js';
import { TreeDriver } from '../tree-driver.js';
import { Copies } from './copies.js';

const OPTIONS = ['size'];

/** Full copies: slow and large, and works on every file system. The others are measured against it. */
export const vfs: DriverManifest<'storage'> = {
  kind: 'storage',
  name: 'vfs',
  capabilities: ['quota'],
  options: fullNames('vfs', OPTIONS),
  probe: async () => ({ ok: true }),
  async open(env) {
    checkOptions('vfs', env.options, OPTIONS);
    const quotas = new ProjectQuota(env);
    const size = sizeOption('vfs', env.options, 'size');
    if (size !== undefined) await quotas.require('vfs.size');
    return new TreeDriver(env, new Copies(env, quotas), size);
  },
};
