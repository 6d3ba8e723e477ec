import { appendFileSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import type { LogContainer, LogEntry, LogForm, ReadLogs } from '@gantry/core/contracts/log.js';
import { logs } from '@gantry/native/logs.js';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { JsonFileDriver } from './driver.js';
import { parseTime, RecordParser } from './record.js';

const ID = 'c'.repeat(64);
const ALL: ReadLogs = { stdout: true, stderr: true, follow: false };
const driver = new JsonFileDriver(logs);

let folder: string;
let container: LogContainer;
let path: string;

beforeEach(() => {
  folder = mkdtempSync('/tmp/gantry-log-');
  container = { id: ID, name: '/web', imageId: `sha256:${'a'.repeat(64)}`, imageName: 'nginx', labels: {}, env: [], directory: folder };
  path = driver.path(container);
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const stamp = (n: number): string => `2026-01-02T03:04:05.${String(n).padStart(9, '0')}Z`;
const timeOf = (n: number): bigint => (parseTime(stamp(0)) as bigint) + BigInt(n);
const record = (n: number, stream = n % 2 === 0 ? 'stdout' : 'stderr'): string =>
  `${JSON.stringify({ log: `line ${n}\n`, stream, time: stamp(n) })}\n`;
const records = (from: number, to: number): string => Array.from({ length: to - from }, (_, i) => record(from + i)).join('');

async function read(request: Partial<ReadLogs> = {}): Promise<LogEntry[]> {
  const entries: LogEntry[] = [];
  for await (const entry of driver.read(container, {}, { ...ALL, ...request })) entries.push(entry);
  return entries;
}
const numbersOf = (entries: readonly LogEntry[]): number[] => entries.map(({ line }) => Number(line.toString().slice(5)));
const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i);

describe('a record', () => {
  const parse = (text: string): LogEntry | undefined => {
    const bytes = Buffer.from(`${text}\n`);
    return new RecordParser().parse(bytes, 0, bytes.length - 1);
  };

  it('is read whatever its text, as JSON.parse would', () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.string({ unit: 'binary', maxLength: 80 }), fc.string({ maxLength: 80 }), fc.stringMatching(/^["\\n,:{}a-z]*$/)),
        fc.constantFrom('stdout', 'stderr'),
        fc.nat(999_999_999),
        fc.option(fc.dictionary(fc.string(), fc.string()), { nil: undefined }),
        (log, stream, nanos, attrs) => {
          const time = stamp(nanos).replace(/0+Z$/, 'Z').replace('.Z', 'Z');
          const entry = parse(JSON.stringify({ log, stream, ...(attrs ? { attrs } : {}), time }));
          expect(entry?.line.toString()).toBe(Buffer.from(log).toString());
          expect(entry).toMatchObject({ stream, time: timeOf(nanos) });
          expect(Object.entries(entry?.attrs ?? {})).toEqual(Object.entries(attrs ?? {}));
        },
      ),
    );
  });

  it('that is torn is none', () => {
    const whole = record(7).trimEnd();
    for (let length = 0; length < whole.length; ++length) expect(parse(whole.slice(0, length))).toBeUndefined();
  });

  it('is not fooled by text that looks like the rest of a record', () => {
    const log = `x","stream":"stderr","time":"${stamp(1)}"}`;
    expect(parse(JSON.stringify({ log, stream: 'stdout', time: stamp(2) }))).toMatchObject({ stream: 'stdout', time: timeOf(2) });
  });

  it('keeps the last time apart from the next one', () => {
    const parser = new RecordParser();
    const times = [stamp(5), stamp(6), '2026-01-02T03:04:06Z', '2026-01-02T03:04:06.5Z', '2026-01-02T03:04:06.05Z'];
    const found = times.map((time) => {
      const bytes = Buffer.from(`{"log":"a\\n","stream":"stdout","time":"${time}"}\n`);
      return parser.parseUsual(bytes, 0)?.time;
    });
    expect(found).toEqual(times.map(parseTime));
  });
});

describe('reading', () => {
  it('gives nothing when there is no file', async () => {
    expect(await read()).toEqual([]);
  });

  it('goes through rotated files, the oldest first, compressed or not', async () => {
    writeFileSync(`${path}.3.gz`, gzipSync(records(0, 10)));
    writeFileSync(`${path}.2`, records(10, 20));
    writeFileSync(`${path}.1`, records(20, 30));
    writeFileSync(path, records(30, 40));
    expect(numbersOf(await read())).toEqual(range(0, 40));
    for (const tail of [0, 1, 9, 10, 11, 25, 31, 40, 41, 1000]) {
      expect(numbersOf(await read({ tail }))).toEqual(range(Math.max(0, 40 - tail), 40));
    }
  });

  it('filters by stream and time before it counts from the end', async () => {
    writeFileSync(`${path}.1`, records(0, 50));
    writeFileSync(path, records(50, 100));
    expect(numbersOf(await read({ stderr: false, tail: 3 }))).toEqual([94, 96, 98]);
    expect(numbersOf(await read({ since: timeOf(90) }))).toEqual(range(90, 100));
    expect(numbersOf(await read({ until: timeOf(3) }))).toEqual([0, 1, 2, 3]);
    expect(numbersOf(await read({ since: timeOf(40), until: timeOf(60), tail: 2 }))).toEqual([59, 60]);
    expect(numbersOf(await read({ stdout: false, tail: 30 }))).toEqual(range(40, 100).filter((n) => n % 2 === 1));
  });

  it('leaves out a torn last line and one in the middle', async () => {
    writeFileSync(path, `${records(0, 3)}{"log":"li\n${records(3, 5)}{"log":"torn`);
    expect(numbersOf(await read())).toEqual(range(0, 5));
    expect(numbersOf(await read({ tail: 1 }))).toEqual([4]);
  });

  it('finds the tail of a file of any size', async () => {
    const text = records(0, 20_000);
    writeFileSync(path, text);
    for (const tail of [1, 1000, 5000, 19_999, 20_000, 20_001]) {
      expect(numbersOf(await read({ tail }))).toEqual(range(Math.max(0, 20_000 - tail), 20_000));
    }
  });
});

describe('runs', () => {
  const frame = ({ stream, time, line }: LogEntry, { framed, timestamps }: LogForm): Buffer => {
    const seconds = new Date(Number(time / 1_000_000_000n) * 1000).toISOString().slice(0, 19);
    const text = timestamps ? Buffer.concat([Buffer.from(`${seconds}.${String(time % 1_000_000_000n).padStart(9, '0')}Z `), line]) : line;
    const head = Buffer.from([stream === 'stdout' ? 1 : 2, 0, 0, 0, 0, 0, 0, 0]);
    head.writeUInt32BE(text.length, 4);
    return framed ? Buffer.concat([head, text]) : text;
  };
  const bytesOf = async (request: Partial<ReadLogs>, form: LogForm): Promise<{ bytes: Buffer; runs: number }> => {
    const parts: Buffer[] = [];
    let runs = 0;
    for await (const item of driver.readRuns(container, {}, { ...ALL, ...request }, form)) {
      if (Buffer.isBuffer(item)) ++runs;
      parts.push(Buffer.isBuffer(item) ? Buffer.from(item) : frame(item, form));
    }
    return { bytes: Buffer.concat(parts), runs };
  };
  const forms = [true, false].flatMap((framed) => [true, false].map((timestamps) => ({ framed, timestamps })));

  it('say what the entries say, whatever was logged', async () => {
    const said = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 60 }),
      fc.stringMatching(/^["\\\n,:{}a-z]{0,60}$/),
      fc.constantFrom('\ud800', '\udc00x', '\u2028', `x","stream":"stderr","time":"${stamp(1)}"}`),
    );
    const one = fc.record({
      log: said,
      stream: fc.constantFrom('stdout', 'stderr'),
      nanos: fc.nat(999_999_999),
      attrs: fc.option(fc.dictionary(fc.string(), fc.string()), { nil: undefined }),
    });
    // Go's writer leaves characters as they are or writes them as escapes; both are read.
    const escaped = (json: string): string => json.replace(/[^ -~]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
    const line = fc.oneof(
      {
        weight: 8,
        arbitrary: fc.tuple(one, fc.boolean()).map(([{ log, stream, nanos, attrs }, all]) => {
          const json = JSON.stringify({
            log,
            stream,
            ...(attrs ? { attrs } : {}),
            time: stamp(nanos).replace(/0+Z$/, 'Z').replace('.Z', 'Z'),
          });
          return all ? escaped(json) : json;
        }),
      },
      {
        weight: 1,
        arbitrary: fc.constantFrom(
          '',
          '{}',
          '{"log":"',
          '{"log":"x","stream":"stdout","time":"2026"}',
          '{"log":"a\\qb","stream":"stdout","time":"2026-01-02T03:04:05Z"}',
          '{"time":"2026-01-02T03:04:05+01:00","stream":"stdout","log":"other order\\n"}',
        ),
      },
    );
    await fc.assert(
      fc.asyncProperty(
        fc.array(line, { maxLength: 12 }),
        fc.boolean(),
        fc.boolean(),
        fc.option(fc.nat(999_999_999), { nil: undefined }),
        async (lines, stdout, stderr, since) => {
          writeFileSync(path, lines.map((text) => `${text}\n`).join(''));
          const request = { stdout, stderr, ...(since === undefined ? {} : { since: timeOf(since) }) };
          const entries = await read(request);
          for (const form of forms) {
            const { bytes } = await bytesOf(request, form);
            expect(bytes).toEqual(Buffer.concat(entries.map((entry) => frame(entry, form))));
          }
        },
      ),
      { numRuns: 100 },
    );
  });

  it('end at `until`, go on over files, and are few', async () => {
    writeFileSync(`${path}.1`, records(0, 9_000));
    writeFileSync(path, records(9_000, 20_000));
    for (const form of forms) {
      const { bytes, runs } = await bytesOf({ until: timeOf(15_000) }, form);
      expect(bytes).toEqual(Buffer.concat((await read({ until: timeOf(15_000) })).map((entry) => frame(entry, form))));
      expect(runs).toBeLessThan(20);
    }
    expect((await bytesOf({ tail: 3 }, { framed: false, timestamps: false })).bytes.toString()).toBe(
      'line 19997\nline 19998\nline 19999\n',
    );
  });

  it('take any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), fc.nat(400), (noise, cut) => {
        const bytes = Buffer.concat([Buffer.from(record(1)), Buffer.from(noise), Buffer.from(record(2).slice(0, cut))]);
        const to = Buffer.alloc(bytes.length + logs.slack + 1, 7);
        const { taken, written } = logs.pack(bytes, 0, to, { framed: true, timestamps: true, stdout: true, stderr: true });
        expect(taken).toBeGreaterThanOrEqual(record(1).length);
        expect(written).toBeLessThanOrEqual(taken);
        expect(to.at(-1)).toBe(7);
      }),
    );
  });
});

