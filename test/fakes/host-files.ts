import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { closeSync, constants, createReadStream, createWriteStream, fstatSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip, createGzip, createZstdDecompress } from 'node:zlib';
import type { HostFiles, IngestResult } from '@gantry/core/contracts/host-files.js';
import type { Host } from '@gantry/core/contracts/host.js';

/** A pipe without native code: both ends of a FIFO that loses its name at once. */
export function fakePipe(): [number, number] {
  const folder = mkdtempSync(join(tmpdir(), 'gantry-pipe-'));
  const path = join(folder, 'fifo');
  try {
    const made = spawnSync('mkfifo', [path]);
    if (made.status !== 0) throw new Error(`mkfifo failed: ${String(made.stderr)}`);
    const readEnd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    return [readEnd, openSync(path, constants.O_WRONLY | constants.O_NONBLOCK)];
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Reads a descriptor to its end and leaves it open. Called before anything is awaited: a FIFO must be opened while its writer still is. */
function readerOf(fd: number): Readable {
  if (!fstatSync(fd).isFIFO()) return createReadStream('', { fd, autoClose: false });
  // A socket owns its descriptor; the caller's stays the caller's.
  return new Socket({ fd: openSync(`/proc/self/fd/${fd}`, constants.O_RDONLY | constants.O_NONBLOCK), readable: true, writable: false });
}

async function hashed(
  source: AsyncIterable<Buffer>,
  limit = Number.POSITIVE_INFINITY,
  to?: (chunk: Buffer) => Promise<void>,
): Promise<IngestResult> {
  const hash = createHash('sha256');
  let size = 0;
  for await (const chunk of source) {
    size += chunk.length;
    if (size > limit) throw new Error(`more than ${limit} bytes`);
    hash.update(chunk);
    await to?.(chunk);
  }
  return { digest: `sha256:${hash.digest('hex')}`, size };
}

/** Inflates gzip and zstd by their first bytes; anything else passes. */
export async function* inflated(source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of source) chunks.push(chunk);
  const bytes = Buffer.concat(chunks);
  if (bytes[0] === 0x1f && bytes[1] === 0x8b) yield* createGunzip().end(bytes) as AsyncIterable<Buffer>;
  else if (bytes.length > 4 && bytes.readUInt32LE(0) === 0xfd2fb528) yield* createZstdDecompress().end(bytes) as AsyncIterable<Buffer>;
  else yield bytes;
}

const fakeFiles: Partial<HostFiles> = {
  async ingest({ fd, path, limit }) {
    const source = readerOf(fd);
    const file = await open(path, 'wx', 0o600);
    try {
      const result = await hashed(source, limit, async (chunk) => {
        await file.writeFile(chunk);
      });
      await file.sync();
      return result;
    } finally {
      await file.close();
    }
  },
  async hashUncompressed(fd) {
    return hashed(inflated(readerOf(fd)));
  },
  async compress({ from, to, compression }) {
    if (compression !== 'gzip') throw new Error(`the fake host compresses gzip only, not ${compression}`);
    const plain = createHash('sha256');
    const packed = createHash('sha256');
    let plainSize = 0;
    let packedSize = 0;
    await pipeline(
      readerOf(from),
      async function* (source: AsyncIterable<Buffer>) {
        for await (const chunk of source) {
          plain.update(chunk);
          plainSize += chunk.length;
          yield chunk;
        }
      },
      createGzip({ level: 1 }),
      async function* (source: AsyncIterable<Buffer>) {
        for await (const chunk of source) {
          packed.update(chunk);
          packedSize += chunk.length;
          yield chunk;
        }
      },
      createWriteStream('', { fd: to, autoClose: false }),
    );
    return {
      compressed: { digest: `sha256:${packed.digest('hex')}`, size: packedSize },
      uncompressed: { digest: `sha256:${plain.digest('hex')}`, size: plainSize },
    };
  },
  sync: async () => undefined,
};

/** A host that can store and hash blobs, in TypeScript; anything else it is asked for is a test's mistake. */
export function fakeBlobHost(overrides: Partial<HostFiles> = {}): Host {
  const missing = (what: string): object =>
    new Proxy(
      {},
      {
        get: (target, name) => {
          if (name in target) return Reflect.get(target, name) as unknown;
          throw new Error(`the fake host has no ${what}.${String(name)}`);
        },
      },
    );
  return {
    files: Object.assign(missing('files'), fakeFiles, overrides) as HostFiles,
    logs: missing('logs') as Host['logs'],
    net: missing('net') as Host['net'],
    projects: missing('projects') as Host['projects'],
    subvolumes: missing('subvolumes') as Host['subvolumes'],
    process: Object.assign(missing('process'), { pipe: fakePipe, closeFd: closeSync }) as Host['process'],
  };
}
