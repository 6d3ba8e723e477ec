import type { LogEntry } from '@gantry/core/contracts/log.js';
import type { OpenLogFile } from './log-files.js';
import { chunksOf, linesOf } from './chunks.js';
import { RecordParser } from './record.js';

const BLOCK = 128 * 1024;
const NEWLINE = 0x0a;

export interface TailStart {
  /** Index into the files, oldest first. */
  readonly file: number;
  /** Where its first wanted record begins, in uncompressed bytes. */
  readonly offset: number;
}

type Wanted = (entry: LogEntry) => boolean;

/** Where the last `count` wanted records begin. Reads backwards and only as far as it must. */
export async function findTail(files: readonly OpenLogFile[], count: number, wanted: Wanted | undefined): Promise<TailStart> {
  let missing = count;
  if (missing === 0) {
    const last = files.length - 1;
    const size = last < 0 ? 0 : ((await files[last]?.handle.stat())?.size ?? 0);
    return { file: Math.max(last, 0), offset: size };
  }
  for (let index = files.length - 1; index >= 0; --index) {
    const file = files[index];
    if (!file) continue;
    const offsets = file.compressed ? await lastOffsetsForward(file, missing, wanted) : await lastOffsetsBackward(file, missing, wanted);
    missing -= offsets.count;
    if (missing === 0) return { file: index, offset: offsets.first };
  }
  return { file: 0, offset: 0 };
}

async function lastOffsetsBackward(
  file: OpenLogFile,
  count: number,
  wanted: Wanted | undefined,
): Promise<{ count: number; first: number }> {
  const parser = new RecordParser();
  let found = 0;
  let first = 0;
  const take = (bytes: Buffer, start: number, end: number, offset: number): boolean => {
    if (wanted) {
      const entry = parser.parse(bytes, start, end);
      if (!entry || !wanted(entry)) return false;
    } else if (end <= start) return false;
    first = offset;
    return ++found === count;
  };

  let position = (await file.handle.stat()).size;
  /** What lies right of the block and belongs to a line that begins further left; its last byte is the line's newline. */
  let rest: Buffer = Buffer.alloc(0);
  let sawNewline = false;
  while (position > 0) {
    const size = Math.min(BLOCK, position);
    position -= size;
    const block = Buffer.concat([await readExactly(file, position, size), rest]);
    let end = block.length;
    if (!sawNewline) {
      // What follows the last newline is torn or still being written.
      end = block.lastIndexOf(NEWLINE) + 1;
      if (end === 0) {
        rest = block;
        continue;
      }
      sawNewline = true;
    }
    while (end > 1) {
      const newline = block.lastIndexOf(NEWLINE, end - 2);
      if (newline < 0) break;
      if (take(block, newline + 1, end - 1, position + newline + 1)) return { count: found, first };
      end = newline + 1;
    }
    rest = block.subarray(0, end);
  }
  if (sawNewline && rest.length > 0) take(rest, 0, rest.length - 1, 0);
  return { count: found, first };
}

async function readExactly(file: OpenLogFile, position: number, size: number): Promise<Buffer> {
  const bytes = Buffer.allocUnsafeSlow(size);
  let done = 0;
  while (done < size) {
    const { bytesRead } = await file.handle.read(bytes, done, size - done, position + done);
    if (bytesRead === 0) break;
    done += bytesRead;
  }
  return bytes.subarray(0, done);
}

/** A compressed file can only be read from its begin; the last offsets are kept in a ring. */
async function lastOffsetsForward(file: OpenLogFile, count: number, wanted: Wanted | undefined): Promise<{ count: number; first: number }> {
  const parser = new RecordParser();
  const ring: number[] = [];
  let total = 0;
  for await (const { bytes, start, end, offset } of linesOf(chunksOf(file, 0))) {
    if (wanted) {
      const entry = parser.parse(bytes, start, end);
      if (!entry || !wanted(entry)) continue;
    }
    ring[total++ % count] = offset;
  }
  return { count: Math.min(total, count), first: (total < count ? ring[0] : ring[total % count]) ?? 0 };
}
