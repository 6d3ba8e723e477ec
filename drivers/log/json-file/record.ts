import type { LogEntry } from '@gantry/core/contracts/log.js';

const NEWLINE = 0x0a;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const HEAD = Buffer.from('{"log":"');
/** Up to where the two names differ. */
const STREAM = Buffer.from('","stream":"std');
const TIME_KEY = Buffer.from('"time":"');
const STREAM_FIELD = 20;

const NO_ATTRS: Readonly<Record<string, string>> = Object.freeze(Object.create(null) as Record<string, string>);

/** RFC 3339 with up to nine digits of a second and any offset, in nanoseconds since 1970; `undefined` when it is no time. */
export function parseTime(text: string): bigint | undefined {
  const match = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9})\d*)?(Z|[+-]\d\d:\d\d)$/.exec(text);
  if (!match) return undefined;
  const ms = Date.parse(`${match[1]}${match[3]}`);
  if (Number.isNaN(ms)) return undefined;
  return BigInt(ms) * 1_000_000n + BigInt((match[2] ?? '').padEnd(9, '0'));
}

/**
 * Reads records of one log. The usual record's shape is fixed, so its parts are found by position and its line is handed out
 * where it lies; whatever looks different goes through JSON.parse. Not shared between logs: it remembers the last time, since
 * records that were written together carry the same one.
 */
export class RecordParser {
  private timeText = Buffer.alloc(0);
  private time = 0n;
  private secondText = '';
  private second = 0n;

  /** Where the record after the one that {@link parseUsual} gave begins. */
  after = 0;

  /**
   * The record in `bytes` from `start` up to `end`, where its newline is; `undefined` when it is none. The line may lie in
   * `bytes`, which is altered for it: a record can be read once.
   */
  parse(bytes: Buffer, start: number, end: number): LogEntry | undefined {
    return this.parseUsual(bytes, start) ?? this.parseAny(bytes, start, end);
  }

  /** The record at `start` if it is whole, newline included, and of the usual shape; nothing is altered otherwise. */
  parseUsual(bytes: Buffer, start: number): LogEntry | undefined {
    // {"log":"…","stream":"stdout","time":"2006-01-02T15:04:05.999999999Z"}
    const content = start + HEAD.length;
    for (let i = 0; i < HEAD.length; ++i) if (bytes[start + i] !== HEAD[i]) return undefined;
    const quote = closingQuote(bytes, content);
    if (quote < 0) return undefined;
    for (let i = 0; i < STREAM.length; ++i) if (bytes[quote + i] !== STREAM[i]) return undefined;
    const key = quote + STREAM_FIELD;
    for (let i = 0; i < TIME_KEY.length; ++i) if (bytes[key + i] !== TIME_KEY[i]) return undefined;
    const timeStart = key + TIME_KEY.length;
    let timeEnd = timeStart + 20;
    while (timeEnd <= timeStart + 30 && bytes[timeEnd] !== QUOTE) ++timeEnd;
    if (bytes[timeEnd] !== QUOTE || bytes[timeEnd + 1] !== 0x7d || bytes[timeEnd + 2] !== NEWLINE) return undefined;
    const time = this.timeOf(bytes, timeStart, timeEnd);
    if (time === undefined) return undefined;
    const line = unescapeLine(bytes, content, quote);
    if (!line) return undefined;
    this.after = timeEnd + 3;
    return { stream: bytes[quote + STREAM.length] === 0x6f ? 'stdout' : 'stderr', time, line, attrs: NO_ATTRS };
  }

  private parseAny(bytes: Buffer, start: number, end: number): LogEntry | undefined {
    let value: unknown;
    try {
      value = JSON.parse(bytes.toString('utf8', start, end));
    } catch {
      // Torn by a crash or a full disk.
      return undefined;
    }
    if (typeof value !== 'object' || value === null) return undefined;
    const { log, stream, time: timeText, attrs } = value as Record<string, unknown>;
    const time = typeof timeText === 'string' ? parseTime(timeText) : undefined;
    if (time === undefined || (stream !== 'stdout' && stream !== 'stderr')) return undefined;
    return {
      stream,
      time,
      line: Buffer.from(typeof log === 'string' ? log : ''),
      attrs: typeof attrs === 'object' && attrs !== null ? stringsOf(attrs) : NO_ATTRS,
    };
  }

