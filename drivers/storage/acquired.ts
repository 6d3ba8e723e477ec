import { conflict } from '@gantry/core/contracts/errors.js';
import type { SnapshotId } from '@gantry/core/contracts/ids.js';

/** How often each snapshot is acquired now. In memory: after a restart of the daemon what is in use is acquired again. */
export class Acquired {
  private readonly counts = new Map<SnapshotId, number>();

  add(id: SnapshotId): void {
    this.counts.set(id, (this.counts.get(id) ?? 0) + 1);
  }

  drop(id: SnapshotId): void {
    const left = (this.counts.get(id) ?? 0) - 1;
    if (left > 0) this.counts.set(id, left);
    else this.counts.delete(id);
  }

  has(id: SnapshotId): boolean {
    return this.counts.has(id);
  }

  refuseRemoval(id: SnapshotId): void {
    if (this.counts.has(id)) throw conflict(`snapshot ${id} is in use`);
  }
}
