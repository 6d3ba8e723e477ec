import type { PathStat } from '../../contracts/host-files.js';

const TYPE_MASK = 0o170000;
/** Go's mode bits for each file type of stat(2). */
const TYPE_BITS: Readonly<Record<number, number>> = {
  0o040000: 2 ** 31,
  0o120000: 2 ** 27,
  0o060000: 2 ** 26,
  0o020000: 2 ** 26 + 2 ** 21,
  0o010000: 2 ** 25,
  0o140000: 2 ** 24,
};

/** Go's FileMode of a kernel mode: the permission bits are the same, all others elsewhere. */
export function goFileMode(mode: number): number {
  let bits = (mode & 0o777) + (TYPE_BITS[mode & TYPE_MASK] ?? 0);
  if (mode & 0o4000) bits += 2 ** 23;
  if (mode & 0o2000) bits += 2 ** 22;
  if (mode & 0o1000) bits += 2 ** 20;
  return bits;
}

/** The value of X-Docker-Container-Path-Stat: base64, standard alphabet. */
export function pathStatHeader(stat: PathStat): string {
  const json = {
    name: stat.name,
    size: stat.size,
    mode: goFileMode(stat.mode),
    mtime: new Date(stat.mtimeMs).toISOString(),
    linkTarget: stat.linkTarget,
  };
  return Buffer.from(JSON.stringify(json)).toString('base64');
}
