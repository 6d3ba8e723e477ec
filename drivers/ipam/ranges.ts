import ipaddr from 'ipaddr.js';
import { invalid } from '@gantry/core/contracts/errors.js';

/** A block of addresses as numbers: both ends belong to it. */
export interface Range {
  readonly v6: boolean;
  readonly first: bigint;
  readonly last: bigint;
  readonly prefix: number;
}

const toNumber = (bytes: readonly number[]): bigint => bytes.reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0n);

/** One address in its usual notation; shorthand such as `10.1` is refused. */
export function parseAddress(text: string): { v6: boolean; value: bigint } {
  if (ipaddr.IPv4.isValidFourPartDecimal(text)) return { v6: false, value: toNumber(ipaddr.IPv4.parse(text).toByteArray()) };
  if (text.includes(':') && !text.includes('%') && ipaddr.IPv6.isValid(text))
    return { v6: true, value: toNumber(ipaddr.IPv6.parse(text).toByteArray()) };
  throw invalid(`invalid address: ${JSON.stringify(text.slice(0, 64))}`);
}

export function formatAddress(v6: boolean, value: bigint): string {
  const bytes = Array.from({ length: v6 ? 16 : 4 }, (_, i) => Number((value >> BigInt(8 * ((v6 ? 15 : 3) - i))) & 0xffn));
  return ipaddr.fromByteArray(bytes).toString();
}

/** A CIDR; host bits may be set and are cleared. */
export function parseRange(text: string): Range {
  const [host, length, ...rest] = text.split('/');
  const { v6, value } = parseAddress(host ?? '');
  const width = v6 ? 128 : 32;
  const prefix = Number(length);
  if (rest.length > 0 || !/^\d{1,3}$/.test(length ?? '') || prefix > width)
    throw invalid(`invalid CIDR: ${JSON.stringify(text.slice(0, 64))}`);
  return rangeAt(v6, value, prefix);
}

/** The block of that prefix length that holds `value`. */
export function rangeAt(v6: boolean, value: bigint, prefix: number): Range {
  const size = 1n << BigInt((v6 ? 128 : 32) - prefix);
  const first = value - (value % size);
  return { v6, first, last: first + size - 1n, prefix };
}

export const formatRange = (range: Range): string => `${formatAddress(range.v6, range.first)}/${range.prefix}`;

export const overlaps = (a: Range, b: Range): boolean => a.v6 === b.v6 && a.first <= b.last && b.first <= a.last;

export const within = (range: Range, value: bigint): boolean => value >= range.first && value <= range.last;
