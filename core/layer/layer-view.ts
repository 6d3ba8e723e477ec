import { randomBytes } from 'node:crypto';
import { mkdir, readdir, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Host } from '../contracts/host.js';
import type { SnapshotId } from '../contracts/ids.js';
import { readOnlyMount, type Mount } from '../contracts/mount.js';
import type { OpenDriver } from '../extension/driver-registry.js';

/** Mounts snapshots at places of this room's own, for as long as something looks at them or fills them. */
export class LayerViews {
  private readonly inUse = new Set<string>();

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

  /** Places that a daemon left which died, or could not take down. */
  async left(): Promise<string[]> {
    const names = await readdir(this.folder).catch((error: unknown): string[] => {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
      throw error;
    });
    return names.filter((name) => !this.inUse.has(name)).map((name) => join(this.folder, name));
  }

  async takeDown(place: string): Promise<void> {
    const { files } = this.host;
    for (const { target } of files.mountsBelow(place)) await files.unmount(target, true);
    await files.removeTree(place);
  }

  private async mounted<T>(
    open: OpenDriver<'storage'>,
    snapshot: SnapshotId,
    form: (mount: Mount) => Mount,
    work: (tree: string) => Promise<T>,
  ): Promise<T> {
    const name = `view-${randomBytes(6).toString('hex')}`;
    const place = join(this.folder, name);
    this.inUse.add(name);
    try {
      return await this.mountedAt(place, open, snapshot, form, work);
    } finally {
      this.inUse.delete(name);
    }
  }

  private async mountedAt<T>(
    place: string,
    open: OpenDriver<'storage'>,
    snapshot: SnapshotId,
    form: (mount: Mount) => Mount,
    work: (tree: string) => Promise<T>,
  ): Promise<T> {
    const { files } = this.host;
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
