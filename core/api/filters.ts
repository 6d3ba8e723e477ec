import { invalid } from '../contracts/errors.js';
import { limits } from './limits.js';
import { parseStrictJson } from './strict-json.js';

/** Values by key. */
export type FilterValues = Map<string, string[]>;

/**
 * The `filters` query value, in either of the two forms that clients send: `{key: {value: true}}` and `{key: [value]}`.
 * A key that the request does not know is refused, as Docker does.
 */
export function decodeFilters(source: string, known: readonly string[]): FilterValues {
  const filters: FilterValues = new Map();
  if (source === '') return filters;
  if (source.length > limits.filters) throw invalid('invalid filters: too long');
  const decoded = parseStrictJson(source);
  if (decoded === null) return filters;
  if (typeof decoded !== 'object' || Array.isArray(decoded)) throw invalid('invalid filters: an object is expected');
  for (const [key, given] of Object.entries(decoded)) {
    if (!known.includes(key)) throw invalid(`invalid filter '${key}'`);
    if (given === null) continue;
    const values = Array.isArray(given) ? given.map(String) : typeof given === 'object' ? Object.keys(given) : [String(given)];
    if (values.length > 0) filters.set(key, values);
  }
  return filters;
}
