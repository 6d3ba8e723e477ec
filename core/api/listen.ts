import { chmod, chown, lstat, unlink } from 'node:fs/promises';
import type { Server } from 'node:http';
import { connect } from 'node:net';
import { conflict } from '../contracts/errors.js';

/**
 * Binds a unix socket that nobody else can connect to at any moment: made under a tight umask, opened to its group afterwards.
 * What a dead engine left at the path is taken away; a live one's socket is `conflict`.
 */
export async function bindUnix(server: Server, on: { path: string; mode?: number; group?: number }): Promise<void> {
  await clearStale(on.path);
  const umask = process.umask(0o177);
  try {
    const listening = new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen({ path: on.path }, () => {
        server.off('error', reject);
        resolve();
      });
    });
    // The bind itself has happened by now; waiting under the umask would give it to others' files.
    process.umask(umask);
    await listening;
  } finally {
    process.umask(umask);
  }
  if (on.group !== undefined) await chown(on.path, process.getuid?.() ?? 0, on.group);
  await chmod(on.path, on.mode ?? 0o660);
}

async function clearStale(path: string): Promise<void> {
  const found = await lstat(path).catch(() => undefined);
  if (!found) return;
  if (!found.isSocket()) throw conflict(`cannot listen on ${path}: something that is not a socket is there`);
  if (await answers(path)) throw conflict(`cannot listen on ${path}: another process listens there`);
  await unlink(path);
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect(path);
    probe.once('connect', () => {
      probe.destroy();
      resolve(true);
    });
    probe.once('error', () => resolve(false));
  });
}
