import { goQuote } from './quote.js';
import { TemplateError } from './template-parse.js';
import { isTrue, show, toJson } from './template-value.js';
import { significant } from './units.js';

export type TemplateFunction = (...args: unknown[]) => unknown;

/** Runs a function of Docker's or Go's templates by name. */
export const call = (name: string, args: unknown[]): unknown => {
  const run = functions[name];
  if (!run) throw new TemplateError(`function "${name}" not defined`);
  try {
    return run(...args);
  } catch (error) {
    throw error instanceof TemplateError ? error : new TemplateError(`error calling ${name}: ${(error as Error).message}`);
  }
};

const text = (value: unknown, what: string): string => {
  if (typeof value !== 'string') throw new TemplateError(`wrong type for value; expected string; got ${what}`);
  return value;
};

const words = (value: unknown): string[] => {
  if (value === null || value === undefined) return [];
  if (!Array.isArray(value)) throw new TemplateError('wrong type for value; expected []string');
  return value.map((each) => show(each));
};

const lengthOf = (value: unknown): number => {
  if (typeof value === 'string') return Buffer.byteLength(value);
  if (Array.isArray(value)) return value.length;
  if (typeof value === 'object' && value !== null) return Object.keys(value).length;
  throw new Error(value === null || value === undefined ? 'len of nil pointer' : `len of type ${typeof value}`);
};

const index: TemplateFunction = (from, ...keys) =>
  keys.reduce((value: unknown, key) => {
    if (value === null || value === undefined) throw new Error('index of untyped nil');
    if (Array.isArray(value) || typeof value === 'string') {
      if (typeof key !== 'number') throw new Error(`cannot index slice/array with type ${typeof key}`);
      if (!Number.isInteger(key) || key < 0 || key >= value.length) throw new Error(`index out of range: ${key}`);
      return value[key];
    }
    if (typeof value !== 'object') throw new Error(`can't index item of type ${typeof value}`);
    const member = Object.hasOwn(value, String(key)) ? (value as Record<string, unknown>)[String(key)] : undefined;
    return typeof member === 'function' ? (member as TemplateFunction)() : member;
  }, from);

const compare = (left: unknown, right: unknown): number => {
  if (typeof left === 'string' && typeof right === 'string') return left < right ? -1 : left > right ? 1 : 0;
  const numeric = (value: unknown): boolean => typeof value === 'number' || typeof value === 'bigint';
  if (!numeric(left) || !numeric(right)) throw new Error('incompatible types for comparison');
  return (left as number) < (right as number) ? -1 : (left as number) > (right as number) ? 1 : 0;
};

const equal = (left: unknown, right: unknown): boolean => {
  const basic = (value: unknown): boolean => ['string', 'number', 'bigint', 'boolean'].includes(typeof value);
  if (!basic(left) || !basic(right)) {
    if ((left ?? null) === null || (right ?? null) === null) return (left ?? null) === (right ?? null);
    throw new Error('non-comparable types');
  }
  if (
    typeof left !== typeof right &&
    (typeof left === 'string' || typeof right === 'string' || typeof left === 'boolean' || typeof right === 'boolean')
  ) {
    throw new Error('incompatible types for comparison');
  }
  // By their digits, since a bigint and a number of the same amount are equal here.
  return String(left) === String(right);
};