  private timeOf(bytes: Buffer, start: number, end: number): bigint | undefined {
    const length = end - start;
    if (bytes[end - 1] !== 0x5a) return undefined;
    if (length === this.timeText.length) {
      // The last digits differ first.
      let i = length - 1;
      while (i >= 0 && bytes[start + i] === this.timeText[i]) --i;
      if (i < 0) return this.time;
    }
    const text = bytes.toString('latin1', start, end);
    const second = text.slice(0, 19);
    if (second !== this.secondText) {
      const whole = parseTime(`${second}Z`);
      if (whole === undefined) return undefined;
      this.secondText = second;
      this.second = whole;
    }
    let time = this.second;
    if (length > 20) {
      if (text[19] !== '.') return undefined;
      let fraction = 0;
      for (let i = 20; i < 29; ++i) {
        const digit = i < length - 1 ? text.charCodeAt(i) - 0x30 : 0;
        if (digit < 0 || digit > 9) return undefined;
        fraction = fraction * 10 + digit;
      }
      time += BigInt(fraction);
    }
    this.timeText = Buffer.from(text, 'latin1');
    this.time = time;
    return time;
  }
}

function stringsOf(value: object): Record<string, string> {
  const result: Record<string, string> = Object.create(null) as Record<string, string>;
  for (const [key, item] of Object.entries(value)) if (typeof item === 'string') result[key] = item;
  return result;
}

/** Where the string that begins at `start` ends; -1 when it does not. */
function closingQuote(bytes: Buffer, start: number): number {
  for (let quote = bytes.indexOf(QUOTE, start); quote >= 0; quote = bytes.indexOf(QUOTE, quote + 1)) {
    let slashes = 0;
    while (bytes[quote - 1 - slashes] === BACKSLASH) ++slashes;
    if (slashes % 2 === 0) return quote;
  }
  return -1;
}

/** The string's bytes, in place where nothing but its end is escaped; `undefined` when an escape is not one. */
function unescapeLine(bytes: Buffer, start: number, end: number): Buffer | undefined {
  const first = bytes.indexOf(BACKSLASH, start);
  if (first < 0 || first >= end) return bytes.subarray(start, end);
  // Nearly always the one escape is the line's own end.
  if (first === end - 2 && bytes[end - 1] === 0x6e) {
    bytes[first] = NEWLINE;
    return bytes.subarray(start, end - 1);
  }
  return unescapeAll(bytes.subarray(start, end));
}

const SIMPLE: Readonly<Record<number, number>> = {
  0x22: 0x22,
  0x2f: 0x2f,
  0x5c: 0x5c,
  0x62: 0x08,
  0x66: 0x0c,
  0x6e: 0x0a,
  0x72: 0x0d,
  0x74: 0x09,
};

function unescapeAll(content: Buffer): Buffer | undefined {
  // An escape is never shorter than what it stands for: six bytes at most three, a pair of twelve four.
  const result = Buffer.allocUnsafe(content.length);
  let to = 0;
  let at = 0;
  while (at < content.length) {
    const byte = content[at] as number;
    if (byte !== BACKSLASH) {
      result[to++] = byte;
      ++at;
      continue;
    }
    const kind = content[at + 1];
    if (kind === undefined) return undefined;
    const simple = SIMPLE[kind];
    if (simple !== undefined) {
      result[to++] = simple;
      at += 2;
      continue;
    }
    if (kind !== 0x75) return undefined;
    let code = hex4(content, at + 2);
    if (code === undefined) return undefined;
    at += 6;
    if (code >= 0xd800 && code < 0xdc00 && content[at] === BACKSLASH && content[at + 1] === 0x75) {
      const low = hex4(content, at + 2);
      if (low !== undefined && low >= 0xdc00 && low < 0xe000) {
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
        at += 6;
      }
    }
    to += result.write(String.fromCodePoint(code), to, 'utf8');
  }
  return result.subarray(0, to);
}

function hex4(bytes: Buffer, at: number): number | undefined {
  const text = bytes.toString('latin1', at, at + 4);
  return /^[0-9a-fA-F]{4}$/.test(text) ? Number.parseInt(text, 16) : undefined;
}
