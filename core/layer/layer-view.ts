import { randomBytes } from 'node:crypto';
import { mkdir, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Host } from '../contracts/host.js';
import type { SnapshotId } from '../contracts/ids.js';
import { readOnlyMount, type Mount } from '../contracts/mount.js';
import type { OpenDriver } from '../extension/driver-registry.js';

/** Mounts snapshots at places of this room's own, for as long as something looks at them or fills them. */
export class LayerViews {
  constructor(
    private readonly host: Host,
    /** On tmpfs; what a crash leaves mounted here belongs to nobody. */
    readonly folder: string,
  ) {}

  /** `work` gets the path of the tree and only looks at it. Acquired, mounted, unmounted and released here. */
  show<T>(open: OpenDriver<'storage'>, snapshot: SnapshotId, work: (tree: string) => Promise<T>): Promise<T> {
    return this.mounted(open, snapshot, readOnlyMount, work);
  }

  /** The same for `work` that writes, where the snapshot is a writable one. */
  fill<T>(open: OpenDriver<'storage'>, snapshot: SnapshotId, work: (tree: string) => Promise<T>): Promise<T> {
    return this.mounted(open, snapshot, (mount) => mount, work);
  }

  private async mounted<T>(
    open: OpenDriver<'storage'>,
    snapshot: SnapshotId,
    form: (mount: Mount) => Mount,
    work: (tree: string) => Promise<T>,
  ): Promise<T> {
    const { files } = this.host;
    const place = join(this.folder, `view-${randomBytes(6).toString('hex')}`);
    await mkdir(place, { recursive: true, mode: 0o700 });
    let mounted = 0;
    try {
      const mounts = await open.driver.acquire(snapshot);
      try {
        for (const mount of mounts) {
          await files.mount(form(mount), place);
          mounted++;
        }
        return await work(place);
      } finally {
        for (; mounted > 0; mounted--) await files.unmount(place);
        await open.driver.release(snapshot);
      }
    } finally {
      await rmdir(place);
    }
  }
}