const titled = (value: string): string =>
  value.replace(/(^|[^\p{L}\p{N}_'])(\p{L})/gu, (_, before: string, letter: string) => before + letter.toUpperCase());

/** Go puts a space between two neighbours when neither is a string. */
const sprint = (args: unknown[]): string =>
  args.map((arg, at) => (at > 0 && typeof arg !== 'string' && typeof args[at - 1] !== 'string' ? ' ' : '') + show(arg, true)).join('');

const html: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&#34;', "'": '&#39;' };

const functions: Record<string, TemplateFunction> = {
  json: (value) => toJson(value),
  join: (list, separator) => words(list).join(text(separator, 'separator')),
  split: (value, separator) => text(value, 'value').split(text(separator, 'separator')),
  lower: (value) => text(value, 'value').toLowerCase(),
  upper: (value) => text(value, 'value').toUpperCase(),
  title: (value) => titled(text(value, 'value')),
  pad: (value, before, after) => (value === '' ? value : ' '.repeat(Number(before)) + text(value, 'value') + ' '.repeat(Number(after))),
  truncate: (value, length) => text(value, 'value').slice(0, Number(length)),
  println: (...args) => `${args.map((arg) => show(arg, true)).join(' ')}\n`,
  print: (...args) => sprint(args),
  printf: (format, ...args) => sprintf(text(format, 'format'), args),
  len: (value) => lengthOf(value),
  index,
  slice: (value, from, to) => (value as string | unknown[]).slice(from as number | undefined, to as number | undefined),
  not: (value) => !isTrue(value),
  eq: (left, ...rights) => rights.some((right) => equal(left, right)),
  ne: (left, right) => !equal(left, right),
  lt: (left, right) => compare(left, right) < 0,
  le: (left, right) => compare(left, right) <= 0,
  gt: (left, right) => compare(left, right) > 0,
  ge: (left, right) => compare(left, right) >= 0,
  html: (...args) => sprint(args).replace(/[&<>"']/g, (char) => html[char] as string),
  urlquery: (...args) => encodeURIComponent(sprint(args)).replaceAll('%20', '+'),
  js: (...args) => JSON.stringify(sprint(args)).slice(1, -1),
};

const sprintf = (format: string, args: unknown[]): string => {
  let next = 0;
  const out = format.replace(
    /%([-+# 0]*)(\d+)?(?:\.(\d+))?([a-zA-Z%])/g,
    (_, marks: string, width: string | undefined, precision: string | undefined, verb: string) => {
      if (verb === '%') return '%';
      if (next >= args.length) return `%!${verb}(MISSING)`;
      const value = args[next++];
      let shown = formatOne(verb, value, precision === undefined ? undefined : Number(precision));
      if (marks.includes('+') && typeof value === 'number' && value >= 0) shown = `+${shown}`;
      const room = Number(width ?? 0);
      if (marks.includes('-')) return shown.padEnd(room);
      if (marks.includes('0') && typeof value === 'number')
        return shown.startsWith('-') ? `-${shown.slice(1).padStart(room - 1, '0')}` : shown.padStart(room, '0');
      return shown.padStart(room);
    },
  );
  return next < args.length
    ? `${out}%!(EXTRA ${args
        .slice(next)
        .map((arg) => `${typeof arg}=${show(arg, true)}`)
        .join(', ')})`
    : out;
};

const formatOne = (verb: string, value: unknown, precision: number | undefined): string => {
  switch (verb) {
    case 's':
    case 'v':
      return precision === undefined || typeof value !== 'string' ? show(value, true) : value.slice(0, precision);
    case 'q':
      return goQuote(show(value, true));
    case 'd':
      return typeof value === 'number' || typeof value === 'bigint' ? String(value) : `%!d(${typeof value}=${show(value, true)})`;
    case 'f':
      return Number(value).toFixed(precision ?? 6);
    case 'g':
      return precision === undefined ? String(value) : significant(Number(value), precision);
    case 'e':
      return Number(value).toExponential(precision ?? 6);
    case 't':
      return String(value);
    case 'x':
    case 'X': {
      const hex = typeof value === 'string' ? Buffer.from(value).toString('hex') : (value as number).toString(16);
      return verb === 'X' ? hex.toUpperCase() : hex;
    }
    case 'o':
      return (value as number).toString(8);
    case 'b':
      return (value as number).toString(2);
    case 'c':
      return String.fromCodePoint(Number(value));
    default:
      return `%!${verb}(${show(value, true)})`;
  }
};
