import type { PackedLog } from '@gantry/core/contracts/host-logs.js';
import type { LogEntry, ReadLogs } from '@gantry/core/contracts/log.js';
import { chunksOf, MAX_RECORD, storedChunks } from './chunks.js';
import { Changes } from './changes.js';
import { closeAll, openLogFiles, type OpenLogFile } from './log-files.js';
import { RecordParser } from './record.js';
import { findTail } from './tail.js';

const NEWLINE = 0x0a;
const EMPTY: Buffer = Buffer.alloc(0);

/** Writes out records. */
export interface Packer {
  /** Room that `to` has beyond the size of the input. */
  readonly slack: number;
  /** The records in `bytes` from `start` on, as far as they have the usual shape. */
  pack(bytes: Buffer, start: number, to: Buffer): PackedLog;
}

/** Entries of a log and its rotated predecessors, in the order they were written. */
export function readLog(path: string, request: ReadLogs): AsyncIterable<LogEntry> {
  // Without something to pack with there are no runs among them.
  return readLogRuns(path, request) as AsyncIterable<LogEntry>;
}

/** As {@link readLog}; what the packer takes comes as the bytes that it made, which last until the next item is asked for. */
export function readLogRuns(path: string, request: ReadLogs, packer?: Packer): AsyncIterable<LogEntry | Buffer> {
  return { [Symbol.asyncIterator]: () => new Items(new LogReader(path, request, packer).batches()) };
}

type Item = LogEntry | Buffer;

/** Hands out batches one by one. Not a generator: a resolved promise for each entry is most of what reading costs. */
class Items implements AsyncIterator<Item> {
  private batch: readonly Item[] = [];
  private at = 0;

  constructor(private readonly batches: AsyncGenerator<readonly Item[], void>) {}

  next(): Promise<IteratorResult<Item>> {
    const value = this.batch[this.at];
    if (value === undefined) return this.refill();
    ++this.at;
    return Promise.resolve({ done: false, value });
  }

  async return(): Promise<IteratorResult<Item>> {
    await this.batches.return();
    return { done: true, value: undefined };
  }

  private async refill(): Promise<IteratorResult<Item>> {
    for (;;) {
      const { done, value } = await this.batches.next();
      if (done) return { done: true, value: undefined };
      this.batch = value;
      this.at = 0;
      const first = value[0];
      if (first === undefined) continue;
      this.at = 1;
      return { done: false, value: first };
    }
  }
}

class LogReader {
  private readonly parser = new RecordParser();
  /** The begin of a line whose end has not come. */
  private rest = EMPTY;
  private lastTime = 0n;
  /** Entries up to this time were delivered from a file that is no longer there to compare with. */
  private skipThrough: bigint | undefined;
  private pastUntil = false;
  /** What runs are written to, used again for each chunk, and what is left of it. */
  private runs = EMPTY;
  private room = EMPTY;

  constructor(
    private readonly path: string,
    private readonly request: ReadLogs,
    private readonly packer: Packer | undefined,
  ) {}

  async *batches(): AsyncGenerator<readonly Item[], void> {
    const { follow, signal } = this.request;
    // Before the files are opened: nothing may change unseen in between.
    const changes = follow ? new Changes(this.path, this.request) : undefined;
    let files: OpenLogFile[] = [];
    try {
      files = await openLogFiles(this.path);
      const start = await this.start(files);
      for (let index = start.file; index < files.length; ++index) {
        const file = files[index] as OpenLogFile;
        const offset = index === start.file ? start.offset : 0;
        // The last one goes on growing.
        if (changes && index === files.length - 1 && file.number === 0) break;
        yield* this.readWhole(file, offset);
        if (this.pastUntil || signal?.aborted) return;
      }
      if (changes) {
        const live = files.at(-1)?.number === 0 ? files.pop() : undefined;
        const offset = start.file === files.length ? start.offset : 0;
        await closeAll(files);
        files = [];
        yield* this.followLive(live, offset, changes);
      }
    } finally {
      changes?.close();
      await closeAll(files);
    }
  }

  private async start(files: readonly OpenLogFile[]): Promise<{ file: number; offset: number }> {
    const { tail, stdout, stderr, since, until } = this.request;
    if (tail === undefined) return { file: 0, offset: 0 };
    const filtered = !stdout || !stderr || since !== undefined || until !== undefined;
    return findTail(files, tail, filtered ? (entry) => this.wanted(entry) : undefined);
  }

  private wanted(entry: LogEntry): boolean {
    const { stdout, stderr, since, until } = this.request;
    if (entry.stream === 'stdout' ? !stdout : !stderr) return false;
    return (since === undefined || entry.time >= since) && (until === undefined || entry.time <= until);
  }

