import type { Client } from '../client/client.js';
import type { HttpResponse } from '../client/http.js';
import { copyTo, demultiplex } from '../client/stream.js';
import { path } from '../client/client.js';
import { catchSignals, followSize, rawTerminal } from '../terminal.js';
import { keyWatcher } from './detach-keys.js';

export interface SessionOptions {
  tty: boolean;
  stdin: boolean;
  /** Watched for on a terminal; the engine is what acts on them. */
  detachKeys: string;
  /** Tells the engine the size of the window; called at once and on each change. */
  resize?: (size: { height: number; width: number }) => void;
}

/**
 * Joins our stdin, stdout and stderr to a hijacked connection until its output ends.
 *
 * @returns whether the user detached, so that the other side goes on without us
 */
export const converse = async (response: HttpResponse, options: SessionOptions): Promise<{ detached: boolean }> => {
  const restore = options.tty && options.stdin ? rawTerminal() : () => undefined;
  const unfollow = options.tty && options.resize && process.stdout.isTTY ? followSize(options.resize) : () => undefined;
  const keys = options.tty ? keyWatcher(options.detachKeys) : undefined;
  const stopInput = options.stdin ? sendInput(response, (data) => keys?.saw(data)) : () => undefined;
  if (!options.stdin) response.socket.end();
  try {
    if (options.tty) await copyTo(response.body, process.stdout);
    else await demultiplex(response.body, process.stdout, process.stderr);
  } catch (error) {
    // After the keys the engine may cut the connection rather than end it.
    if (!keys?.matched()) throw error;
  } finally {
    stopInput();
    unfollow();
    restore();
  }
  return { detached: keys?.matched() ?? false };
};

const sendInput = (response: HttpResponse, watch: (data: Buffer) => void): (() => void) => {
  const { socket } = response;
  const { stdin } = process;
  const onData = (data: Buffer): void => {
    watch(data);
    if (!socket.write(data)) {
      stdin.pause();
      socket.once('drain', () => stdin.resume());
    }
  };
  // The end of our input is told by ending one direction only: the container may have much to say after it.
  const onEnd = (): void => void socket.end();
  stdin.on('data', onData).once('end', onEnd).once('error', onEnd);
  stdin.resume();
  return () => {
    stdin.off('data', onData).off('end', onEnd).off('error', onEnd);
    stdin.pause();
  };
};

/** Passes the signals that we get to the container, in order, until the result is called. */
export const proxySignals = (client: Client, id: string): (() => void) => {
  let last = Promise.resolve();
  let unanswered = 0;
  return catchSignals((name) => {
    if (name === 'WINCH') return;
    // An engine that answers none of three signals must not hold its user for ever.
    if (++unanswered > 3 && (name === 'INT' || name === 'TERM')) process.exit(1);
    last = last.then(async () => {
      await client.post(path`/containers/${id}/kill`, { query: { signal: name } }).catch(() => undefined);
      unanswered--;
    });
  });
};
