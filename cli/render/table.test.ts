import { describe, expect, it } from 'vitest';
import { align } from './table.js';

describe('a table', () => {
  it('pads a column to its widest cell and three spaces, and never below ten', () => {
    expect(align('ID\tNAME\n123456789012\tx')).toBe('ID             NAME\n123456789012   x');
    expect(align('A\tB\nab\tc')).toBe('A         B\nab        c');
  });

  it('leaves the last cell of a line alone, however long it is', () => {
    expect(align('A\tvery long last cell\nb\tx')).toBe('A         very long last cell\nb         x');
  });

  it('ends a column at the first line that has no tab after its cell', () => {
    expect(align('a\tb\nplain\nlonger than ten\tb')).toBe('a         b\nplain\nlonger than ten   b');
  });

  it('keeps an empty cell as wide as its column', () => {
    expect(align('PORTS\tNAMES\n\tweb')).toBe('PORTS     NAMES\n          web');
  });

  it('counts characters, not bytes', () => {
    expect(align('ééééééééé\tx\na\ty')).toBe('ééééééééé   x\na           y');
  });
});
