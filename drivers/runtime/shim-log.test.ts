import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import type { LogTarget } from '@gantry/core/contracts/log.js';
import { host } from '@gantry/native/index.js';
import { forEachRuntime, type Bench } from '@gantry/test/fakes/tasks.js';
import { expect, it } from 'vitest';

interface LogRecord {
  readonly log: string;
  readonly stream: string;
  readonly time: string;
  readonly attrs?: Record<string, string>;
}

forEachRuntime('a log written by the shim', (bench) => {
  const target = (b: Bench, name: string, more: Partial<LogTarget & { kind: 'json-file' }> = {}): LogTarget => ({
    kind: 'json-file',
    path: join(b.folder, `${name}.log`),
    maxSize: 0,
    maxFiles: 1,
    compress: false,
    attrs: {},
    ...more,
  });
  const textOf = (log: LogTarget): string => (log.kind === 'json-file' ? readFileSync(log.path, 'utf8') : '');
  const recordsOf = (log: LogTarget): LogRecord[] =>
    textOf(log)
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as LogRecord);

  it('has Docker’s very form', async () => {
    const log = target(bench(), 'form');
    await bench().run(['sh', '-c', 'echo out; echo err >&2'], { log });
    const [first, second, ...rest] = textOf(log).trimEnd().split('\n').sort();
    const time = String.raw`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{0,8}[1-9])?Z`;
    expect(first).toMatch(new RegExp(String.raw`^\{"log":"err\\n","stream":"stderr","time":"${time}"\}$`));
    expect(second).toMatch(new RegExp(String.raw`^\{"log":"out\\n","stream":"stdout","time":"${time}"\}$`));
    expect(rest).toEqual([]);
    expect(Math.abs(Date.parse(recordsOf(log)[0]?.time ?? '') - Date.now())).toBeLessThan(60_000);
    expect(statSync(log.kind === 'json-file' ? log.path : '').mode & 0o777).toBe(0o640);
  });

  it('escapes as Go’s encoder does', async () => {
    const log = target(bench(), 'escapes', { attrs: { b: '<&>', a: 'é"' } });
    const bytes = String.raw`a"b\\c<d>e&f\tg\rh\001i\177j\303\251k\342\200\250l\377m\360\237\230\200n\355\240\200o\300\257p`;
    await bench().run(['printf', `${bytes}\\n`], { log });
    const escaped = String.raw`a\"b\\c\u003cd\u003ee\u0026f\u0009g\rh\u0001i${'\x7f'}jék\u2028l\ufffdm😀n\ufffd\ufffd\ufffdo\ufffd\ufffdp\n`;
    const attrs = String.raw`{"a":"é\"","b":"\u003c\u0026\u003e"}`;
    expect(textOf(log).replace(/"time":.*\n/, '')).toBe(`{"log":"${escaped}","stream":"stdout","attrs":${attrs},`);
  });

  it('splits long lines at 16 KiB, with the line end in the last part only', async () => {
    const log = target(bench(), 'long');
    const script = 'head -c 40000 /dev/zero | tr "\\0" x; echo; head -c 16384 /dev/zero | tr "\\0" y; echo; echo; printf z';
    await bench().run(['sh', '-c', script], { log });
    expect(recordsOf(log).map((record) => [record.log.length, record.log.at(-1)])).toEqual([
      [16384, 'x'],
      [16384, 'x'],
      [40000 - 2 * 16384 + 1, '\n'],
      [16384, 'y'],
      [1, '\n'],
      [1, '\n'],
      [1, 'z'],
    ]);
  });

  it('keeps every line of a flood, in order', async () => {
    const log = target(bench(), 'flood');
    await bench().run(['seq', '200000'], { log });
    const lines = recordsOf(log).map((record) => record.log);
    expect(lines.length).toBe(200_000);
    expect(lines.every((line, i) => line === `${i + 1}\n`)).toBe(true);
  });

  it('is rotated by size and keeps so many files', async () => {
    const log = target(bench(), 'rotated', { maxSize: 20_000, maxFiles: 3 });
    await bench().run(['seq', '2000'], { log });
    const files = readdirSync(bench().folder).filter((name) => name.startsWith('rotated.log'));
    expect(files.sort()).toEqual(['rotated.log', 'rotated.log.1', 'rotated.log.2']);
    const numbers: number[] = [];
    for (const name of ['rotated.log.2', 'rotated.log.1', 'rotated.log']) {
      const path = join(bench().folder, name);
      expect(statSync(path).size).toBeLessThan(20_000 + 100);
      for (const line of readFileSync(path, 'utf8').trimEnd().split('\n')) numbers.push(Number((JSON.parse(line) as LogRecord).log));
    }
    expect(numbers.at(-1)).toBe(2000);
    expect(numbers).toEqual(Array.from({ length: numbers.length }, (_, i) => 2001 - numbers.length + i));
  });

  it('is compressed when it was rotated', async () => {
    const log = target(bench(), 'packed', { maxSize: 100_000, maxFiles: 4, compress: true });
    await bench().run(['sh', '-c', 'seq 5000; usleep 300000; seq 5001 6000; head -c 100000 /dev/urandom'], { log });
    const files = readdirSync(bench().folder).filter((name) => name.startsWith('packed.log'));
    expect(files).toContain('packed.log.1.gz');
    expect(files).not.toContain('packed.log.1');
    expect(files.length).toBeLessThanOrEqual(4);
    for (const name of files.filter((file) => file.endsWith('.gz'))) {
      const packed = readFileSync(join(bench().folder, name));
      const lines = gunzipSync(packed).toString().trimEnd().split('\n');
      for (const line of lines) JSON.parse(line);
      expect(lines.length).toBeGreaterThan(1);
    }
    const [oldest = ''] = files
      .filter((file) => file.endsWith('.gz'))
      .sort()
      .reverse();
    const size = statSync(join(bench().folder, oldest)).size;
    expect(size).toBeLessThan(60_000);
  });

  it('starts again when only one file may be kept', async () => {
    const log = target(bench(), 'single', { maxSize: 5000, maxFiles: 1 });
    await bench().run(['seq', '1000'], { log });
    expect(existsSync(join(bench().folder, 'single.log.1'))).toBe(false);
    expect(textOf(log).length).toBeLessThan(5200);
    expect(recordsOf(log).at(-1)?.log).toBe('1000\n');
  });

  it('begins on a line of its own after a torn one', async () => {
    const log = target(bench(), 'torn');
    writeFileSync(log.kind === 'json-file' ? log.path : '', '{"log":"torn');
    await bench().run(['echo', 'next'], { log });
    const lines = textOf(log).trimEnd().split('\n');
    expect(lines.length).toBe(2);
    expect(JSON.parse(lines[1] ?? '')).toMatchObject({ log: 'next\n' });
  });

  it('loses whole records, and nothing else, when its disk is full', async () => {
    const small = join(bench().folder, 'small');
    mkdirSync(small);
    await host.files.mount({ type: 'tmpfs', source: 'tmpfs', options: ['size=64k'] }, small);
    try {
      const log = target(bench(), 'small/full');
      const { exit, output } = await bench().run(['sh', '-c', 'seq 5000; exit 6'], { log });
      expect([exit.code, output.stdout.length]).toEqual([6, 23_893]);
      const kept = recordsOf(log).map((record) => Number(record.log));
      expect(kept.length).toBeGreaterThan(100);
      expect(kept.length).toBeLessThan(5000);
      expect(kept[0]).toBe(1);
      expect(textOf(log).endsWith('}\n')).toBe(true);
    } finally {
      await host.files.unmount(small);
    }
  });

  it('is refused where it is no file', async () => {
    const log = target(bench(), 'device', { path: '/dev/null' });
    await expect(bench().create(['true'], { log })).rejects.toThrow(/log file/);
  });
});
