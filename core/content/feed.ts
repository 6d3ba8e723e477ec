import { once } from 'node:events';
import { Socket } from 'node:net';
import type { Readable } from 'node:stream';
import type { Host } from '../contracts/host.js';

/**
 * Gives what `source` brings to `read` as the reading end of a pipe, which is closed afterwards. When `read` gives up, the rest of
 * `source` is left in it: it is not destroyed, for it may be a request whose sender is still to be told why.
 */
export async function feed<T>(host: Host, source: Readable, read: (fd: number) => Promise<T>): Promise<T> {
  const [readEnd, writeEnd] = host.process.pipe();
  const socket = new Socket({ fd: writeEnd, readable: false, writable: true });
  // EPIPE: told by `read`, which knows why.
  socket.on('error', () => undefined);
  const reading = read(readEnd).finally(() => host.process.closeFd(readEnd));
  const stopped = reading.then(
    () => undefined,
    () => undefined,
  );
  const sending = (async () => {
    for await (const chunk of source.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
      if (socket.destroyed) return;
      if (!socket.write(chunk)) await Promise.race([once(socket, 'drain').catch(() => undefined), stopped]);
    }
    socket.end();
  })().catch((error: unknown) => {
    // A source that broke off must not look like one that came to its end.
    socket.destroy();
    throw error;
  });
  const [sent, result] = await Promise.allSettled([sending, reading]);
  socket.destroy();
  if (sent.status === 'rejected') throw sent.reason;
  if (result.status === 'rejected') throw result.reason;
  return result.value;
}
