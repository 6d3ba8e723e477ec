import type { Change } from '../contracts/storage.js';
import type { Container } from './container.js';
import type { ContainerRoom } from './room.js';

/**
 * What a container changed in its root file system. Places that were made only to mount something on are no changes of its own;
 * a parent that changed for their sake alone is none either.
 */
export async function changesOf(room: ContainerRoom, container: Container): Promise<Change[]> {
  const all = await room.layers.writableChanges(container.id);
  const places = new Set([
    ...container.mounts.map(({ destination }) => destination),
    ...Object.keys(container.hostConfig.tmpfs),
    ...MOUNT_PLACES,
  ]);
  const own = all.filter(({ path, kind }) => !(kind === 'added' && places.has(path)) && !(kind === 'modified' && places.has(path)));
  const hidden = new Set(all.filter((change) => !own.includes(change)).map(({ path }) => parentOf(path)));
  return own.filter(({ path, kind }) => {
    const prefix = path === '/' ? '/' : `${path}/`;
    const emptied = hidden.has(path) || [...hidden].some((parent) => parent.startsWith(prefix));
    return kind === 'deleted' || !emptied || own.some((other) => other.path !== path && other.path.startsWith(prefix));
  });
}

const MOUNT_PLACES = [
  '/.dockerenv',
  '/dev',
  '/dev/console',
  '/dev/mqueue',
  '/dev/pts',
  '/dev/shm',
  '/etc/hostname',
  '/etc/hosts',
  '/etc/mtab',
  '/etc/resolv.conf',
  '/proc',
  '/sbin/docker-init',
  '/sys',
];

const parentOf = (path: string): string => path.slice(0, path.lastIndexOf('/')) || '/';
