import { randomBytes } from 'node:crypto';
import { chmodSync, chownSync, mkdirSync, readFileSync, readlinkSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { mkdir, readdir, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { conflict, invalid, notFound } from '@gantry/core/contracts/errors.js';
import type { SnapshotId } from '@gantry/core/contracts/ids.js';
import { snapshotId } from '@gantry/core/contracts/ids.js';
import type { DriverEnv } from '@gantry/core/contracts/manifest.js';
import type { Mount } from '@gantry/core/contracts/mount.js';
import type { AppliedLayer, Change, CreateSnapshot, LayerInput, StorageDriver } from '@gantry/core/contracts/storage.js';
import { Acquired } from '../acquired.js';
import { archiveStream } from '../archive-stream.js';
import { backingName, isErrno, snapshotNames } from '../backing.js';
import { type Layout, linkName } from './layout.js';

/** overlayfs takes 500 lower folders; Docker, and so every registry's images, keep to 128. */
const MAX_LOWERS = 128;

/** What is known of a snapshot without asking the disk again. */
interface Known {
  readonly link: string;
  /** Ids of the snapshots below, from the top. */
  readonly below: readonly SnapshotId[];
  readonly writable: boolean;
}

/**
 * A snapshot is a folder of differences and overlayfs puts them on top of each other. Folders are made with synchronous
 * calls: some ten short ones, which together take less time than one hop through the thread pool.
 */
export class Overlay2Driver implements StorageDriver {
  private readonly known = new Map<SnapshotId, Known>();
  private readonly acquired = new Acquired();

  constructor(
    private readonly env: DriverEnv,
    private readonly layout: Layout,
    /** Options of every mount beside the folders. */
    private readonly plainOptions: readonly string[],
  ) {}

  async create(id: SnapshotId, { parent, writable, quota }: CreateSnapshot): Promise<void> {
    if (quota !== undefined) throw invalid('storage driver overlay2 cannot limit the size of a container here: it has no quota');
    if (this.find(id)) throw conflict(`snapshot ${id} exists`);
    const below = parent === undefined ? [] : [parent, ...this.get(parent).below];
    if (below.length > MAX_LOWERS) throw invalid(`max depth exceeded: overlay2 stacks at most ${MAX_LOWERS} layers`);
    const link = linkName(id);
    // What is there without `link` was half made or half removed before a crash.
    if (statSync(this.layout.folder(id), { throwIfNoEntry: false })) await this.remove(id);
    try {
      mkdirSync(this.layout.folder(id), 0o710);
      const diff = this.layout.diff(id);
      mkdirSync(diff);
      this.rootLike(diff, parent);
      if (writable) mkdirSync(this.layout.work(id), 0o700);
      if (below.length > 0) writeFileSync(this.layout.lower(id), below.map((one) => `l/${this.get(one).link}`).join(':'));
      rmSync(this.layout.shortLink(link), { force: true });
      symlinkSync(join('..', id, 'diff'), this.layout.shortLink(link));
      writeFileSync(this.layout.link(id), link);
      this.known.set(id, { link, below, writable });
    } catch (error) {
      await this.remove(id);
      throw error;
    }
  }

  /** Asks the disk: what somebody took away by hand must not be remembered as there. */
  async exists(id: SnapshotId): Promise<boolean> {
    const isThere = (path: string): boolean => statSync(path, { throwIfNoEntry: false }) !== undefined;
    if (isThere(this.layout.link(id)) && isThere(this.layout.diff(id))) return this.find(id) !== undefined;
    this.known.delete(id);
    return false;
  }

  async list(): Promise<SnapshotId[]> {
    return snapshotNames(await readdir(this.layout.root));
  }

  async acquire(id: SnapshotId): Promise<Mount[]> {
    const mount = this.mountOf(id, this.get(id).writable);
    this.acquired.add(id);
    return [mount];
  }

  async release(id: SnapshotId): Promise<void> {
    this.acquired.drop(id);
  }

  async applyDiff(id: SnapshotId, _parent: SnapshotId | undefined, layer: LayerInput): Promise<AppliedLayer> {
    this.get(id);
    const target = this.layout.diff(id);
    try {
      return await this.env.host.files.unpack({ target, fd: layer.fd, whiteouts: 'overlay' });
    } catch (error) {
      await this.env.host.files.removeTree(target);
      await mkdir(target);
      this.rootLike(target, this.get(id).below[0]);
      throw error;
    }
  }

  async diff(id: SnapshotId, parent: SnapshotId | undefined): Promise<Readable> {
    const { files } = this.env.host;
    if (this.isOwnParent(id, parent))
      return archiveStream(this.env.host, (fd) => files.packUpper({ upper: this.layout.diff(id), lowers: this.lowersOf(id), fd }));
    return archiveStream(this.env.host, (fd) =>
      this.compared(id, parent, (tree, base) => files.packDiff({ tree, fd, ...(base === undefined ? {} : { parent: base }) })),
    );
  }

  async changes(id: SnapshotId, parent: SnapshotId | undefined): Promise<Change[]> {
    const { files } = this.env.host;
    if (this.isOwnParent(id, parent)) return files.changesUpper({ upper: this.layout.diff(id), lowers: this.lowersOf(id) });
    return this.compared(id, parent, (tree, base) => files.changesDiff({ tree, ...(base === undefined ? {} : { parent: base }) }));
  }

  async usage(id: SnapshotId): Promise<number> {
    this.get(id);
    return this.env.host.files.treeSize(this.layout.diff(id));
  }

  async remove(id: SnapshotId): Promise<void> {
    this.acquired.refuseRemoval(id);
    this.known.delete(id);
    // First the mark that it is whole, then the rest: cut off anywhere, it is a leftover that the next removal finds.
    rmSync(this.layout.link(id), { force: true });
    rmSync(this.layout.shortLink(linkName(id)), { force: true });
    await this.env.host.files.removeTree(this.layout.folder(id));
  }

  async status(): Promise<[string, string][]> {
    const { type } = await this.env.host.files.fileSystem(this.layout.root);
    return [
      ['Backing Filesystem', backingName(type)],
      ['Supports d_type', 'true'],
      ['Using metacopy', 'false'],
      ['Native Overlay Diff', 'true'],
      ['userxattr', 'false'],
    ];
  }

  async metadata(id: SnapshotId): Promise<Record<string, string>> {
    const { below } = this.get(id);
    return {
      ...(below.length > 0 ? { LowerDir: this.lowersOf(id).join(':') } : {}),
      MergedDir: this.layout.merged(id),
      UpperDir: this.layout.diff(id),
      WorkDir: this.layout.work(id),
    };
  }

  async close(): Promise<void> {}

  /** A new difference hides the root folder below it, so it must look like that one. */
  private rootLike(diff: string, parent: SnapshotId | undefined): void {
    const like = parent === undefined ? { uid: 0, gid: 0, mode: 0o755 } : statSync(this.layout.diff(parent));
    if (like.uid !== 0 || like.gid !== 0) chownSync(diff, like.uid, like.gid);
    chmodSync(diff, like.mode & 0o7777);
  }

  private isOwnParent(id: SnapshotId, parent: SnapshotId | undefined): boolean {
    return this.get(id).below[0] === parent;
  }

  private lowersOf(id: SnapshotId): string[] {
    return this.get(id).below.map(this.layout.diff);
  }

  private mountOf(id: SnapshotId, writable: boolean): Mount {
    const { below, link } = this.get(id);
    const lowers = below.map((one) => this.layout.shortLink(this.get(one).link));
    // overlayfs wants two folders at least; one alone is seen as it is.
    if (lowers.length === 0) return { type: 'bind', source: this.layout.diff(id), options: ['bind', writable ? 'rw' : 'ro'] };
    const folders = writable
      ? [`lowerdir=${lowers.join(':')}`, `upperdir=${this.layout.diff(id)}`, `workdir=${this.layout.work(id)}`]
      : ['ro', `lowerdir=${[this.layout.shortLink(link), ...lowers].join(':')}`];
    return { type: 'overlay', source: 'overlay', options: [...folders, ...this.plainOptions] };
  }

  /** Shows two whole trees to `work`, for a difference that is not between a snapshot and its own parent. */
  private async compared<T>(
    id: SnapshotId,
    parent: SnapshotId | undefined,
    work: (tree: string, base: string | undefined) => Promise<T>,
  ): Promise<T> {
    return this.shown(id, (tree) => (parent === undefined ? work(tree, undefined) : this.shown(parent, (base) => work(tree, base))));
  }

  private async shown<T>(id: SnapshotId, work: (path: string) => Promise<T>): Promise<T> {
    const { files } = this.env.host;
    const place = join(this.env.runRoot, `view-${randomBytes(6).toString('hex')}`);
    await mkdir(place, { mode: 0o700 });
    try {
      // Read-only, so that a container's upper folder is never in two writable mounts.
      await files.mount(this.mountOf(id, false), place);
      return await work(place);
    } finally {
      await files.unmount(place, true);
      await rmdir(place);
    }
  }

  private get(id: SnapshotId): Known {
    const found = this.find(id);
    if (!found) throw notFound('snapshot', id);
    return found;
  }

  private find(id: SnapshotId): Known | undefined {
    const remembered = this.known.get(id);
    if (remembered) return remembered;
    let link: string;
    try {
      link = readFileSync(this.layout.link(id), 'utf8');
    } catch (error) {
      if (isErrno(error, 'ENOENT')) return undefined;
      throw error;
    }
    const known = { link, below: this.readBelow(id), writable: statSync(this.layout.work(id), { throwIfNoEntry: false }) !== undefined };
    this.known.set(id, known);
    return known;
  }

  private readBelow(id: SnapshotId): SnapshotId[] {
    return (
      this.readLower(id)
        .split(':')
        .filter((one) => one !== '')
        // l/LINK leads to ../ID/diff.
        .map((one) => snapshotId(readlinkSync(join(this.layout.root, one)).split('/')[1] ?? ''))
    );
  }

  private readLower(id: SnapshotId): string {
    try {
      return readFileSync(this.layout.lower(id), 'utf8');
    } catch (error) {
      if (isErrno(error, 'ENOENT')) return '';
      throw error;
    }
  }
}
