import { describe, expect, it } from 'vitest';
import { checkStorageOptions } from './driver-sources.js';

describe('storage options of the daemon', () => {
  const check = (storageOptions: Record<string, string>, storageDriver = '') => checkStorageOptions({ storageDriver, storageOptions });

  it('are taken with the name of any driver, whichever is the default, and without one', () => {
    check({ 'btrfs.min_space': '1g', 'dm.basesize': '20g', 'devicemapper.fs': 'ext4', 'overlay2.size': '1g' }, 'overlay2');
    check({ size: '1g' });
  });

  it('are refused with the nearest when no driver has them, needed or not', () => {
    expect(() => check({ 'btrfs.min_spcae': '1g' }, 'overlay2')).toThrow(
      expect.objectContaining({
        kind: 'invalid-parameter',
        message: 'unknown storage-opt "btrfs.min_spcae"; the nearest is btrfs.min_space',
      }),
    );
    expect(() => check({ 'dm.base_size': '1g' })).toThrow('the nearest is dm.basesize');
    expect(() => check({ 'overlay.size': '1g' })).toThrow('the nearest is overlay2.size');
  });

  it('are a plugin’s own business when one is the default', () => {
    check({ 'pygraph.colour': 'red' }, 'pygraph');
  });
});
