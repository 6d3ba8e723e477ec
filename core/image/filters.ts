import { invalid } from '../contracts/errors.js';
import { familiarForm, familiarName, parseReference } from '../content/reference.js';
import type { ImageRecord, ImageStore } from './image-store.js';
import type { ImageFilters } from './images.js';
import { resolve } from './lookup.js';

type Test = (record: ImageRecord) => boolean;

/** `true`, `1` … as Go reads a boolean. */
export function boolean(key: string, values: readonly string[]): boolean {
  const read = values.map((value) => {
    if (/^(1|t|true)$/i.test(value)) return true;
    if (/^(0|f|false)$/i.test(value)) return false;
    throw invalid(`invalid filter '${key}=[${values.join(' ')}]'`);
  });
  if (new Set(read).size !== 1) throw invalid(`invalid filter '${key}=[${values.join(' ')}]'`);
  return read[0] === true;
}

const UNITS: Readonly<Record<string, number>> = { ns: 1e-6, us: 1e-3, µs: 1e-3, ms: 1, s: 1e3, m: 6e4, h: 3.6e6 };

/** Milliseconds since 1970 from a Unix time, a Go duration before now, or a date. */
export function timestamp(text: string, now: number = Date.now()): number {
  if (/^-?\d+(\.\d+)?$/.test(text)) return Number(text) * 1_000;
  if (/^(?:\d+(?:\.\d+)?(?:ns|us|µs|ms|s|m|h))+$/.test(text)) {
    let ago = 0;
    for (const [, count, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)/g)) ago += Number(count) * (UNITS[unit ?? ''] ?? 0);
    return now - ago;
  }
  const date = /^\d{4}-\d\d-\d\d(?:T\d\d(?::\d\d(?::\d\d(?:\.\d+)?)?)?)?(?:Z|[+-]\d\d:\d\d)?$/.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(date)) throw invalid(`failed to parse value as time or duration: ${JSON.stringify(text.slice(0, 80))}`);
  return date;
}

function single(filters: ImageFilters, key: string): string | undefined {
  const values = filters.get(key);
  if (!values || values.length === 0) return undefined;
  if (values.length > 1) throw invalid(`invalid filter '${key}=[${values.join(' ')}]'`);
  return values[0];
}

/** Unix milliseconds at which an image was made; one that does not say is as old as can be. */
export const createdAt = (record: ImageRecord): number => {
  const time = Date.parse(record.image.created);
  return Number.isNaN(time) ? Number.NEGATIVE_INFINITY : time;
};

export function hasLabel(record: ImageRecord, wanted: string): boolean {
  const equals = wanted.indexOf('=');
  const { labels } = record.image.config;
  const key = equals === -1 ? wanted : wanted.slice(0, equals);
  return Object.hasOwn(labels, key) && (equals === -1 || labels[key] === wanted.slice(equals + 1));
}

/** Go's path.Match, where a star stops at a slash, as a pattern without backtracking traps. */
function globPattern(glob: string): RegExp {
  let source = '';
  for (let at = 0; at < glob.length; at++) {
    const character = glob[at] ?? '';
    if (character === '*') {
      // Several stars mean what one means.
      while (glob[at + 1] === '*') at++;
      source += '[^/]*';
    } else if (character === '?') source += '[^/]';
    else if (character === '[') {
      const end = glob.indexOf(']', at + 2);
      if (end === -1) throw invalid(`invalid filter 'reference=[${glob}]'`);
      const set = glob.slice(at + 1, end);
      source += `[${set.startsWith('^') ? '^' : ''}${set.replace(/^\^/, '').replace(/[\\\]^[]/g, '\\$&')}]`;
      at = end;
    } else source += character.replace(/[\\^$.|+(){}[\]]/g, '\\$&');
  }
  return new RegExp(`^${source}$`);
}

/** The name as a user would write it fits, with its tag or without. */
function fitsReference(name: string, pattern: RegExp): boolean {
  const reference = parseReference(name);
  return pattern.test(familiarForm(reference)) || pattern.test(familiarName(reference));
}

const KNOWN = new Set(['dangling', 'label', 'label!', 'before', 'since', 'reference', 'until']);

export interface ImageTest {
  (record: ImageRecord): boolean;
  /** Whether one of an image's names is to be shown; set when the filter asks for names. */
  readonly showsName: ((name: string) => boolean) | undefined;
}

/** What a client's filters for images mean. Keys are AND-ed, values of one key OR-ed, labels all hold. Unknown keys are refused. */
export function imageTest(store: ImageStore, filters: ImageFilters, known: ReadonlySet<string> = KNOWN): ImageTest {
  for (const key of filters.keys()) if (!known.has(key)) throw invalid(`invalid filter '${key}'`);
  const tests: Test[] = [];

  const dangling = filters.get('dangling');
  if (dangling && dangling.length > 0 && known === KNOWN) {
    const wanted = boolean('dangling', dangling);
    // An image with a digest alone is listed by either: it has a reference, and no tag.
    tests.push((record) => {
      const names = store.namesOf(record.id);
      return wanted ? names.every((name) => name.includes('@')) : names.length > 0;
    });
  }
  for (const label of filters.get('label') ?? []) tests.push((record) => hasLabel(record, label));
  for (const label of filters.get('label!') ?? []) tests.push((record) => !hasLabel(record, label));

  const before = single(filters, 'before');
  if (before !== undefined) {
    const limit = createdAt(resolve(store, before));
    tests.push((record) => createdAt(record) < limit);
  }
  const since = single(filters, 'since');
  if (since !== undefined) {
    const limit = createdAt(resolve(store, since));
    tests.push((record) => createdAt(record) > limit);
  }
  const until = single(filters, 'until');
  if (until !== undefined) {
    const limit = timestamp(until);
    tests.push((record) => createdAt(record) < limit);
  }

  const patterns = (filters.get('reference') ?? []).map(globPattern);
  const showsName = patterns.length === 0 ? undefined : (name: string): boolean => patterns.some((pattern) => fitsReference(name, pattern));
  if (showsName) tests.push((record) => store.namesOf(record.id).some(showsName));
  return Object.assign((record: ImageRecord) => tests.every((test) => test(record)), { showsName });
}
