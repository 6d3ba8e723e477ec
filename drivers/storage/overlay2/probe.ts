import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { chmod, mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf, unavailable } from '@gantry/core/contracts/errors.js';
import type { Host } from '@gantry/core/contracts/host.js';
import type { DriverEnv, Probe } from '@gantry/core/contracts/manifest.js';
import { isErrno, nearestExisting } from '../backing.js';
import { keepFacts, keptFacts } from './kept-facts.js';

/** File systems that overlayfs takes no upper folder from, or takes it and loses marks. */
const UNSUITABLE = new Set(['overlay', 'aufs', 'ecryptfs', 'nfs', 'cifs', 'smb2', '9p', 'ramfs', 'squashfs', 'erofs', 'fuse']);

/** What a trial found of this kernel with this file system. */
export interface OverlayFacts {
  /** Options of every mount beside the folders. */
  readonly options: readonly string[];
  /** Marks are in `user.` attributes: so it must be in a user namespace, and nowhere else. */
  readonly userXattr: boolean;
  /** A mount may leave out syncing what is written to it (Linux 5.10). */
  readonly volatile: boolean;
  /** Folders are moved by reference, or files copied up without content, whatever the options said. */
  readonly redirects: boolean;
  readonly metacopy: boolean;
}

type Found = { readonly facts: OverlayFacts; readonly type: string } | { readonly reason: string };

/** By host and by where it is: a mount at another place, or of another file system at the same one, is tried for itself. */
const known = new WeakMap<Host, Map<string, Promise<Found>>>();

/** Whether overlay2 can serve here. */
export async function probeOverlay(env: DriverEnv): Promise<Probe> {
  const found = await find(env);
  return 'reason' in found ? { ok: false, reason: found.reason } : { ok: true, note: `overlay on ${found.type}` };
}

/** What was found, kept for the next daemon; `unavailable` when overlay2 cannot serve here. The driver's root exists. */
export async function overlayFacts(env: DriverEnv): Promise<OverlayFacts> {
  const found = await find(env);
  if ('reason' in found) throw unavailable(`storage driver overlay2 cannot serve on this host: ${found.reason}`);
  await keepFacts(env.root, found.facts, found.type);
  return found.facts;
}

/** One trial for each place in the life of a process. A refusal is not kept: what it was for may have been mended. */
async function find(env: DriverEnv): Promise<Found> {
  const place = nearestExisting(env.root);
  const key = `${(await stat(place)).dev} ${env.root}`;
  const tried = known.get(env.host) ?? new Map<string, Promise<Found>>();
  known.set(env.host, tried);
  const pending = tried.get(key) ?? attempt(env, place);
  tried.set(key, pending);
  try {
    const found = await pending;
    if ('reason' in found) tried.delete(key);
    return found;
  } catch (error) {
    tried.delete(key);
    throw error;
  }
}

/** Whether this process is root of a user namespace that is not the first one. */
const inUserNamespace = (): boolean => !/^\s*0\s+0\s+4294967295\s*$/.test(readFileSync('/proc/self/uid_map', 'utf8'));

/**
 * Mount options that keep every snapshot's difference complete in its own folder. A kernel may have the opposite as its
 * default; it knows the option when it has a parameter of that name. With `userxattr` it keeps to them by itself.
 */
const optionsFor = (userXattr: boolean): string[] => [
  ...(userXattr ? ['index'] : ['index', 'redirect_dir', 'metacopy'])
    .filter((name) => existsSync(`/sys/module/overlay/parameters/${name}`))
    .map((name) => `${name}=off`),
  ...(userXattr ? ['userxattr'] : []),
];

async function attempt(env: DriverEnv, place: string): Promise<Found> {
  if (/[:,\\]/.test(env.root)) return { reason: `the data root's path must not contain a colon, comma or backslash: ${env.root}` };
  const { type } = await env.host.files.fileSystem(place);
  const kept = await keptFacts(env.root, type);
  if (kept) return { type, facts: kept };
  if (UNSUITABLE.has(type)) return { reason: `the backing file system ${type} cannot hold overlay's upper folders (${place})` };
  const trial = join(place, `.overlay-probe-${randomBytes(6).toString('hex')}`);
  try {
    return await tryIn(trial, env.host, type);
  } finally {
    await env.host.files.unmount(join(trial, 'merged'), true);
    await env.host.files.removeTree(trial);
  }
}

/** A real mount, a deletion that stays one, and what becomes of a folder that is moved and of a file whose mode changes. */
async function tryIn(trial: string, host: Host, type: string): Promise<Found> {
  const merged = join(trial, 'merged');
  for (const name of ['one/folder', 'two', 'upper', 'work', 'merged']) await mkdir(join(trial, name), { recursive: true, mode: 0o700 });
  for (const name of ['file', 'mode']) await writeFile(join(trial, 'one', name), 'content', { mode: 0o600 });
  const userXattr = inUserNamespace();
  const options = optionsFor(userXattr);
  const folders = [`lowerdir=${trial}/one:${trial}/two`, `upperdir=${trial}/upper`, `workdir=${trial}/work`];
  const mount = (more: readonly string[]): Promise<void> =>
    host.files.mount({ type: 'overlay', source: 'overlay', options: [...folders, ...options, ...more] }, merged);
  // First so: an unmount without it syncs all that anybody wrote to the backing file system.
  const volatile = await mount(['volatile']).then(
    () => true,
    () => false,
  );
  if (!volatile) {
    try {
      await mount([]);
    } catch (error) {
      const served = (await readFile('/proc/filesystems', 'utf8')).split('\n').some((line) => line.trim().endsWith('overlay'));
      return {
        reason: served
          ? `overlay does not mount on ${type}: ${messageOf(error)}`
          : 'the kernel has no overlay file system (CONFIG_OVERLAY_FS)',
      };
    }
  }
  await rm(join(merged, 'file'));
  const mark = await stat(join(trial, 'upper', 'file'));
  // Without file types in folder listings overlay cannot tell its marks from files, and the deleted file is listed again.
  if (!mark.isCharacterDevice() || (await readdir(merged)).includes('file'))
    return { reason: `the backing file system ${type} gives no file types in folder listings (d_type; for xfs: ftype=1)` };
  const redirects = await rename(join(merged, 'folder'), join(merged, 'moved')).then(
    () => true,
    (error: unknown) => {
      if (isErrno(error, 'EXDEV')) return false;
      throw error;
    },
  );
  await chmod(join(merged, 'mode'), 0o644);
  const reference = await host.files.getXattr(join(trial, 'upper', 'mode'), `${userXattr ? 'user' : 'trusted'}.overlay.metacopy`);
  return { type, facts: { options, userXattr, volatile, redirects, metacopy: reference !== undefined } };
}
