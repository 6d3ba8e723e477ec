import { Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import type { OpenLogFile } from './log-files.js';

const CHUNK = 256 * 1024;
const NEWLINE = 0x0a;

/**
 * The bytes of a plain file as they are, from `offset` to its end or to `limit`. Each chunk is the receiver's own; not so with
 * `reuse`, where the next chunk takes its place: the collector has less to do then.
 */
export async function* storedChunks(
  file: OpenLogFile,
  offset: number,
  { limit = Number.POSITIVE_INFINITY, reuse = false }: { limit?: number; reuse?: boolean } = {},
): AsyncGenerator<Buffer> {
  let bytes: Buffer | undefined;
  for (let position = offset; position < limit;) {
    const size = Math.min(CHUNK, limit - position);
    if (!reuse || bytes === undefined || bytes.length < size) bytes = Buffer.allocUnsafeSlow(size);
    const { bytesRead } = await file.handle.read(bytes, 0, size, position);
    if (bytesRead === 0) return;
    position += bytesRead;
    yield bytes.subarray(0, bytesRead);
  }
}

/** A file's uncompressed bytes from `offset` to its end; `reuse` as for {@link storedChunks}. */
export async function* chunksOf(file: OpenLogFile, offset: number, reuse = false): AsyncGenerator<Buffer> {
  if (!file.compressed) {
    yield* storedChunks(file, offset, { reuse });
    return;
  }
  let skip = offset;
  const inflated = createGunzip({ chunkSize: CHUNK });
  const source = Readable.from(storedChunks(file, 0));
  source.on('error', (error) => inflated.destroy(error));
  source.pipe(inflated);
  try {
    for await (const chunk of inflated as AsyncIterable<Buffer>) {
      if (skip >= chunk.length) {
        skip -= chunk.length;
        continue;
      }
      yield chunk.subarray(skip);
      skip = 0;
    }
  } finally {
    source.destroy();
    inflated.destroy();
  }
}

export interface Line {
  readonly bytes: Buffer;
  readonly start: number;
  /** Where the newline is. */
  readonly end: number;
  /** Of the start, from where the chunks began. */
  readonly offset: number;
}

/** A longer one is no record of ours: 16 KiB of text, six bytes for each, and attributes. */
export const MAX_RECORD = 512 * 1024;

/** Whole lines of a sequence of chunks; what follows the last newline is left out. */
export async function* linesOf(chunks: AsyncIterable<Buffer>): AsyncGenerator<Line> {
  let rest: Buffer = Buffer.alloc(0);
  let offset = 0;
  for await (const chunk of chunks) {
    const bytes = rest.length > 0 ? Buffer.concat([rest, chunk]) : chunk;
    let start = 0;
    for (let end = bytes.indexOf(NEWLINE); end >= 0; end = bytes.indexOf(NEWLINE, start)) {
      yield { bytes, start, end, offset: offset + start };
      start = end + 1;
    }
    rest = bytes.subarray(start);
    offset += start;
    if (rest.length > MAX_RECORD) {
      offset += rest.length;
      rest = Buffer.alloc(0);
    }
  }
}
