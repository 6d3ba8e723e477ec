import { invalid } from '../contracts/errors.js';

/** One instruction of a Dockerfile. */
export interface Instruction {
  /** Upper case. */
  readonly name: string;
  /** All that follows, without surrounding blanks. */
  readonly rest: string;
}

/** One line of a `--change`; a backslash at a line's end goes on with the next. */
export function readInstruction(line: string): Instruction {
  const joined = line.replace(/\\[ \t]*\r?\n/g, '').trim();
  const match = /^([A-Za-z]+)(?:\s+([\s\S]*))?$/.exec(joined);
  if (!match) throw invalid(`failed to parse instruction ${JSON.stringify(joined.slice(0, 100))}`);
  return { name: (match[1] ?? '').toUpperCase(), rest: (match[2] ?? '').trim() };
}

/** The list of an instruction in JSON form; `undefined` when it is in shell form. Docker takes what is no list of strings for shell form. */
export function jsonForm(rest: string): string[] | undefined {
  if (!rest.startsWith('[')) return undefined;
  try {
    const value: unknown = JSON.parse(rest);
    if (Array.isArray(value) && value.every((word) => typeof word === 'string')) return value as string[];
  } catch {
    // Shell form that happens to begin with a bracket.
  }
  return undefined;
}

/** Splits at blanks; quotes and backslashes keep a word together and stay in it. */
export function splitWords(text: string): string[] {
  const words: string[] = [];
  let word = '';
  let quote = '';
  let inWord = false;
  for (let at = 0; at < text.length; at++) {
    const character = text[at] ?? '';
    if (quote === '' && /\s/.test(character)) {
      if (inWord) words.push(word);
      word = '';
      inWord = false;
      continue;
    }
    inWord = true;
    if (character === '\\' && at + 1 < text.length && quote !== "'") {
      word += character + (text[++at] ?? '');
      continue;
    }
    if (quote === '' && (character === '"' || character === "'")) quote = character;
    else if (character === quote) quote = '';
    word += character;
  }
  if (inWord) words.push(word);
  return words;
}

/** Takes quotes and backslashes away, as a shell would: in double quotes a backslash escapes only what is special there. */
export function unquote(word: string): string {
  let result = '';
  let quote = '';
  for (let at = 0; at < word.length; at++) {
    const character = word[at] ?? '';
    const next = word[at + 1];
    if (character === '\\' && quote !== "'" && next !== undefined) {
      if (quote === '"' && !/["$\\]/.test(next)) result += character;
      result += next;
      at++;
    } else if (quote === '' && (character === '"' || character === "'")) quote = character;
    else if (character === quote) quote = '';
    else result += character;
  }
  if (quote !== '')
    throw invalid(`unexpected end of statement while looking for matching ${quote === '"' ? 'double-quote' : 'single-quote'}`);
  return result;
}

/** `a=b "c d"=e`, or the old `name the whole rest`. */
export function keyValues(name: string, rest: string): [string, string][] {
  const words = splitWords(rest);
  const first = words[0];
  if (first === undefined) throw invalid(`${name} requires at least one argument`);
  if (!first.includes('=')) {
    const value = rest.slice(first.length).trim();
    if (value === '') throw invalid(`${name} must have two arguments`);
    // The old form's value keeps its inner blanks.
    return [[unquote(first), unquote(value)]];
  }
  return words.map((word) => {
    const equals = word.indexOf('=');
    if (equals === -1) throw invalid(`Syntax error - can't find = in ${JSON.stringify(word)}. Must be of the form: name=value`);
    const key = unquote(word.slice(0, equals));
    if (key === '') throw invalid(`${name} names can not be blank`);
    return [key, unquote(word.slice(equals + 1))];
  });
}

const GO_UNITS: Readonly<Record<string, number>> = { ns: 1, us: 1e3, µs: 1e3, ms: 1e6, s: 1e9, m: 6e10, h: 3.6e12 };

/** Nanoseconds of a Go duration such as `1m30s`. */
export function goDuration(text: string): number {
  if (text === '0') return 0;
  if (!/^\+?(?:\d+(?:\.\d+)?(?:ns|us|µs|ms|s|m|h))+$/.test(text)) throw invalid(`time: invalid duration ${JSON.stringify(text)}`);
  let total = 0;
  for (const [, count, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)/g)) total += Number(count) * (GO_UNITS[unit ?? ''] ?? 0);
  return Math.round(total);
}
