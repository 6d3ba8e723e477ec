import { describe, expect, it } from 'vitest';
import { checkOptions } from './options.js';

describe('options of a storage driver', () => {
  it('names the nearest one for one that does not exist', () => {
    expect(() => checkOptions('btrfs', { min_spaec: '1' }, ['min_space', 'quota'])).toThrow(/the nearest is btrfs\.min_space/);
  });

  it('takes them with and without the name of the driver', () => {
    checkOptions('btrfs', { 'btrfs.min_space': '1', quota: '1' }, ['min_space', 'quota']);
  });

  it('says that there are none', () => {
    expect(() => checkOptions('vfs', { size: '1' }, [])).toThrow(expect.objectContaining({ kind: 'invalid-parameter' }));
  });
});
