import { describe, expect, it } from 'vitest';
import { nearest, orNearest } from './nearest.js';

describe('the nearest known word', () => {
  it('is the one with the fewest edits, whatever the case', () => {
    expect(nearest('btrfs.min_spcae', ['btrfs.size', 'btrfs.min_space'])).toBe('btrfs.min_space');
    expect(nearest('SISE', ['driver', 'size'])).toBe('size');
    expect(nearest('', ['driver', 'o'])).toBe('o');
  });

  it('is the first of several that are as near', () => {
    expect(nearest('x', ['b', 'a'])).toBe('b');
  });

  it('is none when nothing is known', () => {
    expect(nearest('size', [])).toBeUndefined();
    expect(orNearest('size', [])).toBe('; there are none');
  });

  it('does not take long for a word that nobody would type', () => {
    expect(nearest('s'.repeat(10_000_000), ['driver', 'ssss'])).toBe('ssss');
  });
});
