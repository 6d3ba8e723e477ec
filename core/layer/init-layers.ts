import type { Host } from '../contracts/host.js';
import { hexOf, sha256, snapshotId, type ChainId, type SnapshotId } from '../contracts/ids.js';
import type { OpenDriver } from '../extension/driver-registry.js';
import { KeyedLock } from '../state/keyed-lock.js';
import type { LayerRecords } from './layer-records.js';
import type { LayerViews } from './layer-view.js';
import type { StackedLayer } from './stack.js';

/** What every container has to mount on, and what tells a program that it is in one. */
const FOLDERS = ['/dev/pts', '/dev/shm', '/dev/mqueue', '/proc', '/sys'];
const FILES = ['/.dockerenv', '/dev/console', '/etc/hostname', '/etc/hosts', '/etc/resolv.conf'];
const LINKS: readonly (readonly [path: string, target: string])[] = [['/etc/mtab', '/proc/mounts']];

/** Its snapshot, by the same rule as a layer's. An image without layers has one too. */
export const initSnapshotOf = (driver: string, chain: ChainId | undefined): SnapshotId =>
  snapshotId(`${hexOf(sha256(`${driver} ${chain ?? ''}`))}-init`);

/**
 * One more layer between an image and its containers, with the places that the engine mounts on. Without it they would be changes
 * of every container, in its `diff` and in every image that is committed from it. All containers of an image share it.
 */
export class InitLayers {
  private readonly locks = new KeyedLock();

  constructor(
    private readonly records: LayerRecords,
    private readonly host: Host,
    private readonly views: LayerViews,
    private readonly boot: string,
  ) {}

  /** The snapshot that a container's layer stands on, made when it is the first one. The chain is pinned by the caller. */
  async ensure(open: OpenDriver<'storage'>, top: StackedLayer | undefined): Promise<SnapshotId> {
    const snapshot = initSnapshotOf(open.name, top?.chain);
    if (await this.isThere(open, snapshot)) return snapshot;
    await this.locks.run(snapshot, async () => {
      if (await this.isThere(open, snapshot)) return;
      // Without a record it is what a crash left.
      await open.driver.remove(snapshot);
      await open.driver.create(snapshot, { writable: true, ...(top === undefined ? {} : { parent: top.snapshot }) });
      try {
        await this.fill(open, snapshot);
        this.records.addInit(open.name, snapshot, this.boot);
      } catch (error) {
        await open.driver.remove(snapshot);
        throw error;
      }
    });
    return snapshot;
  }

  private async isThere(open: OpenDriver<'storage'>, snapshot: SnapshotId): Promise<boolean> {
    return this.records.hasInit(open.name, snapshot) && (await open.driver.exists(snapshot));
  }

  /** Fills again those that an earlier boot wrote and nobody knows to be on disk. Containers on them keep them. */
  async mend(open: OpenDriver<'storage'>): Promise<void> {
    for (const { driver, snapshot, boot } of this.records.inits()) {
      if (driver !== open.name || boot === '' || boot === this.boot) continue;
      if (!(await open.driver.exists(snapshot))) {
        this.records.removeInit(driver, snapshot);
        continue;
      }
      await this.fill(open, snapshot);
      this.records.addInit(driver, snapshot, this.boot);
    }
  }

  /** Nobody makes this snapshot while `work` runs. */
  apart(snapshot: SnapshotId, work: () => Promise<void>): Promise<void> {
    return this.locks.run(snapshot, work);
  }

  isBusy(snapshot: SnapshotId): boolean {
    return this.locks.busy(snapshot);
  }

  private fill(open: OpenDriver<'storage'>, snapshot: SnapshotId): Promise<void> {
    const { files, process } = this.host;
    return this.views.fill(open, snapshot, async (tree) => {
      const root = await files.openRoot(tree);
      try {
        for (const path of FOLDERS) await kept(files.makeDirIn(root, path));
        for (const path of FILES) await kept(files.makeFileIn(root, path));
        for (const [path, target] of LINKS) await kept(files.makeLinkIn(root, path, target));
      } finally {
        process.closeFd(root);
      }
    });
  }
}

/** An image may have something else in a place, such as a file where a folder would be; it stays. */
async function kept(made: Promise<boolean>): Promise<void> {
  try {
    await made;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'ENOTDIR' && code !== 'ELOOP' && code !== 'EEXIST') throw error;
  }
}
