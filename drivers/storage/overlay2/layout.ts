import { createHash } from 'node:crypto';
import { join } from 'node:path';
import type { SnapshotId } from '@gantry/core/contracts/ids.js';

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';
const LINK_LENGTH = 13;

/**
 * Where things are below the driver's root:
 *
 *   l/LINK        symbolic link to ../ID/diff, so that 128 lower folders fit the one page of options that mount(2) takes
 *   ID/diff       what the snapshot adds
 *   ID/lower      its lower folders from the top, `l/LINK:l/LINK`; absent without parent
 *   ID/work       overlayfs' own; only of a writable snapshot
 *   ID/quota      limit in bytes, when it has one
 *   ID/volatile   the boot in which it was made, when it is not to outlive a stop of the machine
 *   ID/link       LINK. Written last: a folder without it is half made or half removed
 */
export class Layout {
  constructor(readonly root: string) {}

  readonly folder = (id: SnapshotId): string => join(this.root, id);
  readonly diff = (id: SnapshotId): string => join(this.root, id, 'diff');
  readonly work = (id: SnapshotId): string => join(this.root, id, 'work');
  readonly merged = (id: SnapshotId): string => join(this.root, id, 'merged');
  readonly lower = (id: SnapshotId): string => join(this.root, id, 'lower');
  readonly quota = (id: SnapshotId): string => join(this.root, id, 'quota');
  readonly volatile = (id: SnapshotId): string => join(this.root, id, 'volatile');
  /** What overlayfs leaves when it was mounted `volatile`, so that nobody takes the rest for whole. */
  readonly volatileMark = (id: SnapshotId): string => join(this.root, id, 'work', 'work', 'incompat', 'volatile');
  readonly link = (id: SnapshotId): string => join(this.root, id, 'link');
  readonly shortLink = (name: string): string => join(this.root, 'l', name);
  readonly links = (): string => join(this.root, 'l');
}

/** A snapshot's short name: 65 bits of a hash of its id, so that the same snapshot made again has the same and children still find it. */
export function linkName(id: SnapshotId): string {
  let bits = BigInt(`0x${createHash('sha256').update(id).digest('hex').slice(0, 32)}`);
  let name = '';
  for (let i = 0; i < LINK_LENGTH; i++) {
    name += ALPHABET.charAt(Number(bits & 31n));
    bits >>= 5n;
  }
  return name;
}
