import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf } from '@gantry/core/contracts/errors.js';
import type { DriverEnv, Probe } from '@gantry/core/contracts/manifest.js';
import { nearestExisting } from '../backing.js';

/** File systems that overlayfs takes no upper folder from, or takes it and loses marks. */
const UNSUITABLE = new Set(['overlay', 'aufs', 'ecryptfs', 'nfs', 'cifs', 'smb2', '9p', 'ramfs', 'squashfs', 'erofs', 'fuse']);

/**
 * Mount options that keep every snapshot's difference complete in its own folder. A kernel may have the opposite as its
 * default; it knows the option when it has a parameter of that name.
 */
export const plainOptions = (): string[] =>
  ['index', 'redirect_dir', 'metacopy'].filter((name) => existsSync(`/sys/module/overlay/parameters/${name}`)).map((name) => `${name}=off`);

/** Whether overlay2 can serve here: a real mount in a folder that is gone afterwards, and a deletion that stays one. */
export async function probeOverlay(env: DriverEnv): Promise<Probe> {
  if (/[:,\\]/.test(env.root))
    return { ok: false, reason: `the data root's path must not contain a colon, comma or backslash: ${env.root}` };
  const place = nearestExisting(env.root);
  const { type } = await env.host.files.fileSystem(place);
  if (UNSUITABLE.has(type)) return { ok: false, reason: `the backing file system ${type} cannot hold overlay's upper folders (${place})` };
  const trial = join(place, `.overlay-probe-${randomBytes(6).toString('hex')}`);
  const merged = join(trial, 'merged');
  let mounted = false;
  try {
    for (const name of ['one', 'two', 'upper', 'work', 'merged']) await mkdir(join(trial, name), { recursive: true, mode: 0o700 });
    await writeFile(join(trial, 'one', 'file'), '');
    const options = [`lowerdir=${trial}/one:${trial}/two`, `upperdir=${trial}/upper`, `workdir=${trial}/work`, ...plainOptions()];
    try {
      await env.host.files.mount({ type: 'overlay', source: 'overlay', options }, merged);
    } catch (error) {
      const known = (await readFile('/proc/filesystems', 'utf8')).split('\n').some((line) => line.trim().endsWith('overlay'));
      return known
        ? { ok: false, reason: `overlay does not mount on ${type}: ${messageOf(error)}` }
        : { ok: false, reason: 'the kernel has no overlay file system (CONFIG_OVERLAY_FS)' };
    }
    mounted = true;
    await rm(join(merged, 'file'));
    const mark = await stat(join(trial, 'upper', 'file'));
    // Without file types in folder listings overlay cannot tell its marks from files, and the deleted file is listed again.
    if (!mark.isCharacterDevice() || (await readdir(merged)).length > 0)
      return { ok: false, reason: `the backing file system ${type} gives no file types in folder listings (d_type; for xfs: ftype=1)` };
    return { ok: true, note: `overlay on ${type}` };
  } finally {
    if (mounted) await env.host.files.unmount(merged, true);
    await env.host.files.removeTree(trial);
  }
}
