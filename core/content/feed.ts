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
  let stopped = false;
  const { promise: stop, resolve: goOn } = Promise.withResolvers<void>();
  const reading = read(readEnd).finally(() => {
    stopped = true;
    goOn();
    host.process.closeFd(readEnd);
  });
  const sending = (async () => {
    for await (const chunk of source.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
      if (stopped) return;
      if (!socket.write(chunk)) await Promise.race([taken(socket), stop]);
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

/** Resolves when the socket takes more, or will never. */
function taken(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      socket.off('drain', done).off('close', done);
      resolve();
    };
    socket.once('drain', done).once('close', done);
  });
}
