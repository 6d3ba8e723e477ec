import { parseDuration } from './parse.js';
import { goQuote } from './quote.js';

/**
 * The time that a user wrote, for the API: seconds since 1970 with a fraction. Takes an age (`10m`), seconds since 1970, and
 * the forms of RFC 3339, in local time where no zone is named.
 *
 * @throws Error when it is none of these
 */
export const timestamp = (text: string, now = new Date()): string => {
  try {
    const age = parseDuration(text);
    return seconds(BigInt(now.getTime()) * 1_000_000n - BigInt(age));
  } catch {
    // No age: then it is a point in time.
  }
  if (/^\d+(\.\d+)?$/.test(text)) return text;
  const match = /^(\d{4}-\d{2}-\d{2})(?:T(\d{2})(?::(\d{2})(?::(\d{2})(\.\d{1,9})?)?)?)?(Z|[+-]\d{2}:\d{2})?$/.exec(text);
  if (!match) throw new Error(`failed to parse value as time or duration: ${goQuote(text)}`);
  const [, date, hour = '00', minute = '00', second = '00', fraction = '', zone = ''] = match as unknown as [
    string,
    string,
    string?,
    string?,
    string?,
    string?,
    string?,
  ];
  const at = new Date(`${date}T${hour}:${minute}:${second}${zone}`);
  if (Number.isNaN(at.getTime())) throw new Error(`failed to parse value as time or duration: ${goQuote(text)}`);
  return seconds(BigInt(at.getTime()) * 1_000_000n + BigInt(fraction.slice(1).padEnd(9, '0') || 0));
};

const seconds = (nanoseconds: bigint): string => `${nanoseconds / 1_000_000_000n}.${String(nanoseconds % 1_000_000_000n).padStart(9, '0')}`;
