import { open } from 'node:fs/promises';
import { Socket } from 'node:net';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Content } from '../content/content.js';
import { ingestStream } from '../content/ingest.js';
import { limits } from '../content/limits.js';
import type { Host } from '../contracts/host.js';
import type { Digest } from '../contracts/ids.js';
import { compressionOf } from './blob-compression.js';

/** What `from` holds after decompression. It is the caller's to close, once `done` has resolved, which follows from the stream's end. */
function inflated(host: Host, from: number): { stream: Readable; done: Promise<void> } {
  const [readEnd, writeEnd] = host.process.pipe();
  const stream = new Socket({ fd: readEnd, readable: true, writable: false });
  const done = host.files.decompress({ from, to: writeEnd }).then(
    () => host.process.closeFd(writeEnd),
    (error: unknown) => {
      // Before the write end closes: else the reader may see a proper end first.
      stream.destroy(error instanceof Error ? error : new Error(String(error)));
      host.process.closeFd(writeEnd);
    },
  );
  return { stream, done };
}

/** A stream as it is after decompression. */
export async function* decompressedStream(host: Host, source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const [readEnd, writeEnd] = host.process.pipe();
  const feed = new Socket({ fd: writeEnd, readable: false, writable: true });
  const feeding = pipeline(Readable.from(source), feed);
  // What it fails with is told below; its reader may also leave before it is done.
  feeding.catch(() => undefined);
  const { stream, done } = inflated(host, readEnd);
  try {
    yield* stream as AsyncIterable<Buffer>;
    await feeding;
  } finally {
    stream.destroy();
    // The other side sees an end, whatever it waits for.
    feed.destroy();
    await done;
    host.process.closeFd(readEnd);
  }
}

/** A blob that no media type has a word for is stored once more without its compression; any other is left as it is. */
export async function describable(
  host: Host,
  content: Content,
  blob: { digest: Digest; size: number },
  owner: string,
): Promise<{ digest: Digest; size: number }> {
  const path = await content.path(blob.digest);
  const compression = await compressionOf(path);
  if (compression !== 'bzip2' && compression !== 'xz') return blob;
  const file = await open(path);
  const { stream, done } = inflated(host, file.fd);
  try {
    return await ingestStream(host, content, stream, { owner }, limits.layerBytes);
  } finally {
    stream.destroy();
    await done;
    await file.close();
  }
}
