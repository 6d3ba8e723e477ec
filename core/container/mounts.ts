import { createHash } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { EngineError, invalid, messageOf } from '../contracts/errors.js';
import { readOnlyMount } from '../contracts/mount.js';
import type { UndoStack } from '../state/undo.js';
import type { Container, MountPoint } from './container.js';
import { mountImage } from './image-mounts.js';
import { parseTmpfs } from './mount-requests.js';
import type { ContainerRoom } from './room.js';
import type { BoundMount } from './spec-mounts.js';

/** Mounts the root file system in the bundle; `readOnly` for somebody who only looks, since to unmount that waits for no disk. */
export async function mountRootfs(room: ContainerRoom, id: string, undo: UndoStack, readOnly = false): Promise<string> {
  const rootfs = room.paths.rootfs(id);
  room.released.delete(id);
  room.paths.makeBundle(id);
  undo.push('remove the bundle', () => room.host.files.removeTree(room.paths.bundle(id)));
  const mounts = await room.layers.acquireWritable(id);
  undo.push('release the writable layer', () => room.layers.releaseWritable(id));
  for (const mount of mounts) {
    await room.host.files.mount(readOnly ? readOnlyMount(mount) : mount, rootfs);
    undo.push('unmount the root file system', () => room.host.files.unmount(rootfs));
  }
  return rootfs;
}

/** A tmpfs that other containers can share, for an IPC namespace that they may join. */
export async function mountShm(room: ContainerRoom, container: Container, undo: UndoStack): Promise<string> {
  const path = room.paths.shm(container.id);
  await mkdir(path, { recursive: true });
  await room.host.files.mount(
    { type: 'tmpfs', source: 'shm', options: ['nosuid', 'noexec', 'nodev', 'mode=1777', `size=${container.hostConfig.shmSize}`] },
    path,
  );
  undo.push('unmount the shared memory', () => room.host.files.unmount(path));
  return path;
}

/**
 * Makes every volume and bind of a container visible on the host. A volume's first content is what the image has at its place:
 * `rootFd` is the container's root, mounted already.
 */
export async function bindMounts(room: ContainerRoom, container: Container, rootFd: number, undo: UndoStack): Promise<BoundMount[]> {
  const bound: BoundMount[] = [];
  for (const point of container.mounts) {
    if (point.type === 'tmpfs') continue;
    bound.push({
      source: await sourceOf(room, container, point, rootFd, undo),
      destination: point.destination,
      readWrite: point.readWrite,
      propagation: point.propagation,
      nonRecursive: point.nonRecursive ?? false,
      recursiveReadOnly: point.recursiveReadOnly ?? 'enabled',
    });
  }
  return bound;
}

/** Where in a bundle something is shown that is to be mounted. Named by where the container sees it, for mounts come and go. */
export function placeOf(room: ContainerRoom, containerId: string, { destination }: MountPoint): string {
  return join(room.paths.bundle(containerId), `mount-${createHash('sha256').update(destination).digest('hex').slice(0, 16)}`);
}

/** The same for a part of it. */
export const partPlaceOf = (room: ContainerRoom, containerId: string, point: MountPoint): string =>
  `${placeOf(room, containerId, point)}-part`;

/** Makes the content of one mount visible on the host and says where. Without `rootFd` a volume gets no first content. */
export async function sourceOf(
  room: ContainerRoom,
  container: Container,
  point: MountPoint,
  rootFd: number | undefined,
  undo: UndoStack,
): Promise<string> {
  const source = await wholeSource(room, container, point, rootFd, undo);
  return point.subpath === '' ? source : partOf(room, container, source, point, undo);
}

async function wholeSource(
  room: ContainerRoom,
  container: Container,
  point: MountPoint,
  rootFd: number | undefined,
  undo: UndoStack,
): Promise<string> {
  switch (point.type) {
    case 'volume':
      return mountVolume(room, container, point, rootFd, undo);
    case 'image':
      return mountImage(room, container, point, placeOf(room, container.id, point), undo);
    default:
      return bindSource(room, point);
  }
}

async function mountVolume(
  room: ContainerRoom,
  container: Container,
  point: MountPoint,
  rootFd: number | undefined,
  undo: UndoStack,
): Promise<string> {
  const source = await room.volumes.mount(point.name, container.id, point);
  undo.push('unmount a volume', () => room.volumes.unmount(point.name, container.id));
  // Only before the first start: what the container removed later must not come back.
  if (rootFd !== undefined && !point.noCopy && point.subpath === '' && container.state.startedAt === '') {
    await room.volumes.fill(point.name, container.id, (path) => room.host.files.copyOutOf(rootFd, point.destination, path));
  }
  return source;
}

/**
 * A folder or file inside a volume, shown at a place of the bundle: what others change in the volume meanwhile cannot lead the
 * container's start out of it.
 */
async function partOf(room: ContainerRoom, container: Container, volume: string, point: MountPoint, undo: UndoStack): Promise<string> {
  const { files, process } = room.host;
  const bundle = room.paths.bundle(container.id);
  const place = partPlaceOf(room, container.id, point);
  const { subpath } = point;
  const opened: number[] = [];
  try {
    for (const path of [volume, bundle]) opened.push(await files.openRoot(path));
    const [volumeFd = -1, bundleFd = -1] = opened;
    const source = { rootFd: volumeFd, path: subpath };
    await files.bindIn({ source, target: { rootFd: bundleFd, path: basename(place) }, readOnly: false });
  } catch (error) {
    throw new EngineError('system', `cannot access path ${join(volume, subpath)}: ${messageOf(error)}`, { cause: error });
  } finally {
    for (const fd of opened) process.closeFd(fd);
  }
  undo.push('unmount a part of a volume', () => files.unmount(place));
  return place;
}

/** The host's path, made as a folder for `-v` when it is missing. */
async function bindSource(room: ContainerRoom, point: MountPoint): Promise<string> {
  const { files, process } = room.host;
  const root = await files.openRoot('/');
  try {
    await files.statIn(root, point.source, { followLast: true });
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw new EngineError('system', `error while checking bind source ${point.source}`, { cause: error });
    if (point.createSource !== true) {
      throw invalid(`invalid mount config for type "bind": bind source path does not exist: ${point.source}`, error);
    }
    await files.makeDirIn(root, point.source).catch((cause: unknown) => {
      throw new EngineError('system', `error while creating mount source path '${point.source}'`, { cause });
    });
  } finally {
    process.closeFd(root);
  }
  return point.source;
}

const codeOf = (error: unknown): unknown => (error as { code?: unknown } | undefined)?.code;

/** `--tmpfs` and `--mount type=tmpfs`. */
export function tmpfsMounts(container: Container): Map<string, string> {
  const result = parseTmpfs(container.hostConfig.tmpfs);
  for (const point of container.mounts) if (point.type === 'tmpfs') result.set(point.destination, point.tmpfsOptions);
  return result;
}
