import { mkdir, open, readFile } from 'node:fs/promises';
import { conflict, invalid, isKind, messageOf, notFound, unavailable } from '../contracts/errors.js';
import { failpoint } from '../state/failpoint.js';
import type { Intent } from '../state/journal.js';
import { UndoStack } from '../state/undo.js';
import type { Container, HostConfig, MountPoint, MountRequest } from './container.js';
import { holdMount } from './hold-mounts.js';
import { removeImage } from './image-mounts.js';
import { isRunning } from './list-filters.js';
import { cleanPath, parseBind, parseMount } from './mount-requests.js';
import { partPlaceOf, placeOf, sourceOf } from './mounts.js';
import type { ContainerRoom } from './room.js';
import { bindOptions, mergeTmpfsOptions } from './spec-mounts.js';

/** Gives a container one more mount, at once when it runs. On failure everything is as before. The caller holds the lock. */
export async function addMount(room: ContainerRoom, container: Container, request: MountRequest): Promise<void> {
  const { id, hostConfig } = container;
  const draft = parseMount(request, hostConfig.volumeDriver);
  const { destination } = draft.point;
  if (container.mounts.some((point) => point.destination === destination) || Object.hasOwn(hostConfig.tmpfs, destination))
    throw conflict(`Duplicate mount point: ${destination}`);
  checkState(container);
  const undo = new UndoStack(room.log);
  const intent = room.journal.begin('container.mount', id, { point: draft.point });
  undo.push('end the intent', () => room.journal.end(intent));
  try {
    const point = await holdMount(room, id, draft, container.storageDriver, undo);
    failpoint('container.mount.1');
    if (room.live.get(id)) await show(room, container, point, undo);
    failpoint('container.mount.2');
    room.commit(true, () => {
      room.store.update(id, (old) => ({
        mounts: [...old.mounts, point],
        hostConfig: { ...old.hostConfig, mounts: [...old.hostConfig.mounts, request] },
      }));
      room.journal.end(intent);
    });
    undo.dismiss();
  } catch (error) {
    await undo.run();
    // A file where the target wants a folder, or the other way round.
    if ((error as { code?: unknown }).code === 'ENOTDIR') throw invalid(`cannot mount at ${destination}: ${messageOf(error)}`, error);
    throw error;
  }
  room.publish(container, 'update');
}

/** Takes a mount from a container, at once when it runs: who has files there open keeps them. The caller holds the lock. */
export async function removeMount(room: ContainerRoom, container: Container, target: string): Promise<void> {
  const destination = cleanPath(target);
  const point = container.mounts.find((one) => one.destination === destination);
  if (!point) throw notFound('mount', `${destination} in container ${container.name}`);
  checkState(container);
  const below = container.mounts.find((one) => one.destination.startsWith(`${destination}/`));
  if (below) throw conflict(`${below.destination} is mounted below ${destination}: remove that first`);
  const intent = room.journal.begin('container.unmount', container.id, { point });
  await finishRemoval(room, container, point, intent, room.live.get(container.id)?.task.pid);
  room.publish(container, 'update');
}

async function finishRemoval(
  room: ContainerRoom,
  container: Container,
  point: MountPoint,
  intent: Intent,
  pid: number | undefined,
): Promise<void> {
  if (pid !== undefined) {
    try {
      await hide(room, container, point, pid);
    } catch (error) {
      room.journal.end(intent);
      throw error;
    }
  }
  failpoint('container.unmount.1');
  room.store.update(container.id, (old) => ({
    mounts: old.mounts.filter(({ destination }) => destination !== point.destination),
    hostConfig: without(old.hostConfig, point.destination),
  }));
  failpoint('container.unmount.2');
  await letGo(room, container, point);
  room.journal.end(intent);
}

/** What a crash cut off: a mount that no record has goes, one that was to go goes on going. Before the live are met. */
export async function settleMountIntent(room: ContainerRoom, intent: Intent): Promise<void> {
  const container = room.store.byFullId(intent.subject);
  const { point } = intent.detail as { point: MountPoint };
  // A container that is gone has let go of everything.
  if (!container) return room.journal.end(intent);
  const pid = isRunning(container.state.status) && container.state.pid > 0 ? container.state.pid : undefined;
  if (intent.kind === 'container.unmount') return finishRemoval(room, container, point, intent, pid);
  const recorded = container.mounts.some(({ destination }) => destination === point.destination);
  if (!recorded) {
    if (pid !== undefined) await hide(room, container, point, pid);
    await letGo(room, container, point);
  }
  room.journal.end(intent);
}

function checkState({ id, state }: Container): void {
  if (state.status === 'removing' || state.status === 'dead') throw conflict(`container ${id} is marked for removal`);
  if (state.status === 'restarting') throw conflict(`container ${id} is restarting: try again when it runs`);
}

