import { goQuote } from './quote.js';

/** Parsers for what users type, with the error texts of the Go functions behind Docker's flags. */

const binary: Record<string, number> = { k: 1024, m: 1024 ** 2, g: 1024 ** 3, t: 1024 ** 4, p: 1024 ** 5 };

/** `512m`, `1.5g`, `2GiB`, `100`: bytes, with binary multiples whatever the spelling, as Docker's memory flags read them. */
export const parseBytes = (text: string): number => {
  const at = lastNumber(text);
  if (at < 0) throw new Error(`invalid size: '${text}'`);
  const digits = text.slice(0, at + 1);
  let suffix = text.slice(at + 1);
  if (suffix.startsWith(' ')) suffix = suffix.slice(1);
  if (!/^[+-]?(\d+(\.\d*)?|\.\d+)$/.test(digits)) throw new Error(`strconv.ParseFloat: parsing ${goQuote(digits)}: invalid syntax`);
  const amount = Number(digits);
  if (amount < 0) throw new Error(`invalid size: '${text}'`);
  if (suffix === '') return Math.trunc(amount);
  const unit = suffix.toLowerCase();
  if (unit.length > 3) throw new Error(`invalid suffix: '${suffix}'`);
  if (unit === 'b') return Math.trunc(amount);
  const factor = binary[unit[0] as string];
  if (factor === undefined || !(unit.length === 1 || unit.slice(1) === 'b' || unit.slice(1) === 'ib'))
    throw new Error(`invalid suffix: '${suffix}'`);
  return Math.trunc(amount * factor);
};

const lastNumber = (text: string): number => {
  for (let at = text.length - 1; at >= 0; at--) if (/[\d. ]/.test(text[at] as string)) return text[at] === ' ' ? at - 1 : at;
  return -1;
};

const nanos: Record<string, number> = { ns: 1, us: 1e3, µs: 1e3, μs: 1e3, ms: 1e6, s: 1e9, m: 60e9, h: 3600e9 };

/** `1h30m`, `250ms`: nanoseconds. */
export const parseDuration = (text: string): number => {
  const bad = (): Error => new Error(`time: invalid duration ${goQuote(text)}`);
  let rest = text;
  let sign = 1;
  if (rest.startsWith('-') || rest.startsWith('+')) {
    if (rest.startsWith('-')) sign = -1;
    rest = rest.slice(1);
  }
  if (rest === '0') return 0;
  if (rest === '') throw bad();
  let total = 0;
  while (rest !== '') {
    const amount = /^(\d+(\.\d*)?|\.\d+)/.exec(rest)?.[0];
    if (amount === undefined) throw bad();
    rest = rest.slice(amount.length);
    const unit = /^[^\d.]+/.exec(rest)?.[0] ?? '';
    if (unit === '') throw new Error(`time: missing unit in duration ${goQuote(text)}`);
    const scale = nanos[unit];
    if (scale === undefined) throw new Error(`time: unknown unit ${goQuote(unit)} in duration ${goQuote(text)}`);
    total += Number(amount) * scale;
    rest = rest.slice(unit.length);
  }
  return sign * Math.round(total);
};

/** A whole number in Go's spelling (decimal, 0x, 0o, 0b, underscores), within `bits`. */
export const parseInteger = (text: string, bits: number, unsigned: boolean): number => {
  const name = unsigned ? 'strconv.ParseUint' : 'strconv.ParseInt';
  const match = /^([+-]?)(0[xX][\da-fA-F]+|0[oO]?[0-7]+|0[bB][01]+|[1-9]\d*(_\d+)*|0)$/.exec(text);
  if (!match || (unsigned && match[1] !== '')) throw new Error(`${name}: parsing ${goQuote(text)}: invalid syntax`);
  const digits = (match[2] as string).replaceAll('_', '').replace(/^0(?=[0-7]+$)/, '0o');
  const value = BigInt(digits) * (match[1] === '-' ? -1n : 1n);
  const top = 1n << BigInt(unsigned ? bits : bits - 1);
  if (value >= top || value < (unsigned ? 0n : -top)) throw new Error(`${name}: parsing ${goQuote(text)}: value out of range`);
  // Past 2^53 a JSON number loses digits; nothing in the API is that large except "no limit".
  return Number(value);
};
