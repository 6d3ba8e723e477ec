import { describe, expect, it } from 'vitest';
import { readSettings } from './settings.js';

describe('options of devicemapper', () => {
  it('are dockerd’s, with its defaults', () => {
    expect(readSettings({})).toMatchObject({
      source: { kind: 'loop', dataBytes: 100 * 2 ** 30, metadataBytes: 2 * 2 ** 30 },
      baseBytes: 10 * 2 ** 30,
      blockSectors: 128,
      fileSystem: 'xfs',
      minFreePercent: 10,
      deferredRemoval: true,
      deferredDeletion: true,
    });
    expect(readSettings({ 'dm.thinpooldev': '/dev/mapper/pool', 'dm.fs': 'ext4', 'dm.mountopt': 'nodiscard,noatime' })).toMatchObject({
      source: { kind: 'pool', device: '/dev/mapper/pool' },
      fileSystem: 'ext4',
      mountOptions: ['nodiscard', 'noatime'],
    });
    expect(readSettings({ 'dm.directlvm_device': '/dev/sdx', 'dm.thinp_metapercent': '2%' })).toMatchObject({
      source: { kind: 'device', device: '/dev/sdx', force: false, metadataPercent: 2 },
    });
  });

  it('are refused when they are none, or mean nothing together', () => {
    const refused = (options: Record<string, string>): string => {
      try {
        readSettings(options);
        return '';
      } catch (error) {
        return (error as Error).message;
      }
    };
    expect(refused({ 'dm.bsaesize': '1g' })).toContain('the nearest is dm.basesize');
    expect(refused({ 'dm.basesize': 'much' })).toContain('dm.basesize');
    expect(refused({ 'dm.fs': 'btrfs' })).toContain('dm.fs must be ext4 or xfs');
    expect(refused({ 'dm.blocksize': '65k' })).toContain('dm.blocksize must be a multiple');
    expect(refused({ 'dm.min_free_space': '100%' })).toContain('dm.min_free_space must be a percentage');
    expect(refused({ 'dm.use_deferred_removal': 'perhaps' })).toContain('must be true or false');
    expect(refused({ 'dm.use_deferred_removal': 'false', 'dm.use_deferred_deletion': 'true' })).toContain('needs dm.use_deferred_removal');
    expect(refused({ 'dm.thinpooldev': 'a', 'dm.directlvm_device': 'b' })).toContain('exclude each other');
  });
});
