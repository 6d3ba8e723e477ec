import type { FastifyRequest } from 'fastify';
import { invalid } from '../contracts/errors.js';

const FALSE = new Set(['', '0', 'no', 'false', 'none']);

/** Docker's reading of a boolean: some words are false, all else is true. */
export const isTrue = (value: string): boolean => !FALSE.has(value.trim().toLowerCase());

/** The query of one request, read with Docker's rules. */
export class Query {
  private readonly values: Readonly<Record<string, string | string[] | undefined>>;

  constructor(request: FastifyRequest) {
    this.values = request.query as Readonly<Record<string, string | string[] | undefined>>;
  }

  has(key: string): boolean {
    return this.values[key] !== undefined;
  }

  /** The first value, '' when absent. */
  text(key: string): string {
    const value = this.values[key];
    return (Array.isArray(value) ? value[0] : value) ?? '';
  }

  /** Every value of a key that may repeat. */
  list(key: string): string[] {
    const value = this.values[key];
    return value === undefined ? [] : Array.isArray(value) ? value : [value];
  }

  bool(key: string, absent = false): boolean {
    return this.has(key) ? isTrue(this.text(key)) : absent;
  }

  /** `undefined` when absent or empty; what is no whole number is refused. */
  integer(key: string): number | undefined {
    const value = this.text(key).trim();
    if (value === '') return undefined;
    const number = Number(value);
    if (!/^[+-]?\d+$/.test(value) || !Number.isSafeInteger(number))
      throw invalid(`invalid value for ${key}: ${JSON.stringify(value)} is not a number`);
    return number;
  }

  /** A size of a terminal: required, 32 bits. */
  uint32(key: string): number {
    const value = this.text(key);
    const number = Number(value);
    if (!/^\d+$/.test(value) || number > 0xffff_ffff)
      throw invalid(`invalid resize ${key === 'h' ? 'height' : 'width'} ${JSON.stringify(value)}: invalid syntax`);
    return number;
  }

  /** Seconds since 1970 with optional fraction, to nanoseconds. `undefined` when absent, empty or 0. */
  time(key: string): bigint | undefined {
    const value = this.text(key);
    if (value === '' || value === '0') return undefined;
    const parts = /^(-?)(\d{1,12})(?:\.(\d{1,9})\d*)?$/.exec(value);
    if (!parts) throw invalid(`invalid value for ${JSON.stringify(key)}: invalid timestamp ${JSON.stringify(value)}`);
    const nanos = BigInt(parts[2] ?? '0') * 1_000_000_000n + BigInt((parts[3] ?? '').padEnd(9, '0'));
    return parts[1] === '-' ? -nanos : nanos;
  }
}
