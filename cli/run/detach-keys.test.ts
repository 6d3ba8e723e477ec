import { describe, expect, it } from 'vitest';
import { keyWatcher, parseDetachKeys } from './detach-keys.js';

describe('the keys that detach', () => {
  it('are letters and control characters', () => {
    expect(parseDetachKeys('')).toEqual([16, 17]);
    expect(parseDetachKeys('a,ctrl-A,ctrl-@,ctrl-[')).toEqual([97, 1, 0, 27]);
    expect(() => parseDetachKeys('ctrl-1')).toThrow("unknown character: 'ctrl-1'");
  });

  it('are seen in whatever pieces they are typed', () => {
    const keys = keyWatcher('');
    keys.saw(Buffer.from('ls\u0010'));
    expect(keys.matched()).toBe(false);
    keys.saw(Buffer.from('\u0011'));
    expect(keys.matched()).toBe(true);
  });

  it('must follow each other', () => {
    const keys = keyWatcher('');
    keys.saw(Buffer.from('\u0010x\u0011'));
    expect(keys.matched()).toBe(false);
    keys.saw(Buffer.from('\u0010\u0010\u0011'));
    expect(keys.matched()).toBe(true);
  });
});
