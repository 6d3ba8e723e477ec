import { readFileSync, readlinkSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { notFound } from '@gantry/core/contracts/errors.js';
import type { SnapshotId } from '@gantry/core/contracts/ids.js';
import { snapshotId } from '@gantry/core/contracts/ids.js';
import { isErrno } from '../backing.js';
import type { Layout } from './layout.js';

/** What is known of a snapshot without asking the disk again. */
export interface Known {
  readonly link: string;
  /** Ids of the snapshots below, from the top. */
  readonly below: readonly SnapshotId[];
  readonly writable: boolean;
  /** The boot during which its content counts, for one that is not to outlive a stop of the machine. */
  readonly boot?: string;
  /** Its limit in bytes, when it has one. */
  readonly quota?: number;
}

/** The snapshots of a driver as its folder has them, read once. */
export class Snapshots {
  private readonly known = new Map<SnapshotId, Known>();

  constructor(private readonly layout: Layout) {}

  /** `not-found` when it is not there, or only half. */
  get(id: SnapshotId): Known {
    const found = this.find(id);
    if (!found) throw notFound('snapshot', id);
    return found;
  }

  find(id: SnapshotId): Known | undefined {
    const remembered = this.known.get(id);
    if (remembered) return remembered;
    const link = this.text(this.layout.link(id));
    if (link === undefined) return undefined;
    const boot = this.text(this.layout.volatile(id));
    const quota = this.text(this.layout.quota(id));
    const known = {
      link,
      below: this.readBelow(id),
      writable: statSync(this.layout.work(id), { throwIfNoEntry: false }) !== undefined,
      ...(boot === undefined ? {} : { boot }),
      ...(quota === undefined ? {} : { quota: Number(quota) }),
    };
    this.known.set(id, known);
    return known;
  }

  remember(id: SnapshotId, known: Known): void {
    this.known.set(id, known);
  }

  forget(id: SnapshotId): void {
    this.known.delete(id);
  }

  private readBelow(id: SnapshotId): SnapshotId[] {
    return (
      (this.text(this.layout.lower(id)) ?? '')
        .split(':')
        .filter((one) => one !== '')
        // l/LINK leads to ../ID/diff.
        .map((one) => snapshotId(readlinkSync(join(this.layout.root, one)).split('/')[1] ?? ''))
    );
  }

  private text(path: string): string | undefined {
    try {
      return readFileSync(path, 'utf8');
    } catch (error) {
      if (isErrno(error, 'ENOENT')) return undefined;
      throw error;
    }
  }
}