  private async *readWhole(file: OpenLogFile, offset: number): AsyncGenerator<readonly Item[], void> {
    this.rest = EMPTY;
    for await (const chunk of chunksOf(file, offset, this.packer !== undefined)) {
      yield this.items(chunk);
      if (this.pastUntil || this.request.signal?.aborted) return;
    }
  }

  /** What whole records there are in the chunk; it may be used again afterwards when there is a packer. */
  private items(chunk: Buffer): Item[] {
    const result: Item[] = [];
    if (this.packer) this.makeRoom(this.rest.length + chunk.length + this.packer.slack);
    let start = 0;
    if (this.rest.length > 0) {
      // Only the record that lies in two chunks is put together.
      const end = chunk.indexOf(NEWLINE);
      start = end < 0 ? chunk.length : end + 1;
      this.read(Buffer.concat([this.rest, chunk.subarray(0, start)]), 0, result);
      if (this.pastUntil || start === chunk.length) return result;
    }
    this.read(chunk, start, result);
    return result;
  }

  private makeRoom(size: number): void {
    if (this.runs.length < size) this.runs = Buffer.allocUnsafeSlow(size);
    this.room = this.runs;
  }

  private read(bytes: Buffer, from: number, result: Item[]): void {
    const { until } = this.request;
    let start = from;
    while (start < bytes.length) {
      if (this.packer && this.skipThrough === undefined) {
        const { taken, written, last, past } = this.packer.pack(bytes, start, this.room);
        if (written > 0) result.push(this.room.subarray(0, written));
        this.room = this.room.subarray(written);
        start += taken;
        if (taken > 0) this.lastTime = last;
        if (past) {
          this.pastUntil = true;
          break;
        }
        // What is left is read as one that is not usual, if it is whole.
      }
      let entry = this.parser.parseUsual(bytes, start);
      if (entry) {
        start = this.parser.after;
      } else {
        const end = bytes.indexOf(NEWLINE, start);
        if (end < 0) break;
        entry = this.parser.parse(bytes, start, end);
        start = end + 1;
      }
      if (!entry) continue;
      if (this.skipThrough !== undefined) {
        if (entry.time <= this.skipThrough) continue;
        this.skipThrough = undefined;
      }
      this.lastTime = entry.time;
      if (until !== undefined && entry.time > until) {
        this.pastUntil = true;
        break;
      }
      if (this.wanted(entry)) result.push(this.packer ? { ...entry, line: Buffer.from(entry.line) } : entry);
    }
    const rest = bytes.subarray(start);
    // Longer is no record of ours.
    if (rest.length === 0 || rest.length > MAX_RECORD) this.rest = EMPTY;
    else this.rest = this.packer ? Buffer.from(rest) : rest;
  }

  private async *followLive(first: OpenLogFile | undefined, offset: number, changes: Changes): AsyncGenerator<readonly Item[], void> {
    let file = first;
    let position = offset;
    this.rest = EMPTY;
    try {
      for (;;) {
        // Looked at before reading: what was written before the end is read in this round.
        const ended = changes.ended;
        const rotated = file !== undefined && (await changes.inode()) !== file.inode;
        if (file) {
          const { size } = await file.handle.stat();
          if (size < position) {
            position = 0;
            this.rest = EMPTY;
          }
          for await (const chunk of storedChunks(file, position, { limit: size, reuse: this.packer !== undefined })) {
            position += chunk.length;
            yield this.items(chunk);
            if (this.pastUntil || changes.aborted) return;
          }
        }
        if (changes.aborted) return;
        if (rotated || !file) {
          const next = await this.successors(file);
          const live = next.at(-1)?.number === 0 ? next.pop() : undefined;
          // Between two steps of a rotation there is no live file for a moment.
          const settled = live !== undefined || ended;
          try {
            for (const whole of settled ? next : []) {
              yield* this.readWhole(whole, 0);
              if (this.pastUntil || changes.aborted) {
                await closeAll(live ? [live] : []);
                return;
              }
            }
          } finally {
            await closeAll(next);
          }
          if (live) {
            await closeAll(file ? [file] : []);
            file = live;
            position = 0;
            this.rest = EMPTY;
            continue;
          }
        }
        if (ended) return;
        await changes.next();
      }
    } finally {
      if (file) await closeAll([file]);
    }
  }

  /** The files that came after `previous`, oldest first; all when there is none. */
  private async successors(previous: OpenLogFile | undefined): Promise<OpenLogFile[]> {
    const files = await openLogFiles(this.path);
    if (!previous) return files;
    const index = files.findIndex((file) => file.inode === previous.inode);
    // Compressed or removed meanwhile: what was delivered is told by its time.
    if (index < 0) this.skipThrough = this.lastTime;
    await closeAll(files.slice(0, index + 1));
    return files.slice(index + 1);
  }
}
