import { invalid } from '../contracts/errors.js';
import { limits } from './limits.js';

/** What a JSON text can hold. Objects have no prototype. */
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

const SPACE = /[\t\n\r ]*/y;
const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const LITERALS = { t: ['true', true], f: ['false', false], n: ['null', null] } as const;

/**
 * Parses JSON once and without choices: a key that occurs twice, `__proto__`, a number that JavaScript cannot hold exactly,
 * text after the value and deep nesting are errors, so that whoever else reads the same bytes (an access plugin) saw the same request.
 */
export function parseStrictJson(text: string): Json {
  const parser = new Parser(text);
  return parser.document();
}

class Parser {
  private at = 0;
  private depth = 0;

  constructor(private readonly text: string) {}

  document(): Json {
    const value = this.value();
    this.space();
    if (this.at < this.text.length) throw this.fault('unexpected content after the top-level value');
    return value;
  }

  private value(): Json {
    this.space();
    const first = this.text[this.at];
    switch (first) {
      case '{':
        return this.nested(() => this.object());
      case '[':
        return this.nested(() => this.list());
      case '"':
        return this.string();
      case 't':
      case 'f':
      case 'n': {
        const [word, value] = LITERALS[first];
        if (!this.text.startsWith(word, this.at)) throw this.fault('invalid literal');
        this.at += word.length;
        return value;
      }
      default:
        return this.number();
    }
  }

  private nested<T>(read: () => T): T {
    if (++this.depth > limits.jsonDepth) throw this.fault(`nested deeper than ${limits.jsonDepth}`);
    const value = read();
    this.depth--;
    return value;
  }

  private object(): { [key: string]: Json } {
    const object: { [key: string]: Json } = Object.create(null) as { [key: string]: Json };
    this.at++;
    this.space();
    if (this.take('}')) return object;
    for (;;) {
      this.space();
      if (this.text[this.at] !== '"') throw this.fault('expected a key');
      const key = this.string();
      if (key === '__proto__') throw this.fault('key "__proto__" is not allowed');
      if (Object.hasOwn(object, key)) throw this.fault(`key ${JSON.stringify(key)} occurs twice`);
      this.space();
      if (!this.take(':')) throw this.fault('expected ":"');
      object[key] = this.value();
      this.space();
      if (this.take('}')) return object;
      if (!this.take(',')) throw this.fault('expected "," or "}"');
    }
  }

  private list(): Json[] {
    const list: Json[] = [];
    this.at++;
    this.space();
    if (this.take(']')) return list;
    for (;;) {
      list.push(this.value());
      this.space();
      if (this.take(']')) return list;
      if (!this.take(',')) throw this.fault('expected "," or "]"');
    }
  }

  /** Finds the closing quote and lets JSON.parse judge escapes and control characters. */
  private string(): string {
    const start = this.at;
    let end = start + 1;
    for (;;) {
      end = this.text.indexOf('"', end);
      if (end < 0) throw this.fault('unexpected end');
      let slashes = 0;
      while (this.text[end - 1 - slashes] === '\\') slashes++;
      if (slashes % 2 === 0) break;
      end++;
    }
    this.at = end + 1;
    try {
      return JSON.parse(this.text.slice(start, this.at)) as string;
    } catch {
      this.at = start;
      throw this.fault('invalid string');
    }
  }

  private number(): number {
    NUMBER.lastIndex = this.at;
    const found = NUMBER.exec(this.text)?.[0];
    if (found === undefined) throw this.fault(this.at >= this.text.length ? 'unexpected end' : 'unexpected character');
    const value = Number(found);
    if (!Number.isFinite(value) || (Number.isInteger(value) && !Number.isSafeInteger(value)))
      throw this.fault(`number ${found} is out of range`);
    this.at += found.length;
    return value;
  }

  private space(): void {
    SPACE.lastIndex = this.at;
    SPACE.test(this.text);
    this.at = SPACE.lastIndex;
  }

  private take(character: string): boolean {
    if (this.text[this.at] !== character) return false;
    this.at++;
    return true;
  }

  private fault(what: string): Error {
    return invalid(`invalid JSON: ${what} at offset ${this.at}`);
  }
}
