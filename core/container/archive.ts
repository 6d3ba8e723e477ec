import { existsSync } from 'node:fs';
import { Socket } from 'node:net';
import { posix } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { EngineError, invalid } from '../contracts/errors.js';
import type { PathStat } from '../contracts/host-files.js';
import { UndoStack } from '../state/undo.js';
import type { Container, MountPoint } from './container.js';
import type { LiveContainer } from './live.js';
import { bindMounts, mountRootfs } from './mounts.js';
import type { ContainerRoom } from './room.js';
import type { BoundMount } from './spec-mounts.js';
import { resolveUserIn } from './user.js';
import { nameFilesOf } from './view.js';

/** A path of a container as the kernel can be asked for it: a root held by descriptor and a path inside. */
interface Place {
  readonly rootFd: number;
  readonly path: string;
}

/** `/a/b/.` and `/a/b/` keep their ends: to `docker cp` they mean the folder's content. */
function absolute(path: string): string {
  const clean = posix.join('/', path);
  return path.endsWith('/.') && clean !== '/' ? `${clean.replace(/\/$/, '')}/.` : clean;
}

/**
 * Opens the root that `path` belongs to and gives it to `work`. A running container's own view is used. Of a stopped one the
 * root file system is mounted meanwhile, with its volumes and binds in it and its lock held, so that links lead where they would.
 */
async function withPlace<T>(
  room: ContainerRoom,
  container: Container,
  path: string,
  purpose: 'look' | 'write',
  work: (place: Place) => Promise<T>,
): Promise<T> {
  const { files, process } = room.host;
  // What is mounted in it may need places that are not there yet.
  const readOnly = purpose === 'look' && container.mounts.every(({ type }) => type === 'tmpfs');
  const using = async (rootFd: number): Promise<T> => {
    try {
      return await work({ rootFd, path });
    } finally {
      process.closeFd(rootFd);
    }
  };
  for (;;) {
    const live = room.live.get(container.id);
    if (live) {
      const view = await viewOf(room, live);
      if (view !== undefined) return using(view);
      await live.ended;
      continue;
    }
    const done = await room.locks.run(container.id, async () => {
      if (room.live.get(container.id)) return undefined;
      const undo = new UndoStack(room.log);
      try {
        const rootfs = await mountRootfs(room, container.id, undo, readOnly);
        await mountContent(room, container, rootfs, undo, readOnly);
        return { result: await using(await files.openRoot(rootfs)) };
      } finally {
        await undo.run();
      }
    });
    if (done) return done.result;
  }
}

/** The root as a container's first process has it. Nothing when that has ended, which is not recorded the moment it happens. */
async function viewOf(room: ContainerRoom, live: LiveContainer): Promise<number | undefined> {
  try {
    return await room.host.files.openRoot(`/proc/${live.task.pid}/root`);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ESRCH') return undefined;
    throw error;
  }
}

/** Mounts volumes and binds of a stopped container in its root, as its start would, filling new volumes. */
async function mountContent(room: ContainerRoom, container: Container, rootfs: string, undo: UndoStack, readOnly: boolean): Promise<void> {
  const { files, process } = room.host;
  const names = nameFiles(room, container);
  if (container.mounts.length + names.length === 0) return;
  const rootFd = await files.openRoot(rootfs);
  const hostFd = await files.openRoot('/');
  try {
    const binds = await bindMounts(room, container, rootFd, undo);
    undo.push('unmount what was mounted in the root file system', async () => {
      for (const { target } of files.mountsBelow(rootfs)) if (target !== rootfs) await files.unmount(target);
    });
    const taken = new Set(binds.map(({ destination }) => destination));
    for (const { source, destination, readWrite } of [...binds, ...names.filter((file) => !taken.has(file.destination))].toSorted(
      (a, b) => depth(a.destination) - depth(b.destination),
    )) {
      const target = { rootFd, path: destination };
      await files.bindIn({ source: { rootFd: hostFd, path: source }, target, readOnly: !readWrite }).catch((error: unknown) => {
        // A place that an image does not have is made by a start, not by a look.
        if (!readOnly || codeOf(error) !== 'EROFS') throw error;
      });
    }
  } finally {
    process.closeFd(hostFd);
    process.closeFd(rootFd);
  }
}

/** What its last run had in /etc. */
function nameFiles(room: ContainerRoom, container: Container): Pick<BoundMount, 'source' | 'destination' | 'readWrite'>[] {
  const { hostnamePath, hostsPath, resolvConfPath } = nameFilesOf(room, container);
  const readWrite = !container.hostConfig.readonlyRootfs;
  return [
    { destination: '/etc/hostname', source: hostnamePath, readWrite },
    { destination: '/etc/hosts', source: hostsPath, readWrite },
    { destination: '/etc/resolv.conf', source: resolvConfPath, readWrite },
  ].filter(({ source }) => existsSync(source));
}

const depth = (path: string): number => path.split('/').length;

function mountOf(container: Container, path: string): MountPoint | undefined {
  return container.mounts
    .filter(({ type, destination }) => type !== 'tmpfs' && (path === destination || path.startsWith(`${destination}/`)))
    .toSorted((a, b) => b.destination.length - a.destination.length)[0];
}

const codeOf = (error: unknown): unknown => (error as { code?: unknown } | undefined)?.code;

function missing(container: Container, path: string, error: unknown): unknown {
  const code = codeOf(error);
  if (code !== 'ENOENT' && code !== 'ENOTDIR') return error;
  return new EngineError('not-found', `Could not find the file ${path} in container ${container.name}`, { cause: error });
}

const TYPE_MASK = 0o170000;
const FOLDER = 0o040000;

