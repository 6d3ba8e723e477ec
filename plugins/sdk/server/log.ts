import { closeSync, constants, openSync, readFileSync, readSync, renameSync, writeFileSync } from 'node:fs';
import { Socket } from 'node:net';
import { invalid } from '../protocol/errors.js';
import type { Infer } from '../protocol/schema.js';
import type { logInfo } from '../protocol/messages.js';
import type { Maybe, Part } from './handlers.js';
import { encodeEntry, EntryDecoder, type LogEntry } from './log-entry.js';

/** The container, as engines tell of it. */
export type LogInfo = Infer<typeof logInfo>;

export interface LogSink {
  write(entry: LogEntry): Maybe<void>;
  /** Everything was written. */
  close(): Maybe<void>;
}

export interface ReadRequest {
  /** Nanoseconds since 1970. */
  readonly since?: bigint;
  readonly until?: bigint;
  /** Entries from the end; absent for all. */
  readonly tail?: number;
  readonly follow: boolean;
}

/** What the author of a log plugin writes. */
export interface LogPlugin {
  /** A container starts; refuse options that are not known. */
  open(info: LogInfo): Maybe<LogSink>;
  /** Without it engines keep a copy of the log to read back. */
  read?(info: LogInfo, request: ReadRequest, signal: AbortSignal): AsyncIterable<LogEntry>;
  /** A file that remembers what is being logged, so that a restart of the plugin goes on with it. */
  readonly stateFile?: string;
}

/** One container's output on its way from the FIFO to the sink. */
class Stream {
  private readonly decoder = new EntryDecoder();
  private readonly socket: Socket;
  private writing: Promise<void> = Promise.resolve();
  private ending = false;

  constructor(
    fd: number,
    private readonly drainFd: number,
    private readonly sink: LogSink,
  ) {
    this.socket = new Socket({ fd, readable: true, writable: false });
    this.socket.on('data', (chunk: Buffer) => this.take(chunk));
    this.socket.on('error', () => undefined);
  }

  private take(chunk: Buffer): void {
    const entries = this.decoder.push(chunk);
    this.socket.pause();
    this.writing = this.writing
      .then(async () => {
        for (const entry of entries) await this.sink.write(entry);
      })
      .finally(() => this.ending || this.socket.resume());
    // What could not be written is lost; the container goes on, and so do later entries.
    this.writing = this.writing.catch((error: unknown) => void process.emitWarning(`a log entry was not written: ${String(error)}`));
  }

  /** The engine keeps its end open while it waits for this, so there is no end to be read: what is there is read, and that was it. */
  async drain(): Promise<void> {
    this.ending = true;
    this.socket.pause();
    await this.writing;
    // What was read ahead comes before what is still in the pipe.
    for (let chunk = this.socket.read() as Buffer | null; chunk; chunk = this.socket.read() as Buffer | null)
      for (const entry of this.decoder.push(chunk)) await this.sink.write(entry);
    const buffer = Buffer.alloc(64 * 1024);
    for (;;) {
      let size = 0;
      try {
        size = readSync(this.drainFd, buffer, 0, buffer.length, null);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
      }
      if (size === 0) break;
      for (const entry of this.decoder.push(Buffer.from(buffer.subarray(0, size)))) await this.sink.write(entry);
    }
    this.socket.destroy();
    closeSync(this.drainFd);
    await this.sink.close();
  }
}

export function logPart(plugin: LogPlugin): Part {
  const streams = new Map<string, Stream>();
  const known = new Map<string, LogInfo>();
  const save = (): void => {
    if (plugin.stateFile === undefined) return;
    writeFileSync(`${plugin.stateFile}.new`, JSON.stringify(Object.fromEntries(known)));
    renameSync(`${plugin.stateFile}.new`, plugin.stateFile);
  };
  const start = async (file: string, info: LogInfo): Promise<void> => {
    if (streams.has(file)) return;
    const sink = await plugin.open(info);
    const open = (): number => openSync(file, constants.O_RDONLY | constants.O_NONBLOCK);
    streams.set(file, new Stream(open(), open(), sink));
    known.set(file, info);
    save();
  };
  const resume = async (): Promise<void> => {
    if (plugin.stateFile === undefined) return;
    let kept: Record<string, LogInfo> = {};
    try {
      kept = JSON.parse(readFileSync(plugin.stateFile, 'utf8')) as Record<string, LogInfo>;
    } catch {
      // the first start
    }
    for (const [file, info] of Object.entries(kept)) await start(file, info).catch(() => known.delete(file));
  };
  const resumed = resume();
  return {
    kind: 'LogDriver',
    json: {
      'LogDriver.Capabilities': async () => ({ Cap: { ReadLogs: plugin.read !== undefined } }),
      'LogDriver.StartLogging': async ({ File, Info }) => {
        if (!File.startsWith('/')) throw invalid(`the FIFO's path is not absolute: ${File}`);
        await resumed;
        await start(File, Info);
        return {};
      },
      'LogDriver.StopLogging': async ({ File }) => {
        await resumed;
        const stream = streams.get(File);
        streams.delete(File);
        known.delete(File);
        save();
        await stream?.drain();
        return {};
      },
    },
    ...(plugin.read && {
      streams: {
        'LogDriver.ReadLogs': async function* ({ Info, Config }, signal) {
          const request: ReadRequest = {
            ...timeOf('since', Config.Since),
            ...timeOf('until', Config.Until),
            ...(Config.Tail != null && Config.Tail >= 0 && { tail: Config.Tail }),
            follow: Config.Follow,
          };
          for await (const entry of plugin.read?.(Info, request, signal) ?? []) yield encodeEntry(entry);
        },
      } satisfies Part['streams'],
    }),
    close: async () => {
      for (const stream of streams.values()) await stream.drain();
    },
  };
}

/** Go's zero time means that no time was given. */
function timeOf<K extends string>(key: K, text: string): { [name in K]?: bigint } {
  const found = /^(.*?)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)$/.exec(text);
  if (!found || text.startsWith('0001-01-01')) return {};
  const seconds = BigInt(Math.floor(Date.parse(`${found[1]}${found[3]}`) / 1000));
  return { [key]: seconds * 1_000_000_000n + BigInt((found[2] ?? '').padEnd(9, '0') || 0) } as { [name in K]?: bigint };
}
