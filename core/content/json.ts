import { invalid } from '../contracts/errors.js';
import { limits } from './limits.js';

export type Json = null | boolean | number | string | Json[] | JsonObject;
/** Has no prototype: a key such as `__proto__` is a key like any other. */
export type JsonObject = { [key: string]: Json };

const SPACE = /[ \t\n\r]*/y;
const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
// A string without its meaning: JSON.parse gives it that, and refuses what is wrong in it.
const STRING = /"(?:[^"\\]|\\.)*"/y;

class Parser {
  private at = 0;
  private values = 0;
  constructor(
    private readonly text: string,
    private readonly what: string,
  ) {}

  document(): Json {
    const value = this.value(0);
    this.space();
    if (this.at !== this.text.length) this.fail('something follows the document');
    return value;
  }

  private value(depth: number): Json {
    if (depth > limits.jsonDepth) this.fail(`nested deeper than ${limits.jsonDepth}`);
    if (++this.values > limits.jsonValues) this.fail(`more than ${limits.jsonValues} values`);
    this.space();
    switch (this.text[this.at]) {
      case '{':
        return this.object(depth);
      case '[':
        return this.array(depth);
      case '"':
        return this.string();
      case 't':
        return this.word('true', true);
      case 'f':
        return this.word('false', false);
      case 'n':
        return this.word('null', null);
      default:
        return this.number();
    }
  }

  private object(depth: number): JsonObject {
    const object = Object.create(null) as JsonObject;
    this.at++;
    if (this.accept('}')) return object;
    do {
      this.space();
      const key = this.string();
      if (key in object) this.fail(`the key ${JSON.stringify(key.slice(0, 80))} appears twice`);
      this.expect(':');
      object[key] = this.value(depth + 1);
    } while (this.accept(','));
    this.expect('}');
    return object;
  }

  private array(depth: number): Json[] {
    const array: Json[] = [];
    this.at++;
    if (this.accept(']')) return array;
    do array.push(this.value(depth + 1));
    while (this.accept(','));
    this.expect(']');
    return array;
  }

  private string(): string {
    const token = this.match(STRING) ?? this.fail('a string was expected');
    try {
      return JSON.parse(token) as string;
    } catch (error) {
      return this.fail('a malformed string', error);
    }
  }

  private number(): number {
    const token = this.match(NUMBER) ?? this.fail('a value was expected');
    const value = Number(token);
    if (!Number.isFinite(value) || (Number.isInteger(value) && !Number.isSafeInteger(value)))
      this.fail(`the number ${token.slice(0, 40)} is out of range`);
    return value;
  }

  private word<T>(word: string, value: T): T {
    if (!this.text.startsWith(word, this.at)) this.fail('a value was expected');
    this.at += word.length;
    return value;
  }

  private accept(character: string): boolean {
    this.space();
    if (this.text[this.at] !== character) return false;
    this.at++;
    return true;
  }

  private expect(character: string): void {
    if (!this.accept(character)) this.fail(`${character} was expected`);
  }

  private space(): void {
    this.match(SPACE);
  }

  private match(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.text)?.[0];
    if (found !== undefined) this.at += found.length;
    return found;
  }

  private fail(reason: string, cause?: unknown): never {
    throw invalid(`${this.what} is not valid JSON: ${reason} (at character ${this.at})`, cause);
  }
}

/**
 * Parses JSON that a stranger wrote: no duplicate key (two readers could see two documents), no integer that a double
 * cannot hold, bounded depth and number of values. `what` names the document in messages.
 */
export function parseJson(bytes: Uint8Array, what: string): Json {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (error) {
    throw invalid(`${what} is not UTF-8`, error);
  }
  return new Parser(text, what).document();
}

/** Reads typed members of a document; absent and null are the same, a wrong type is `invalid-parameter` naming the member. */
export class JsonReader {
  private constructor(
    private readonly object: JsonObject,
    private readonly what: string,
  ) {}

  static of(value: Json | undefined, what: string): JsonReader {
    if (value === null || value === undefined || typeof value !== 'object' || Array.isArray(value))
      throw invalid(`${what} is not an object`);
    return new JsonReader(value, what);
  }

  has(key: string): boolean {
    return this.object[key] !== undefined && this.object[key] !== null;
  }

  keys(): string[] {
    return Object.keys(this.object);
  }

  raw(key: string): Json | undefined {
    return this.object[key];
  }

  string(key: string): string {
    return this.typed(key, 'string', '') as string;
  }

  number(key: string): number {
    return this.typed(key, 'number', 0) as number;
  }

  boolean(key: string): boolean {
    return this.typed(key, 'boolean', false) as boolean;
  }

  /** `undefined` when absent. */
  child(key: string): JsonReader | undefined {
    return this.has(key) ? JsonReader.of(this.object[key], `${this.what}.${key}`) : undefined;
  }

  list(key: string): Json[] | undefined {
    const value = this.object[key];
    if (value === undefined || value === null) return undefined;
    if (!Array.isArray(value)) throw invalid(`${this.what}.${key} is not a list`);
    return value;
  }

  children(key: string): JsonReader[] {
    return (this.list(key) ?? []).map((value, index) => JsonReader.of(value, `${this.what}.${key}[${index}]`));
  }

  strings(key: string): string[] | undefined {
    return this.list(key)?.map((value, index) => {
      if (typeof value !== 'string') throw invalid(`${this.what}.${key}[${index}] is not a string`);
      return value;
    });
  }

  /** A map of strings, without prototype. */
  stringMap(key: string): Record<string, string> {
    const result = Object.create(null) as Record<string, string>;
    const child = this.child(key);
    for (const name of child?.keys() ?? []) {
      const value = child?.raw(name);
      if (typeof value !== 'string') throw invalid(`${this.what}.${key}.${name} is not a string`);
      result[name] = value;
    }
    return result;
  }

  private typed(key: string, type: 'string' | 'number' | 'boolean', absent: Json): Json {
    const value = this.object[key];
    if (value === undefined || value === null) return absent;
    if (typeof value !== type) throw invalid(`${this.what}.${key} is not a ${type}`);
    return value;
  }
}