describe('following', () => {
  function follow(request: Partial<ReadLogs> = {}) {
    const abort = new AbortController();
    const ended = Promise.withResolvers<void>();
    const seen: number[] = [];
    const done = (async () => {
      const all = { ...ALL, follow: true, signal: abort.signal, ended: ended.promise, ...request };
      for await (const entry of driver.read(container, {}, all)) seen.push(...numbersOf([entry]));
    })();
    return { abort, ended, seen, done };
  }
  async function until(condition: () => boolean): Promise<void> {
    const end = performance.now() + 60_000;
    while (!condition()) {
      if (performance.now() > end) throw new Error('did not happen in time');
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  it('gives what is written later, and ends after the last of it', async () => {
    writeFileSync(path, records(0, 5));
    const log = follow({ tail: 2 });
    await until(() => log.seen.length === 2);
    appendFileSync(path, records(5, 7));
    await until(() => log.seen.length === 4);
    appendFileSync(path, records(7, 9));
    log.ended.resolve();
    await log.done;
    expect(log.seen).toEqual(range(3, 9));
  });

  it('waits for a file that is not there yet, and for the rest of a line', async () => {
    const log = follow();
    writeFileSync(path, record(0).slice(0, 20));
    await new Promise((resolve) => setTimeout(resolve, 50));
    appendFileSync(path, record(0).slice(20));
    await until(() => log.seen.length === 1);
    log.ended.resolve();
    await log.done;
  });

  it('leaves at once when it is told to', async () => {
    writeFileSync(path, records(0, 1));
    const log = follow();
    await until(() => log.seen.length === 1);
    log.abort.abort();
    await log.done;
  });

  it('misses and repeats nothing over rotations, however many happen between two looks', async () => {
    writeFileSync(path, records(0, 10));
    const log = follow();
    let next = 10;
    const rotate = (): void => {
      for (let number = 4; number > 1; --number) {
        try {
          renameSync(`${path}.${number - 1}`, `${path}.${number}`);
        } catch {
          // Not that many yet.
        }
      }
      renameSync(path, `${path}.1`);
      writeFileSync(path, '');
    };
    for (let round = 0; round < 12; ++round) {
      appendFileSync(path, records(next, next + 10));
      next += 10;
      rotate();
      appendFileSync(path, records(next, next + 10));
      next += 10;
      if (round % 3 === 0) rotate();
      await until(() => log.seen.length >= next).catch(() => undefined);
      expect(log.seen).toEqual(range(0, next));
    }
    log.ended.resolve();
    await log.done;
    expect(log.seen).toEqual(range(0, next));
  });

  it('goes on after its file was compressed away', async () => {
    writeFileSync(path, records(0, 10));
    const log = follow();
    await until(() => log.seen.length === 10);
    renameSync(path, `${path}.1`);
    writeFileSync(`${path}.1.gz`, gzipSync(readFileSync(`${path}.1`)));
    rmSync(`${path}.1`);
    writeFileSync(path, records(10, 20));
    await until(() => log.seen.length === 20);
    log.ended.resolve();
    await log.done;
    expect(log.seen).toEqual(range(0, 20));
  });

  it('starts again when its file was emptied', async () => {
    writeFileSync(path, records(0, 10));
    const log = follow();
    await until(() => log.seen.length === 10);
    writeFileSync(path, records(10, 12));
    await until(() => log.seen.length === 12);
    log.ended.resolve();
    await log.done;
    expect(log.seen).toEqual(range(0, 12));
  });
});

describe('options', () => {
  const refusal = (options: Record<string, string>): unknown => {
    try {
      driver.validate(options);
      return undefined;
    } catch (error) {
      return error;
    }
  };

  it('are Docker’s, and no others', () => {
    expect(refusal({ 'max-size': '10m', 'max-file': '3', labels: 'a,b', env: 'A', tag: '{{.Name}}/{{ .ID }}' })).toBeUndefined();
    expect(refusal({ size: '1' })).toMatchObject({
      kind: 'invalid-parameter',
      message: "unknown log opt 'size' for json-file log driver; the nearest is mode",
    });
    for (const bad of [
      { 'max-size': 'ten' },
      { 'max-size': '0' },
      { 'max-file': '0' },
      { 'max-file': 'x' },
      { compress: 'maybe' },
      { compress: 'true', 'max-size': '1m' },
      { mode: 'fast' },
      { 'max-buffer-size': '4m' },
      { 'labels-regex': '(' },
      { 'env-regex': '(a+)+$' },
      { tag: '{{.Nope}}' },
      { tag: '{{if .ID}}x{{end}}' },
    ]) {
      expect(refusal(bad as Record<string, string>), JSON.stringify(bad)).toMatchObject({ kind: 'invalid-parameter' });
    }
  });

  it('say what each record carries', async () => {
    const target = await driver.target(
      { ...container, labels: { app: 'x', tier: 'y', other: 'z' }, env: ['MODE=fast', 'HOME=/', 'EMPTY='] },
      { labels: 'app,missing', 'labels-regex': '^ti', env: 'MODE', 'max-size': '1.5k', 'max-file': '4', tag: '{{.Name}}-{{.ImageName}}' },
    );
    expect(target).toEqual({
      kind: 'json-file',
      path,
      maxSize: 1500,
      maxFiles: 4,
      compress: false,
      attrs: { MODE: 'fast', app: 'x', tag: 'web-nginx', tier: 'y' },
    });
  });

  it('take every file away again', async () => {
    for (const name of [path, `${path}.1`, `${path}.2.gz`]) writeFileSync(name, '');
    writeFileSync(join(folder, 'config.json'), '');
    await driver.remove(container);
    await driver.remove(container);
    expect(() => readFileSync(path)).toThrow();
    expect(readFileSync(join(folder, 'config.json'), 'utf8')).toBe('');
  });
});
