import { invalid } from '@gantry/core/contracts/errors.js';
import type { LogContainer } from '@gantry/core/contracts/log.js';
import { orNearest } from '@gantry/core/contracts/nearest.js';

type Options = Readonly<Record<string, string>>;

const KNOWN = new Set([
  'max-file',
  'max-size',
  'compress',
  'labels',
  'labels-regex',
  'env',
  'env-regex',
  'tag',
  // Every driver's.
  'mode',
  'max-buffer-size',
]);

const UNITS: Readonly<Record<string, number>> = { '': 1, k: 1e3, m: 1e6, g: 1e9, t: 1e12, p: 1e15 };

/** `10m`, `1.5g`, `10kb`: powers of 1000, as Docker reads sizes of logs. */
function parseSize(option: string, text: string): number {
  const match = /^(\d+(?:\.\d+)?) ?([kmgtp]?)b?$/i.exec(text);
  const size = match ? Number(match[1]) * (UNITS[(match[2] ?? '').toLowerCase()] ?? 1) : Number.NaN;
  if (!Number.isFinite(size)) throw invalid(`invalid size for log opt '${option}': '${text}'`);
  return Math.floor(size);
}

function parseBoolean(option: string, text: string): boolean {
  if (['1', 't', 'T', 'true', 'TRUE', 'True'].includes(text)) return true;
  if (['0', 'f', 'F', 'false', 'FALSE', 'False'].includes(text)) return false;
  throw invalid(`invalid value for log opt '${option}': '${text}'`);
}

/** Longest text that a user's pattern is tried on. */
const MAX_MATCHED = 128;

/**
 * A user's pattern, in the part of the syntax that Go's linear engine and JavaScript's backtracking one share and that cannot
 * take exponential time here: no repetition of something that repeats, no look-around, no back reference.
 */
function parsePattern(option: string, text: string): RegExp {
  const refuse = (why: string): never => {
    throw invalid(`invalid pattern for log opt '${option}': ${why}`);
  };
  if (text.length > 256) refuse('too long');
  if (/\\[1-9k]|\(\?[=!<]/.test(text)) refuse('look-around and back references are not supported');
  if (/\([^)]*[+*{|][^)]*\)[+*{]/.test(text) || (text.match(/[+*{]/g) ?? []).length > 4) refuse('too complex');
  try {
    return new RegExp(text);
  } catch {
    return refuse('not a regular expression');
  }
}

export interface JsonFileOptions {
  readonly maxSize: number;
  readonly maxFiles: number;
  readonly compress: boolean;
}

/** Fails with `invalid-parameter` and Docker's words. */
export function parseOptions(options: Options): JsonFileOptions {
  for (const key of Object.keys(options)) {
    if (!KNOWN.has(key)) throw invalid(`unknown log opt '${key}' for json-file log driver${orNearest(key, [...KNOWN])}`);
  }
  checkMode(options);
  let maxSize = 0;
  if (options['max-size'] !== undefined && options['max-size'] !== '-1') {
    maxSize = parseSize('max-size', options['max-size']);
    if (maxSize <= 0) throw invalid('max-size must be a positive number');
  }
  let maxFiles = 1;
  if (options['max-file'] !== undefined) {
    if (!/^\d{1,6}$/.test(options['max-file'])) throw invalid(`invalid value for log opt 'max-file': '${options['max-file']}'`);
    maxFiles = Number(options['max-file']);
    if (maxFiles < 1) throw invalid('max-file cannot be less than 1');
  }
  const compress = options['compress'] !== undefined && parseBoolean('compress', options['compress']);
  if (compress && (maxSize === 0 || maxFiles < 2)) {
    throw invalid('compress cannot be true when max-file is less than 2 or max-size is not set');
  }
  for (const option of ['labels-regex', 'env-regex']) {
    const pattern = options[option];
    if (pattern !== undefined) parsePattern(option, pattern);
  }
  if (options['tag'] !== undefined) renderTag(options['tag'], EXAMPLE);
  return { maxSize, maxFiles, compress };
}

/** A file never keeps the container waiting, so both modes are the same here. */
function checkMode(options: Options): void {
  const mode = options['mode'];
  if (mode !== undefined && !['', 'blocking', 'non-blocking'].includes(mode)) {
    throw invalid(`logger: logging mode not supported: ${mode}`);
  }
  if (options['max-buffer-size'] !== undefined) {
    if (mode !== 'non-blocking') throw invalid("logger: max-buffer-size option is only supported with 'mode=non-blocking'");
    parseSize('max-buffer-size', options['max-buffer-size']);
  }
}

const EXAMPLE: LogContainer = { id: '', name: '', imageId: '', imageName: '', labels: {}, env: [], directory: '' };

const short = (id: string): string => id.replace(/^sha256:/, '').slice(0, 12);

const TAG_FIELDS: Readonly<Record<string, (container: LogContainer) => string>> = {
  ID: ({ id }) => short(id),
  FullID: ({ id }) => id,
  Name: ({ name }) => name.replace(/^\//, ''),
  ImageID: ({ imageId }) => short(imageId),
  ImageFullID: ({ imageId }) => imageId,
  ImageName: ({ imageName }) => imageName,
  DaemonName: () => 'docker',
};

/** Of Docker's tag templates the plain fields: `{{.Name}}`, `{{.ID}}` and so on. */
function renderTag(template: string, container: LogContainer): string {
  const text = template.replace(/\{\{\s*\.(\w+)\s*\}\}/g, (whole, field: string) => {
    const render = TAG_FIELDS[field];
    if (!render) throw invalid(`log tag: no field ${whole}`);
    return render(container);
  });
  if (/\{\{/.test(template.replace(/\{\{\s*\.\w+\s*\}\}/g, ''))) throw invalid(`log tag: only fields can be used in '${template}'`);
  return text;
}

function chosen(values: Readonly<Record<string, string>>, list: string | undefined, pattern: RegExp | undefined): [string, string][] {
  const wanted = new Set((list ?? '').split(',').map((name) => name.trim()));
  return Object.entries(values).filter(([name]) => wanted.has(name) || pattern?.test(name.slice(0, MAX_MATCHED)));
}

/** What is added to each record: labels and environment that were asked for, and the tag; keys in order, as Go prints a map. */
export function attributes(container: LogContainer, options: Options): Record<string, string> {
  const environment: Record<string, string> = Object.create(null) as Record<string, string>;
  for (const item of container.env) {
    const equals = item.indexOf('=');
    if (equals > 0) environment[item.slice(0, equals)] = item.slice(equals + 1);
  }
  const pattern = (option: string): RegExp | undefined =>
    options[option] === undefined ? undefined : parsePattern(option, options[option]);
  const found = new Map([
    ...chosen(container.labels, options['labels'], pattern('labels-regex')),
    ...chosen(environment, options['env'], pattern('env-regex')),
  ]);
  const tag = options['tag'] === undefined ? '' : renderTag(options['tag'], container);
  if (tag !== '') found.set('tag', tag);
  return Object.fromEntries([...found].sort(([a], [b]) => (a < b ? -1 : 1)));
}
