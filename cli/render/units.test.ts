import { describe, expect, it } from 'vitest';
import { binarySize, ellipsis, goTime, humanDuration, humanSize, shortId, significant } from './units.js';

const second = 1000;
const minute = 60 * second;
const hour = 60 * minute;
const day = 24 * hour;

describe('sizes', () => {
  it.each([
    [0, '0B'],
    [999, '999B'],
    [1000, '1kB'],
    [1_234_567, '1.235MB'],
    [123_456_789, '123.5MB'],
    [1_000_000_000_000, '1TB'],
  ])('%d bytes are %s', (bytes, text) => expect(humanSize(bytes)).toBe(text));

  it('have three digits in lists, and an exponent where those do not suffice', () => {
    expect(humanSize(1_984_000, 3)).toBe('1.98MB');
    expect(humanSize(999_900, 3)).toBe('1e+03kB');
  });

  it('count in powers of two for memory', () => {
    expect(binarySize(327_680)).toBe('320KiB');
    expect(binarySize(25_276_000_000)).toBe('23.54GiB');
    expect(binarySize(0)).toBe('0B');
  });

  it('print like %g', () => {
    expect(significant(0.00001234, 3)).toBe('1.23e-05');
    expect(significant(100, 3)).toBe('100');
    expect(significant(1024, 4)).toBe('1024');
    expect(significant(-1.5, 4)).toBe('-1.5');
  });
});

describe('durations', () => {
  it.each([
    [999, 'Less than a second'],
    [second, '1 second'],
    [59 * second, '59 seconds'],
    [minute, 'About a minute'],
    [2 * minute, '2 minutes'],
    [59 * minute, '59 minutes'],
    [hour, 'About an hour'],
    [hour + 29 * minute, 'About an hour'],
    [hour + 30 * minute, '2 hours'],
    [47 * hour, '47 hours'],
    [48 * hour, '2 days'],
    [13 * day, '13 days'],
    [14 * day, '2 weeks'],
    [59 * day, '8 weeks'],
    [60 * day, '2 months'],
    [729 * day, '24 months'],
    [730 * day, '2 years'],
  ])('%d ms is %s', (milliseconds, text) => expect(humanDuration(milliseconds)).toBe(text));
});

describe('names and times', () => {
  it('cut an id to twelve digits, with or without its algorithm', () => {
    expect(shortId(`sha256:${'a'.repeat(64)}`)).toBe('aaaaaaaaaaaa');
    expect(shortId('0123456789abcdef')).toBe('0123456789ab');
  });

  it('cut what is too wide with an ellipsis', () => {
    expect(ellipsis('abcdef', 6)).toBe('abcdef');
    expect(ellipsis('abcdefg', 6)).toBe('abcde…');
    expect(ellipsis('日本語日本語', 6)).toBe('日本…');
  });

  it('print a time as Go does', () => {
    expect(goTime('2026-11-20T23:09:31.847181220Z')).toBe('2026-11-20 23:09:31.84718122 +0000 UTC');
    expect(goTime('2026-11-20T23:09:31+02:00')).toBe('2026-11-20 23:09:31 +0200 +0200');
  });
});
