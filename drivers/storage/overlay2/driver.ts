import { chmodSync, chownSync, existsSync, mkdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { conflict, invalid, unavailable } from '@gantry/core/contracts/errors.js';
import type { SnapshotId } from '@gantry/core/contracts/ids.js';
import type { DriverEnv } from '@gantry/core/contracts/manifest.js';
import type { Mount } from '@gantry/core/contracts/mount.js';
import type { AppliedLayer, Change, CreateSnapshot, LayerInput, StorageDriver } from '@gantry/core/contracts/storage.js';
import { Acquired } from '../acquired.js';
import { archiveStream } from '../archive-stream.js';
import { backingName, isErrno, snapshotNames } from '../backing.js';
import type { ProjectQuota } from '../../project-quota.js';
import { type Layout, linkName } from './layout.js';
import type { OverlayFacts } from './probe.js';
import { Snapshots } from './snapshots.js';
import { Views } from '../views.js';

/** overlayfs takes 500 lower folders; Docker, and so every registry's images, keep to 128. */
const MAX_LOWERS = 128;

/**
 * A snapshot is a folder of differences and overlayfs puts them on top of each other. Folders are made with synchronous
 * calls: some ten short ones, which together take less time than one hop through the thread pool.
 */
export class Overlay2Driver implements StorageDriver {
  private readonly snapshots: Snapshots;
  private readonly views: Views;
  private readonly acquired = new Acquired();
  private readonly boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();

  constructor(
    private readonly env: DriverEnv,
    private readonly layout: Layout,
    private readonly facts: OverlayFacts,
    private readonly quotas: ProjectQuota,
    /** Of each writable snapshot that asks for none, in bytes. */
    private readonly defaultQuota: number | undefined,
  ) {
    this.snapshots = new Snapshots(layout);
    this.views = new Views(env);
  }

  /** Before any other call: takes down what a daemon left mounted that died. */
  open(): Promise<void> {
    return this.views.removeLeft();
  }

  async create(id: SnapshotId, { parent, writable, quota, volatile = false }: CreateSnapshot): Promise<void> {
    if (this.snapshots.find(id)) throw conflict(`snapshot ${id} exists`);
    const below = parent === undefined ? [] : [parent, ...this.snapshots.get(parent).below];
    if (below.length > MAX_LOWERS) throw invalid(`max depth exceeded: overlay2 stacks at most ${MAX_LOWERS} layers`);
    const limit = quota ?? (writable ? this.defaultQuota : undefined);
    if (limit !== undefined) await this.quotas.require('a limit for the size of a container');
    const link = linkName(id);
    // What is there without `link` was half made or half removed before a crash.
    if (statSync(this.layout.folder(id), { throwIfNoEntry: false })) await this.remove(id);
    try {
      mkdirSync(this.layout.folder(id), 0o710);
      const diff = this.layout.diff(id);
      mkdirSync(diff);
      this.rootLike(diff, parent);
      if (writable) mkdirSync(this.layout.work(id), 0o700);
      if (limit !== undefined) await this.limit(id, writable, limit);
      if (below.length > 0) writeFileSync(this.layout.lower(id), below.map((one) => `l/${this.snapshots.get(one).link}`).join(':'));
      const boot = writable && volatile && this.facts.volatile ? this.boot : undefined;
      if (boot !== undefined) writeFileSync(this.layout.volatile(id), boot);
      this.makeShortLink(id, link);
      writeFileSync(this.layout.link(id), link);
      this.snapshots.remember(id, {
        link,
        below,
        writable,
        ...(boot === undefined ? {} : { boot }),
        ...(limit === undefined ? {} : { quota: limit }),
      });
    } catch (error) {
      await this.remove(id);
      throw error;
    }
  }

  async exists(id: SnapshotId): Promise<boolean> {
    const known = this.snapshots.find(id);
    // Asked for each layer of an image at each start of a container: one look tells that the folder is there, and overlayfs' way to it.
    if (known && existsSync(this.layout.shortLink(known.link))) return true;
    if (known && existsSync(this.layout.diff(id))) {
      this.env.log.warn('the short name of a snapshot is gone and is made again', { snapshot: id });
      this.makeShortLink(id, known.link);
      return true;
    }
    this.snapshots.forget(id);
    return false;
  }

  async list(): Promise<SnapshotId[]> {
    return snapshotNames(await readdir(this.layout.root));
  }

  async acquire(id: SnapshotId): Promise<Mount[]> {
    const { writable, boot, quota } = this.snapshots.get(id);
    const mount = this.mountOf(id, writable);
    if (boot !== undefined) this.renewVolatile(id, boot);
    if (quota !== undefined) await this.quotas.makeRoom(this.layout.diff(id), quota);
    this.acquired.add(id);
    return [mount];
  }

  async release(id: SnapshotId): Promise<void> {
    this.acquired.drop(id);
  }

  async applyDiff(id: SnapshotId, _parent: SnapshotId | undefined, layer: LayerInput): Promise<AppliedLayer> {
    this.snapshots.get(id);
    const target = this.layout.diff(id);
    try {
      return await this.env.host.files.unpack({ target, fd: layer.fd, whiteouts: this.facts.userXattr ? 'overlay-user' : 'overlay' });
    } catch (error) {
      await this.env.host.files.removeTree(target);
      await mkdir(target);
      this.rootLike(target, this.snapshots.get(id).below[0]);
      throw error;
    }
  }

  async diff(id: SnapshotId, parent: SnapshotId | undefined): Promise<Readable> {
    const { files } = this.env.host;
    if (this.isNative(id, parent)) return archiveStream(this.env.host, (fd) => files.packUpper({ ...this.upperOf(id), fd }));
    return archiveStream(this.env.host, (fd) =>
      this.compared(id, parent, (tree, base) => files.packDiff({ tree, fd, holes: true, ...(base === undefined ? {} : { parent: base }) })),
    );
  }

  async changes(id: SnapshotId, parent: SnapshotId | undefined): Promise<Change[]> {
    const { files } = this.env.host;
    if (this.isNative(id, parent)) return files.changesUpper(this.upperOf(id));
    return this.compared(id, parent, (tree, base) => files.changesDiff({ tree, ...(base === undefined ? {} : { parent: base }) }));
  }

  async usage(id: SnapshotId): Promise<number> {
    this.snapshots.get(id);
    return this.env.host.files.treeSize(this.layout.diff(id));
  }

  async remove(id: SnapshotId): Promise<void> {
    this.acquired.refuseRemoval(id);
    this.snapshots.forget(id);
    // First the mark that it is whole, then the rest: cut off anywhere, it is a leftover that the next removal finds.
    rmSync(this.layout.link(id), { force: true });
    if (statSync(this.layout.quota(id), { throwIfNoEntry: false })) await this.quotas.release(this.layout.diff(id));
    rmSync(this.layout.shortLink(linkName(id)), { force: true });
    await this.env.host.files.removeTree(this.layout.folder(id));
  }

  async status(): Promise<[string, string][]> {
    const { type } = await this.env.host.files.fileSystem(this.layout.root);
    return [
      ['Backing Filesystem', backingName(type)],
      ['Supports d_type', 'true'],
      ['Using metacopy', String(this.facts.metacopy)],
      ['Native Overlay Diff', String(this.native)],
      ['userxattr', String(this.facts.userXattr)],
    ];
  }

  async metadata(id: SnapshotId): Promise<Record<string, string>> {
    const { below } = this.snapshots.get(id);
    return {
      ...(below.length > 0 ? { LowerDir: this.lowersOf(id).join(':') } : {}),
      MergedDir: this.layout.merged(id),
      UpperDir: this.layout.diff(id),
      WorkDir: this.layout.work(id),
    };
  }

  async close(): Promise<void> {
    await this.views.removeLeft();
  }

  private makeShortLink(id: SnapshotId, link: string): void {
    const [path, target] = [this.layout.shortLink(link), join('..', id, 'diff')];
    try {
      symlinkSync(target, path);
    } catch (error) {
      if (!isErrno(error, 'EEXIST')) throw error;
      rmSync(path);
      symlinkSync(target, path);
    }
  }

  /** A new difference hides the root folder below it, so it must look like that one. */
  private rootLike(diff: string, parent: SnapshotId | undefined): void {
    const like = parent === undefined ? { uid: 0, gid: 0, mode: 0o755 } : statSync(this.layout.diff(parent));
    if (like.uid !== 0 || like.gid !== 0) chownSync(diff, like.uid, like.gid);
    chmodSync(diff, like.mode & 0o7777);
  }

  /** Whether the upper folder alone is the difference. */
  private get native(): boolean {
    return !this.facts.redirects && !this.facts.metacopy;
  }

  private isNative(id: SnapshotId, parent: SnapshotId | undefined): boolean {
    return this.snapshots.get(id).below[0] === parent && this.native;
  }

  private upperOf(id: SnapshotId): { upper: string; lowers: string[]; userXattr: boolean } {
    return { upper: this.layout.diff(id), lowers: this.lowersOf(id), userXattr: this.facts.userXattr };
  }

  /** `work` is of the same project: overlayfs moves what it made there into the upper folder, and between projects nothing is moved. */
  private async limit(id: SnapshotId, writable: boolean, bytes: number): Promise<void> {
    writeFileSync(this.layout.quota(id), `${bytes}`);
    const project = await this.quotas.assign([this.layout.diff(id), ...(writable ? [this.layout.work(id)] : [])]);
    await this.quotas.limit(project, bytes);
  }

  /** Lets a volatile snapshot be mounted once more, which overlayfs refuses until somebody says that nothing was lost. */
  private renewVolatile(id: SnapshotId, boot: string): void {
    if (boot !== this.boot)
      throw unavailable(`snapshot ${id} was made to be thrown away, and what is left of it since the machine stopped is not whole`);
    rmSync(this.layout.volatileMark(id), { recursive: true, force: true });
  }

  private lowersOf(id: SnapshotId): string[] {
    return this.snapshots.get(id).below.map(this.layout.diff);
  }

  private mountOf(id: SnapshotId, writable: boolean): Mount {
    const { below, link, boot } = this.snapshots.get(id);
    const lowers = below.map((one) => this.layout.shortLink(this.snapshots.get(one).link));
    // overlayfs wants two folders at least; one alone is seen as it is.
    if (lowers.length === 0) return { type: 'bind', source: this.layout.diff(id), options: ['bind', writable ? 'rw' : 'ro'] };
    const folders = writable
      ? [
          `lowerdir=${lowers.join(':')}`,
          `upperdir=${this.layout.diff(id)}`,
          `workdir=${this.layout.work(id)}`,
          ...(boot === undefined ? [] : ['volatile']),
        ]
      : ['ro', `lowerdir=${[this.layout.shortLink(link), ...lowers].join(':')}`];
    return { type: 'overlay', source: 'overlay', options: [...folders, ...this.facts.options] };
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
    // Read-only, so that a container's upper folder is never in two writable mounts.
    return this.views.shown(this.mountOf(id, false), work);
  }
}
