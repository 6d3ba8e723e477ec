import { createHash } from 'node:crypto';
import { lstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';

/** What a tree is, path by path, in a form that two trees can be compared in. Hard links are told by their common first name. */
export function describeTree(root: string, options: { times?: boolean | 'exact' } = {}): Record<string, string> {
  const found: Record<string, string> = {};
  const first = new Map<bigint, string>();
  const visit = (path: string): void => {
    const full = join(root, path);
    const st = lstatSync(full, { bigint: true });
    const mode = Number(st.mode);
    const parts = [(mode & 0o170000).toString(8), (mode & 0o7777).toString(8), `${st.uid}:${st.gid}`];
    if (options.times && path !== '') parts.push(`@${options.times === 'exact' ? st.mtimeNs : st.mtimeMs / 1000n}`);
    if (st.isSymbolicLink()) parts.push(`-> ${readlinkSync(full)}`);
    if (st.isCharacterDevice() || st.isBlockDevice()) parts.push(`dev ${st.rdev}`);
    if (st.isFile()) parts.push(`${st.size} ${createHash('sha256').update(readFileSync(full)).digest('hex').slice(0, 16)}`);
    if (!st.isDirectory() && st.nlink > 1n) {
      // Told at the second name only: overlayfs counts links that a container cannot see.
      const known = first.get(st.ino);
      if (known === undefined) first.set(st.ino, path);
      else parts.push(`= ${known}`);
    }
    found[path === '' ? '/' : path] = parts.join(' ');
    if (st.isDirectory()) for (const name of readdirSync(full).toSorted()) visit(path === '' ? name : `${path}/${name}`);
  };
  visit('');
  return found;
}
