import { randomBytes } from 'node:crypto';
import { chmodSync, mkdirSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { invalid, messageOf } from '@gantry/core/contracts/errors.js';
import type { BranchedTrees } from '@gantry/core/contracts/host-storage.js';
import type { DriverEnv } from '@gantry/core/contracts/manifest.js';
import type { Change } from '@gantry/core/contracts/storage.js';
import { archiveStream } from '../archive-stream.js';
import { isErrno } from '../backing.js';
import type { TreeKeeper, TreePair } from '../tree-driver.js';

/** Where a tree stands still while it is compared: `view-X/tree`, below the driver's root. */
const VIEW = 'view-';

/** Trees that are subvolumes, and snapshots of each other. */
export class Subvolumes implements TreeKeeper {
  private quotasOn: Promise<void> | undefined;

  constructor(
    private readonly env: DriverEnv,
    /** The least quota that is taken, in bytes. */
    private readonly minSpace: number,
  ) {}

  async make(tree: string, from: string | undefined, quota: number | undefined): Promise<void> {
    const { subvolumes } = this.env.host;
    if (quota !== undefined && quota < this.minSpace)
      throw invalid(`a size of ${quota} bytes is less than btrfs.min_space, ${this.minSpace} bytes`);
    if (from === undefined) {
      await subvolumes.create(tree);
      // Whatever the daemon's umask is.
      chmodSync(tree, 0o755);
    } else {
      await subvolumes.snapshot(from, tree, { readOnly: false });
    }
    if (quota === undefined) return;
    await this.enableQuotas();
    await subvolumes.limit(tree, quota);
  }

  async remove(tree: string): Promise<void> {
    try {
      await this.env.host.subvolumes.remove(tree);
    } catch (error) {
      // Put there by somebody else, as from a backup.
      if (!isErrno(error, 'EINVAL')) throw error;
      await this.env.host.files.removeTree(tree);
    }
  }

  async diff(pair: TreePair): Promise<Readable> {
    const { files, subvolumes } = this.env.host;
    return archiveStream(this.env.host, (fd) =>
      this.compared(
        pair,
        (trees) => subvolumes.packDiff({ ...trees, fd }),
        (trees) => files.packDiff({ ...trees, fd, holes: true }),
      ),
    );
  }

  changes(pair: TreePair): Promise<Change[]> {
    const { files, subvolumes } = this.env.host;
    return this.compared(
      pair,
      (trees) => subvolumes.changes(trees),
      (trees) => files.changesDiff(trees),
    );
  }

  size(pair: TreePair): Promise<number> {
    const { files, subvolumes } = this.env.host;
    return this.compared(
      pair,
      (trees) => subvolumes.sizeDiff(trees),
      (trees) => files.sizeDiff(trees),
    );
  }

  async status(): Promise<[string, string][]> {
    return [
      ['Backing Filesystem', 'btrfs'],
      ['Quotas', this.quotasOn ? 'on' : 'on when asked for'],
    ];
  }

  /** Quotas cost every writer on the file system something, so they stay as they are until somebody asks for one. */
  async enableQuotas(): Promise<void> {
    this.quotasOn ??= this.env.host.subvolumes.enableQuotas(this.env.root);
    try {
      await this.quotasOn;
    } catch (error) {
      this.quotasOn = undefined;
      throw error;
    }
  }

  /** Removes what a daemon left that died while it compared. */
  async removeViews(): Promise<void> {
    for (const name of await readdir(this.env.root)) {
      if (!name.startsWith(VIEW)) continue;
      this.env.log.warn('a view of a snapshot that nobody looks at any more is removed', { place: join(this.env.root, name) });
      await this.removeView(join(this.env.root, name));
    }
  }

  /**
   * Compares by what the file system knows to have been written, on a snapshot, so that nothing moves meanwhile. Where it cannot say, the
   * trees themselves are compared, which takes longer and gives the same.
   */
  private async compared<T>(
    { tree, parent }: TreePair,
    known: (trees: BranchedTrees) => Promise<T>,
    walk: (trees: TreePair) => Promise<T>,
  ): Promise<T> {
    const { subvolumes } = this.env.host;
    const below = parent === undefined ? {} : { parent };
    // A container may make subvolumes of its own, and no snapshot shows what they hold.
    if (await subvolumes.hasInner(tree)) return walk({ tree, ...below });
    const since = parent === undefined ? undefined : await subvolumes.branchedAt(tree, parent);
    const view = join(this.env.root, `${VIEW}${randomBytes(6).toString('hex')}`);
    mkdirSync(view, { mode: 0o700 });
    try {
      const frozen = join(view, 'tree');
      await subvolumes.snapshot(tree, frozen, { readOnly: true });
      if (parent === undefined || since === undefined) return await walk({ tree: frozen, ...below });
      try {
        return await known({ tree: frozen, parent, since });
      } catch (error) {
        // It fails before anything was compared or written.
        if (!(error as { syscall?: unknown }).syscall?.toString().startsWith('BTRFS_IOC_')) throw error;
        this.env.log.warn('btrfs did not say what changed; the trees are compared', { tree, error: messageOf(error) });
        return await walk({ tree: frozen, ...below });
      }
    } finally {
      await this.removeView(view);
    }
  }

  private async removeView(view: string): Promise<void> {
    await this.env.host.subvolumes.remove(join(view, 'tree'));
    await this.env.host.files.removeTree(view);
  }
}
