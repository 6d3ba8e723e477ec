import { existsSync } from 'node:fs';
import { dirname } from 'node:path';
import type { SnapshotId } from '@gantry/core/contracts/ids.js';
import { snapshotId } from '@gantry/core/contracts/ids.js';

/** The nearest folder above a path that exists, the path itself included: where a driver's root will be made. */
export function nearestExisting(path: string): string {
  let folder = path;
  while (!existsSync(folder) && dirname(folder) !== folder) folder = dirname(folder);
  return folder;
}

/** A file system as Docker's `info` spells it. */
export const backingName = (type: string): string => (type === 'ext4' ? 'extfs' : type);

/** The names in a driver's root that are snapshots. */
export const snapshotNames = (names: readonly string[]): SnapshotId[] =>
  names.filter((name) => /^[0-9a-f]{64}(-init)?$/.test(name)).map(snapshotId);

export const isErrno = (error: unknown, code: string): boolean => (error as NodeJS.ErrnoException).code === code;