async function statPlace(room: ContainerRoom, container: Container, asked: string, place: Place): Promise<PathStat> {
  // `link` is the link itself, `link/` and `link/.` what it points to.
  const followLast = /\/\.?$/.test(asked);
  const stat = await room.host.files.statIn(place.rootFd, place.path, { followLast }).catch((error: unknown) => {
    throw missing(container, asked, error);
  });
  return { ...stat, name: posix.basename(absolute(asked).replace(/\/\.$/, '')) || '/' };
}

export function statPath(room: ContainerRoom, container: Container, path: string): Promise<PathStat> {
  return withPlace(room, container, absolute(path), 'look', (place) => statPlace(room, container, path, place));
}

/** Runs `write` with the writing end of a pipe; gives back the reading end. A failure of `write` is one of the stream. */
function piped(room: ContainerRoom, write: (fd: number) => Promise<unknown>): { content: Readable; done: Promise<void> } {
  const { process } = room.host;
  const [readEnd, writeEnd] = process.pipe();
  const content = new Socket({ fd: readEnd, readable: true, writable: false });
  const done = write(writeEnd).then(
    () => process.closeFd(writeEnd),
    (error: unknown) => {
      // First the error, or the reader would take the closed pipe for the archive's end.
      content.destroy(error instanceof Error ? error : new Error(String(error)));
      process.closeFd(writeEnd);
    },
  );
  return { content, done };
}

/** `docker cp` out of a container. */
export function archivePath(room: ContainerRoom, container: Container, path: string): Promise<{ stat: PathStat; content: Readable }> {
  const { promise, resolve, reject } = Promise.withResolvers<{ stat: PathStat; content: Readable }>();
  withPlace(room, container, absolute(path), 'look', async (place) => {
    const stat = await statPlace(room, container, path, place);
    const folder = (stat.mode & TYPE_MASK) === FOLDER;
    const whole = folder && absolute(path).endsWith('/.');
    const rename = whole ? '.' : stat.name === '/' ? '/' : stat.name;
    const { content, done } = piped(room, (fd) => room.host.files.packPath({ rootFd: place.rootFd, path: place.path, fd, rename }));
    room.publish(container, 'archive-path', { path });
    resolve({ stat, content });
    await done;
  }).catch(reject);
  return promise;
}

/** `docker cp` into a container. `path` is a folder. */
export async function extractArchive(
  room: ContainerRoom,
  container: Container,
  path: string,
  content: Readable,
  options: { noOverwriteDirNonDir: boolean; copyUidGid: boolean },
): Promise<void> {
  try {
    await withPlace(room, container, absolute(path), 'write', async (place) => {
      const stat = await room.host.files.statIn(place.rootFd, place.path, { followLast: true }).catch((error: unknown) => {
        throw missing(container, path, error);
      });
      if ((stat.mode & TYPE_MASK) !== FOLDER) throw invalid('extraction point is not a directory');
      refuseReadOnly(container, absolute(path));
      const owner = options.copyUidGid && container.config.user !== '' ? await ownerOf(room, container, place.rootFd) : undefined;
      await feed(room, content, (fd) =>
        room.host.files.unpackInto({
          rootFd: place.rootFd,
          path: place.path,
          fd,
          noOverwriteDirNonDir: options.noOverwriteDirNonDir,
          ...(owner ? { owner } : {}),
        }),
      ).catch((error: unknown) => {
        // By a link, or on a file system that is so itself.
        if (codeOf(error) === 'EROFS') throw new EngineError('forbidden', 'mounted volume is marked read-only', { cause: error });
        throw error;
      });
    });
  } finally {
    // What is left of a refused body must not keep the connection from being used again.
    content.resume();
  }
  room.publish(container, 'extract-to-dir', { path });
}

async function ownerOf(room: ContainerRoom, container: Container, rootFd: number): Promise<{ uid: number; gid: number }> {
  const { uid, gid } = await resolveUserIn(room.host.files, rootFd, container.config.user, []);
  return { uid, gid };
}

function refuseReadOnly(container: Container, path: string): void {
  const mount = mountOf(container, path);
  if (mount && !mount.readWrite) throw new EngineError('forbidden', 'mounted volume is marked read-only');
  if (!mount && container.hostConfig.readonlyRootfs) throw new EngineError('forbidden', 'container rootfs is marked read-only');
}

/** Runs `read` with the reading end of a pipe that `content` goes into. */
async function feed(room: ContainerRoom, content: Readable, read: (fd: number) => Promise<unknown>): Promise<void> {
  const { process } = room.host;
  const [readEnd, writeEnd] = process.pipe();
  const sink = new Socket({ fd: writeEnd, readable: false, writable: true });
  const written = pipeline(content, sink).catch((error: unknown) => error);
  try {
    await read(readEnd);
  } finally {
    process.closeFd(readEnd);
  }
  // An archive may end before its stream does (padding): a reader that has gone is no error then, a broken client is.
  const error = await written;
  if (error !== undefined && codeOf(error) !== 'EPIPE') throw error;
}

/** The merged root file system as one archive, without volumes. */
export function exportRootfs(room: ContainerRoom, container: Container): Promise<Readable> {
  const { promise, resolve, reject } = Promise.withResolvers<Readable>();
  const pack = async (rootfs: string): Promise<void> => {
    const { content, done } = piped(room, (fd) => room.host.files.packDiff({ tree: rootfs, fd }));
    room.publish(container, 'export');
    resolve(content);
    await done;
  };
  const work = room.live.get(container.id)
    ? pack(room.paths.rootfs(container.id))
    : room.locks.run(container.id, async () => {
        if (room.live.get(container.id)) return pack(room.paths.rootfs(container.id));
        const undo = new UndoStack(room.log);
        try {
          await pack(await mountRootfs(room, container.id, undo, true));
        } finally {
          await undo.run();
        }
      });
  work.catch(reject);
  return promise;
}
