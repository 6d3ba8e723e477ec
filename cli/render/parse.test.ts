import { describe, expect, it } from 'vitest';
import { parseBytes, parseDuration, parseInteger } from './parse.js';
import { goQuote, printable } from './quote.js';
import { timestamp } from './timestamp.js';

describe('sizes that users write', () => {
  it.each([
    ['32', 32],
    ['32b', 32],
    ['32K', 32 * 1024],
    ['32kb', 32 * 1024],
    ['32Kib', 32 * 1024],
    ['1.5g', 1.5 * 1024 ** 3],
    ['32 MB', 32 * 1024 ** 2],
    ['.5k', 512],
  ])('%s', (text, bytes) => expect(parseBytes(text)).toBe(bytes));

  it.each([
    ['', "invalid size: ''"],
    ['hello', "invalid size: 'hello'"],
    ['-32', "invalid size: '-32'"],
    ['32mm', "invalid suffix: 'mm'"],
    ['1q', "invalid suffix: 'q'"],
  ])('%s is refused', (text, message) => expect(() => parseBytes(text)).toThrow(message));
});

describe('durations that users write', () => {
  it.each([
    ['1s', 1e9],
    ['1h30m', 5400e9],
    ['1.5s', 1.5e9],
    ['250ms', 250e6],
    ['-5s', -5e9],
    ['0', 0],
  ])('%s', (text, nanoseconds) => expect(parseDuration(text)).toBe(nanoseconds));

  it.each([
    ['3', 'time: missing unit in duration "3"'],
    ['3x', 'time: unknown unit "x" in duration "3x"'],
    ['', 'time: invalid duration ""'],
    ['s', 'time: invalid duration "s"'],
  ])('%s is refused', (text, message) => expect(() => parseDuration(text)).toThrow(message));
});

describe('whole numbers', () => {
  it('come in every spelling that Go takes', () => {
    expect(parseInteger('-12', 64, false)).toBe(-12);
    expect(parseInteger('0x10', 64, false)).toBe(16);
    expect(parseInteger('010', 64, false)).toBe(8);
  });

  it('are refused with the name of the function that Docker users know', () => {
    expect(() => parseInteger('x', 64, false)).toThrow('strconv.ParseInt: parsing "x": invalid syntax');
    expect(() => parseInteger('70000', 16, true)).toThrow('strconv.ParseUint: parsing "70000": value out of range');
    expect(() => parseInteger('-1', 16, true)).toThrow('invalid syntax');
  });
});

describe('times that users write', () => {
  const now = new Date('2026-01-01T00:01:00Z');
  it('are ages, seconds, or points in time', () => {
    expect(timestamp('1m', now)).toBe('1767225600.000000000');
    expect(timestamp('1136073600.000000001', now)).toBe('1136073600.000000001');
    expect(timestamp('2006-01-02T15:04:05.999999999Z', now)).toBe('1136214245.999999999');
    expect(timestamp('2006-01-02T15:04:05+07:00', now)).toBe('1136189045.000000000');
  });

  it('are refused when they are none', () => {
    expect(() => timestamp('yesterday', now)).toThrow('failed to parse value as time or duration: "yesterday"');
  });
});

describe('quoting', () => {
  it('writes what Go writes', () => {
    expect(goQuote('sh -c "a\tb"\n')).toBe('"sh -c \\"a\\tb\\"\\n"');
    expect(goQuote('\u0001é\\')).toBe('"\\x01é\\\\"');
  });

  it('shows control characters instead of sending them to the terminal', () => {
    expect(printable('a\u001b]0;title\u0007b\tc\n')).toBe('a\\x1b]0;title\\x07b\tc\n');
  });
});
