import { existsSync, mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { conflict, messageOf, notFound, unavailable } from '@gantry/core/contracts/errors.js';
import type { SnapshotId } from '@gantry/core/contracts/ids.js';
import type { DriverEnv } from '@gantry/core/contracts/manifest.js';
import type { Mount } from '@gantry/core/contracts/mount.js';
import type { AppliedLayer, Change, CreateSnapshot, LayerInput, StorageDriver } from '@gantry/core/contracts/storage.js';
import { Acquired } from './acquired.js';
import { isErrno, snapshotNames } from './backing.js';

/** Two trees to be compared; without a parent the whole tree differs. */
export interface TreePair {
  readonly tree: string;
  readonly parent?: string;
}

/** How whole trees are made, removed and compared on one kind of file system. */
export interface TreeKeeper {
  /**
   * Makes the folder `tree` as `from` is, or empty (0755 root:root), and lets `quota` bytes more be written into it. It may be called for
   * a path that was removed just before. Refuses a quota that it cannot keep with `invalid-parameter`.
   */
  make(tree: string, from: string | undefined, quota: number | undefined): Promise<void>;
  /** Absent is fine. */
  remove(tree: string): Promise<void>;
  diff(pair: TreePair): Promise<Readable>;
  changes(pair: TreePair): Promise<Change[]>;
  size(pair: TreePair): Promise<number>;
  status(): Promise<[string, string][]>;
}

interface Info {
  readonly parent?: SnapshotId;
  readonly writable: boolean;
  readonly quota?: number;
}

/**
 * Snapshots that are whole trees: `ID/tree`, with what it was made from in `ID/info.json`. A tree is made in `new-ID` and renamed when it
 * is complete, and renamed away before it is removed, so the name ID never stands for half a tree. What is only about these names is done
 * by synchronous calls, each shorter than a hop through the thread pool.
 */
export class TreeDriver implements StorageDriver {
  private readonly acquired = new Acquired();

  constructor(
    private readonly env: DriverEnv,
    private readonly trees: TreeKeeper,
    /** Of each writable snapshot that asks for none, in bytes. */
    private readonly defaultQuota?: number,
  ) {}

  async create(id: SnapshotId, { parent, writable, quota = writable ? this.defaultQuota : undefined }: CreateSnapshot): Promise<void> {
    if (await this.exists(id)) throw conflict(`snapshot ${id} exists`);
    if (parent !== undefined) this.whole(parent);
    await this.make(id, { writable, ...(parent === undefined ? {} : { parent }), ...(quota === undefined ? {} : { quota }) });
  }

  async exists(id: SnapshotId): Promise<boolean> {
    return isFolder(this.folder(id));
  }

  async list(): Promise<SnapshotId[]> {
    const names = await readdir(this.env.root);
    return [...new Set(snapshotNames(names.map((name) => name.replace(/^(new|old)-/, ''))))];
  }

  async acquire(id: SnapshotId): Promise<Mount[]> {
    const { writable } = this.whole(id);
    this.acquired.add(id);
    return [{ type: 'bind', source: this.tree(id), options: ['bind', writable ? 'rw' : 'ro'] }];
  }

  async release(id: SnapshotId): Promise<void> {
    this.acquired.drop(id);
  }

  async applyDiff(id: SnapshotId, parent: SnapshotId | undefined, layer: LayerInput): Promise<AppliedLayer> {
    const info = { ...this.info(id), ...(parent === undefined ? {} : { parent }) };
    if (!isFolder(this.tree(id))) await this.remake(id, info);
    try {
      return await this.env.host.files.unpack({ target: this.tree(id), fd: layer.fd, whiteouts: 'delete' });
    } catch (error) {
      await this.trees.remove(this.tree(id));
      await this.remake(id, info).catch((failure: unknown) =>
        this.env.log.warn('a snapshot is without its tree until it is filled again', { snapshot: id, error: messageOf(failure) }),
      );
      throw error;
    }
  }

  async diff(id: SnapshotId, parent: SnapshotId | undefined): Promise<Readable> {
    return this.trees.diff(this.pair(id, parent));
  }

  async changes(id: SnapshotId, parent: SnapshotId | undefined): Promise<Change[]> {
    return this.trees.changes(this.pair(id, parent));
  }

  async usage(id: SnapshotId): Promise<number> {
    const { parent } = this.whole(id);
    return this.trees.size(this.pair(id, parent));
  }

  async remove(id: SnapshotId): Promise<void> {
    this.acquired.refuseRemoval(id);
    await this.discard(`old-${id}`);
    try {
      renameSync(this.folder(id), join(this.env.root, `old-${id}`));
    } catch (error) {
      if (!isErrno(error, 'ENOENT')) throw error;
    }
    await this.discard(`old-${id}`);
    await this.discard(`new-${id}`);
  }

  status(): Promise<[string, string][]> {
    return this.trees.status();
  }

  async metadata(): Promise<Record<string, string>> {
    return {};
  }

  async close(): Promise<void> {}

  private readonly folder = (id: SnapshotId): string => join(this.env.root, id);
  private readonly tree = (id: SnapshotId): string => join(this.env.root, id, 'tree');

  private async make(id: SnapshotId, info: Info): Promise<void> {
    const fresh = `new-${id}`;
    await this.discard(fresh);
    const folder = join(this.env.root, fresh);
    try {
      mkdirSync(folder, { mode: 0o710 });
      await this.trees.make(join(folder, 'tree'), info.parent === undefined ? undefined : this.tree(info.parent), info.quota);
      writeFileSync(join(folder, 'info.json'), JSON.stringify(info));
      renameSync(folder, this.folder(id));
    } catch (error) {
      await this.discard(fresh);
      throw error;
    }
  }

  /** Makes the tree of a snapshot again, which stays without one where that fails: on a full disk, say. */
  private async remake(id: SnapshotId, info: Info): Promise<void> {
    const fresh = join(this.folder(id), 'new-tree');
    await this.trees.remove(fresh);
    await this.trees.make(fresh, info.parent === undefined ? undefined : this.tree(info.parent), info.quota);
    renameSync(fresh, this.tree(id));
  }

  private async discard(name: string): Promise<void> {
    if (!existsSync(join(this.env.root, name))) return;
    for (const tree of ['tree', 'new-tree']) {
      const path = join(this.env.root, name, tree);
      if (existsSync(path)) await this.trees.remove(path);
    }
    await this.env.host.files.removeTree(join(this.env.root, name));
  }

  private info(id: SnapshotId): Info {
    try {
      return JSON.parse(readFileSync(join(this.folder(id), 'info.json'), 'utf8')) as Info;
    } catch (error) {
      if (isErrno(error, 'ENOENT')) throw notFound('snapshot', id, error);
      throw error;
    }
  }

  /** What is known of a snapshot that has its tree. */
  private whole(id: SnapshotId): Info {
    const info = this.info(id);
    if (!isFolder(this.tree(id))) throw unavailable(`snapshot ${id} has lost its tree`);
    return info;
  }

  private pair(id: SnapshotId, parent: SnapshotId | undefined): TreePair {
    this.whole(id);
    if (parent === undefined) return { tree: this.tree(id) };
    this.whole(parent);
    return { tree: this.tree(id), parent: this.tree(parent) };
  }
}

const isFolder = (path: string): boolean => statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
