import { Socket } from 'node:net';
import type { Readable } from 'node:stream';
import type { Host } from '@gantry/core/contracts/host.js';

/**
 * What `pack` writes into a pipe, as a stream. Through a socket handle and not `fs.createReadStream`, whose blocking reads
 * would each take one of libuv's four threads. When `pack` fails the stream fails too, after what was written before; when
 * the reader goes away `pack` gets EPIPE and ends.
 */
export function archiveStream(host: Host, pack: (fd: number) => Promise<unknown>): Readable {
  const [readEnd, writeEnd] = host.process.pipe();
  const stream = new Socket({ fd: readEnd, readable: true, writable: false });
  pack(writeEnd).then(
    () => host.process.closeFd(writeEnd),
    (error: unknown) => {
      // Before the write end closes: else the reader may see a proper end first.
      stream.destroy(error instanceof Error ? error : new Error(String(error)));
      host.process.closeFd(writeEnd);
    },
  );
  return stream;
}
