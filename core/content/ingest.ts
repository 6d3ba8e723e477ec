import { once } from 'node:events';
import { Socket } from 'node:net';
import { invalid } from '../contracts/errors.js';
import type { Host } from '../contracts/host.js';
import { parseDigest, type Digest } from '../contracts/ids.js';
import type { Content, ExpectedBlob } from './content.js';

/** The writing end of a blob whose bytes are hashed and stored off the event loop. */
export interface IngestSink {
  /** Resolves when the pipe took the chunk: back-pressure. Rejects when the other side gave up (a full disk). */
  write(chunk: Uint8Array): Promise<void>;
}

export interface Ingest {
  readonly expected: ExpectedBlob;
  /** Bytes at most. */
  readonly limit: number;
  /** Writes all of the blob. */
  produce(sink: IngestSink): Promise<void>;
  /** The writing end of a pipe that gets the same bytes, at its reader's pace. It is closed whatever happens. */
  readonly tee?: number;
  /** Told what came, before it is compared with what was expected; may refuse it with an error of its own. */
  check?(found: { digest: Digest; size: number }): void;
}

/**
 * Stores a blob through a pipe: `produce` writes into it, the host reads, hashes, counts, writes and syncs on its own thread.
 * Visible only when all of it arrived and is what was `expected`; whatever fails, nothing is left.
 */
export async function ingest(host: Host, content: Content, options: Ingest): Promise<{ digest: Digest; size: number }> {
  const { expected, limit, produce, check, tee } = options;
  const reserved = await content.reserve().catch((error: unknown) => {
    if (tee !== undefined) host.process.closeFd(tee);
    throw error;
  });
  const [readEnd, writeEnd] = host.process.pipe();
  const socket = new Socket({ fd: writeEnd, readable: false, writable: true });
  const { promise: broken, reject: breakOff } = Promise.withResolvers<never>();
  broken.catch(() => undefined);
  socket.on('error', breakOff);

  const storing = host.files
    .ingest({ fd: readEnd, path: reserved.path, limit, ...(tee === undefined ? {} : { tee }) })
    .finally(() => host.process.closeFd(readEnd));
  storing.catch((error: unknown) => {
    // Before the EPIPE that follows from the closed pipe, so that the cause and not its echo is told.
    breakOff(error);
    socket.destroy();
  });
  try {
    await produce({
      write: async (chunk) => {
        if (!socket.write(chunk)) await Promise.race([once(socket, 'drain'), broken]);
        else if (socket.destroyed) await broken;
      },
    });
    await Promise.race([new Promise<void>((resolve) => socket.end(resolve)), broken]);
    const stored = await storing;
    const found = { digest: parseDigest(stored.digest), size: stored.size };
    check?.(found);
    await reserved.adopt(found, expected);
    return found;
  } catch (error) {
    socket.destroy();
    await storing.catch(() => undefined);
    await reserved.abort();
    throw error;
  }
}

/** Stores all that `source` gives. */
export function ingestStream(
  host: Host,
  content: Content,
  source: AsyncIterable<Uint8Array>,
  expected: ExpectedBlob,
  limit: number,
): Promise<{ digest: Digest; size: number }> {
  return ingest(host, content, {
    expected,
    limit,
    produce: async (sink) => {
      let size = 0;
      for await (const chunk of source) {
        size += chunk.byteLength;
        if (size > limit) throw invalid(`more than ${limit} bytes were sent`);
        await sink.write(chunk);
      }
    },
  });
}

/** Stores bytes that are in memory already. */
export async function ingestBytes(content: Content, bytes: Uint8Array, expected: ExpectedBlob): Promise<Digest> {
  const writer = await content.writer();
  try {
    await writer.write(bytes);
    return (await writer.commit(expected)).digest;
  } catch (error) {
    await writer.abort();
    throw error;
  }
}
