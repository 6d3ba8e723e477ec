import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { messageOf } from '@gantry/core/contracts/errors.js';
import type { DriverEnv, DriverManifest, Probe } from '@gantry/core/contracts/manifest.js';
import { nearestExisting } from '../backing.js';
import { checkOptions, fullNames, sizeOption } from '../options.js';
import { TreeDriver } from '../tree-driver.js';
import { Subvolumes } from './subvolumes.js';

const OPTIONS = ['min_space', 'size'];

/** Whether btrfs can serve here: a subvolume is made and deleted. */
async function probe(env: DriverEnv): Promise<Probe> {
  const { files, subvolumes } = env.host;
  const place = nearestExisting(env.root);
  const { type } = await files.fileSystem(place);
  if (type !== 'btrfs') return { ok: false, reason: `the data root is on ${type}, not on btrfs (${place})` };
  const trial = join(place, `.btrfs-probe-${randomBytes(6).toString('hex')}`);
  try {
    await subvolumes.create(trial);
    await subvolumes.remove(trial);
    return { ok: true, note: 'btrfs' };
  } catch (error) {
    return { ok: false, reason: `a subvolume could not be made and deleted: ${messageOf(error)}` };
  }
}

export const btrfs: DriverManifest<'storage'> = {
  kind: 'storage',
  name: 'btrfs',
  capabilities: ['quota', 'native-diff'],
  options: fullNames('btrfs', OPTIONS),
  probe,
  async open(env) {
    checkOptions('btrfs', env.options, OPTIONS);
    const size = sizeOption('btrfs', env.options, 'size');
    const trees = new Subvolumes(env, sizeOption('btrfs', env.options, 'min_space') ?? 0);
    await trees.removeViews();
    if (size !== undefined) await trees.enableQuotas();
    return new TreeDriver(env, trees, size);
  },
};
