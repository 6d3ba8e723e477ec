import { createReadStream, createWriteStream } from 'node:fs';
import { open, rename, rm, type FileHandle } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import type { LogTarget } from '@gantry/core/contracts/log.js';
import type { LogEntry } from '../sdk/server/log-entry.js';
import type { LogSink } from '../sdk/server/log.js';

type JsonFile = Extract<LogTarget, { kind: 'json-file' }>;

/** Writes a json-file log, which is the shim's work where the driver is in the engine: the same records, files and rotation. */
export class JsonLog implements LogSink {
  private constructor(
    private readonly target: JsonFile,
    private file: FileHandle,
    private size: number,
  ) {}

  static async open(target: JsonFile): Promise<JsonLog> {
    const file = await open(target.path, 'a', 0o640);
    return new JsonLog(target, file, (await file.stat()).size);
  }

  async write({ source, time, line, partial, piece }: LogEntry): Promise<void> {
    const { maxSize, attrs } = this.target;
    const whole = !partial || piece?.last === true;
    const record = Buffer.from(
      `${JSON.stringify({
        log: line.toString('utf8') + (whole ? '\n' : ''),
        stream: source,
        ...(Object.keys(attrs).length > 0 && { attrs }),
        time: timeText(time),
      })}\n`,
    );
    if (maxSize > 0 && this.size > 0 && this.size + record.length > maxSize) await this.rotate();
    await this.file.appendFile(record);
    this.size += record.length;
  }

  async close(): Promise<void> {
    await this.file.close();
  }

  /** `log` becomes `log.1`, that `log.2`, and so on; of `maxFiles` the live one is one. */
  private async rotate(): Promise<void> {
    const { path, maxFiles, compress } = this.target;
    await this.file.close();
    const last = maxFiles - 1;
    for (const end of ['', '.gz']) {
      await rm(last === 0 ? path + end : `${path}.${last}${end}`, { force: true });
      for (let number = last - 1; number >= 1; number--) await moved(`${path}.${number}${end}`, `${path}.${number + 1}${end}`);
    }
    if (last > 0) {
      await moved(path, `${path}.1`);
      if (compress) await packed(`${path}.1`);
    }
    this.file = await open(path, 'a', 0o640);
    this.size = 0;
  }
}

async function moved(from: string, to: string): Promise<void> {
  try {
    await rename(from, to);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}

async function packed(path: string): Promise<void> {
  await pipeline(createReadStream(path), createGzip(), createWriteStream(`${path}.gz.tmp`, { mode: 0o640 }));
  await rename(`${path}.gz.tmp`, `${path}.gz`);
  await rm(path);
}

const timeText = (time: bigint): string =>
  `${new Date(Number(time / 1_000_000n)).toISOString().slice(0, 19)}.${String(time % 1_000_000_000n).padStart(9, '0')}Z`;
