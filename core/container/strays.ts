import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { isId } from '../contracts/ids.js';
import type { Examination } from '../state/examination.js';
import { isRunning } from './list-filters.js';
import { releaseContainer } from './release.js';
import type { ContainerRoom } from './room.js';

/**
 * Bundles and folders that belong to nobody, with all that is still mounted there: at a daemon's start, and beside everything else later.
 * What of a container nobody could say whether it runs (`unknown`) is left alone.
 */
export async function examineStrays(room: ContainerRoom, examination: Examination, unknown: ReadonlySet<string>): Promise<void> {
  for (const name of await names(room.paths.bundles)) await examineBundle(room, examination, name, unknown);
  for (const name of await names(room.paths.folders)) {
    // In this order: a container's record appears in the transaction that ends the intent to make it.
    if (!isId(name) || isComing(room, name) || room.store.byFullId(name)) continue;
    const path = join(room.paths.folders, name);
    await examination.found({ area: 'folder', subject: path, problem: 'a folder of a container that is gone', remedy: 'remove it' }, () =>
      room.host.files.removeTree(path),
    );
  }
  for (const { id, state } of room.store.list()) {
    if (!isRunning(state.status) || state.status === 'restarting' || room.locks.busy(id) || room.live.get(id)) continue;
    const problem = `a container is recorded as ${state.status} and nobody can say whether it is`;
    await examination.found({ area: 'container', subject: id, problem, remedy: '' });
  }
}

async function examineBundle(room: ContainerRoom, examination: Examination, name: string, unknown: ReadonlySet<string>): Promise<void> {
  const { files } = room.host;
  const isInUse = (): boolean => {
    const status = room.store.byFullId(name)?.state.status;
    return room.live.get(name) !== undefined || unknown.has(name) || (status !== undefined && isRunning(status));
  };
  // Whoever works on a container has its lock, and a bundle then.
  if (isInUse() || room.locks.busy(name)) return;
  const path = join(room.paths.bundles, name);
  const mounts = files.mountsBelow(path).length;
  const problem = `a bundle of a container that does not run${mounts > 0 ? `, with ${mounts} mounts` : ''}`;
  await examination.found({ area: 'mount', subject: path, problem, remedy: 'unmount and remove it' }, () =>
    room.locks.run(name, async () => {
      if (isInUse()) return;
      const container = room.store.byFullId(name);
      if (container) await releaseContainer(room, container);
      for (const { target } of files.mountsBelow(path)) await files.unmount(target, true);
      await files.removeTree(path);
    }),
  );
}

const isComing = (room: ContainerRoom, id: string): boolean =>
  room.journal.pending().some(({ kind, subject }) => kind === 'container.create' && subject === id);

const names = (path: string): Promise<string[]> => readdir(path).catch(() => []);