const without = (config: HostConfig, destination: string): HostConfig => ({
  ...config,
  mounts: config.mounts.filter(({ target }) => cleanPath(target) !== destination),
  binds: config.binds.filter((spec) => parseBind(spec, config.volumeDriver).point.destination !== destination),
});

/** Makes a mount visible in a container that runs. */
async function show(room: ContainerRoom, container: Container, point: MountPoint, undo: UndoStack): Promise<void> {
  const { files, process } = room.host;
  const live = room.live.get(container.id);
  if (!live) throw unavailable(`container ${container.id} does not run any more`);
  const rootFd = await files.openRoot('/');
  try {
    const source =
      point.type === 'tmpfs' ? await tmpfsPlace(room, container, point, undo) : await sourceOf(room, container, point, undefined, undo);
    await inNamespace(room, container, live.task.pid, (namespace, containerFd) =>
      files.bindInto({
        source: { rootFd, path: source },
        namespace,
        target: { rootFd: containerFd, path: point.destination },
        options:
          point.type === 'tmpfs'
            ? ['rbind']
            : bindOptions({ ...point, nonRecursive: point.nonRecursive ?? false, recursiveReadOnly: point.recursiveReadOnly ?? 'enabled' }),
      }),
    );
    undo.push('take the mount out of the container', () => hide(room, container, point, live.task.pid));
    if (room.live.get(container.id) !== live) throw unavailable(`container ${container.id} ended meanwhile`);
  } finally {
    process.closeFd(rootFd);
  }
}

async function tmpfsPlace(room: ContainerRoom, container: Container, point: MountPoint, undo: UndoStack): Promise<string> {
  const place = placeOf(room, container.id, point);
  await mkdir(place, { recursive: true, mode: 0o700 });
  const options = mergeTmpfsOptions([
    'noexec',
    'nosuid',
    'nodev',
    'mode=1777',
    ...(point.tmpfsOptions === '' ? [] : point.tmpfsOptions.split(',')),
  ]);
  await room.host.files.mount({ type: 'tmpfs', source: 'tmpfs', options }, place);
  undo.push('unmount a tmpfs', () => room.host.files.unmount(place));
  return place;
}

/** Takes a mount out of a container that runs, or ran a moment ago. What is not there needs no taking. */
async function hide(room: ContainerRoom, container: Container, point: MountPoint, pid: number): Promise<void> {
  try {
    await inNamespace(room, container, pid, (namespace, rootFd) =>
      room.host.files.unmountFrom({ namespace, target: { rootFd, path: point.destination } }),
    );
  } catch (error) {
    const { code } = error as { code?: unknown };
    if (isKind(error, 'invalid-parameter') || code === 'ENOENT' || code === 'ESRCH') return;
    throw error;
  }
}

/** Opens the mount namespace and the root of a container's first process, and sees that the process is that. */
async function inNamespace(
  room: ContainerRoom,
  container: Container,
  pid: number,
  work: (namespace: number, rootFd: number) => Promise<void>,
): Promise<void> {
  const file = await open(`/proc/${pid}/ns/mnt`);
  try {
    const rootFd = await room.host.files.openRoot(`/proc/${pid}/root`);
    try {
      // The number could be another process' by now: the cgroup's name has the container's.
      if (!(await readFile(`/proc/${pid}/cgroup`, 'utf8')).includes(container.id)) {
        throw Object.assign(new Error('the process ended'), { code: 'ESRCH' });
      }
      await work(file.fd, rootFd);
    } finally {
      room.host.process.closeFd(rootFd);
    }
  } finally {
    await file.close();
  }
}

/** Ends what the engine holds for a mount that is seen nowhere any more. Repeatable. */
async function letGo(room: ContainerRoom, container: Container, point: MountPoint): Promise<void> {
  const { files } = room.host;
  for (const at of [partPlaceOf(room, container.id, point), placeOf(room, container.id, point)]) {
    for (const { target } of files.mountsBelow(at)) {
      await files.unmount(target).catch((error: unknown) => {
        room.log.warn('a mount is still in use, detaching it', { container: container.id, target, error: messageOf(error) });
        return files.unmount(target, true);
      });
    }
  }
  if (point.type === 'image') await removeImage(room, container.id, point);
  if (point.type !== 'volume' || point.name === '') return;
  await room.volumes.unmount(point.name, container.id);
  const mounts = room.store.byFullId(container.id)?.mounts ?? [];
  const shared = mounts.some(
    ({ type, name, destination }) => type === 'volume' && name === point.name && destination !== point.destination,
  );
  if (!shared) await room.volumes.dereference(point.name, container.id);
}
