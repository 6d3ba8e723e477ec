import { chmod, mkdir, readdir, readFile, rename, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { conflict, invalid, notFound } from '@gantry/core/contracts/errors.js';
import type { SnapshotId } from '@gantry/core/contracts/ids.js';
import type { DriverEnv } from '@gantry/core/contracts/manifest.js';
import type { Mount } from '@gantry/core/contracts/mount.js';
import type { AppliedLayer, Change, CreateSnapshot, LayerInput, StorageDriver } from '@gantry/core/contracts/storage.js';
import { Acquired } from '../acquired.js';
import { archiveStream } from '../archive-stream.js';
import { backingName, isErrno, snapshotNames } from '../backing.js';

interface Info {
  readonly parent?: SnapshotId;
  readonly writable: boolean;
}

/**
 * A snapshot is a whole tree: `ID/tree`, with what it was made from in `ID/info.json`. It is copied to `new-ID` and renamed
 * when it is complete, and renamed away before it is removed, so the name ID never stands for half a tree.
 */
export class VfsDriver implements StorageDriver {
  private readonly acquired = new Acquired();

  constructor(private readonly env: DriverEnv) {}

  async create(id: SnapshotId, { parent, writable, quota }: CreateSnapshot): Promise<void> {
    if (quota !== undefined) throw invalid('storage driver vfs cannot limit the size of a container here: it has no quota');
    if (await this.exists(id)) throw conflict(`snapshot ${id} exists`);
    if (parent !== undefined) await this.info(parent);
    await this.make(id, { writable, ...(parent === undefined ? {} : { parent }) });
  }

  async exists(id: SnapshotId): Promise<boolean> {
    try {
      return (await stat(this.folder(id))).isDirectory();
    } catch (error) {
      if (isErrno(error, 'ENOENT')) return false;
      throw error;
    }
  }

  async list(): Promise<SnapshotId[]> {
    const names = await readdir(this.env.root);
    return [...new Set(snapshotNames(names.map((name) => name.replace(/^(new|old)-/, ''))))];
  }

  async acquire(id: SnapshotId): Promise<Mount[]> {
    const { writable } = await this.info(id);
    this.acquired.add(id);
    return [{ type: 'bind', source: this.tree(id), options: ['bind', writable ? 'rw' : 'ro'] }];
  }

  async release(id: SnapshotId): Promise<void> {
    this.acquired.drop(id);
  }

  async applyDiff(id: SnapshotId, parent: SnapshotId | undefined, layer: LayerInput): Promise<AppliedLayer> {
    const info = await this.info(id);
    try {
      return await this.env.host.files.unpack({ target: this.tree(id), fd: layer.fd, whiteouts: 'delete' });
    } catch (error) {
      await this.remove(id);
      await this.make(id, { ...info, ...(parent === undefined ? {} : { parent }) });
      throw error;
    }
  }

  async diff(id: SnapshotId, parent: SnapshotId | undefined): Promise<Readable> {
    const trees = await this.trees(id, parent);
    return archiveStream(this.env.host, (fd) => this.env.host.files.packDiff({ ...trees, fd }));
  }

  async changes(id: SnapshotId, parent: SnapshotId | undefined): Promise<Change[]> {
    return this.env.host.files.changesDiff(await this.trees(id, parent));
  }

  async usage(id: SnapshotId): Promise<number> {
    const { parent } = await this.info(id);
    return this.env.host.files.sizeDiff(await this.trees(id, parent));
  }

  async remove(id: SnapshotId): Promise<void> {
    this.acquired.refuseRemoval(id);
    const { files } = this.env.host;
    await files.removeTree(join(this.env.root, `old-${id}`));
    try {
      await rename(this.folder(id), join(this.env.root, `old-${id}`));
    } catch (error) {
      if (!isErrno(error, 'ENOENT')) throw error;
    }
    await files.removeTree(join(this.env.root, `old-${id}`));
    await files.removeTree(join(this.env.root, `new-${id}`));
  }

  async status(): Promise<[string, string][]> {
    const { type } = await this.env.host.files.fileSystem(this.env.root);
    return [['Backing Filesystem', backingName(type)]];
  }

  async metadata(): Promise<Record<string, string>> {
    return {};
  }

  async close(): Promise<void> {}

  private readonly folder = (id: SnapshotId): string => join(this.env.root, id);
  private readonly tree = (id: SnapshotId): string => join(this.env.root, id, 'tree');

  private async make(id: SnapshotId, info: Info): Promise<void> {
    const { files } = this.env.host;
    const fresh = join(this.env.root, `new-${id}`);
    await files.removeTree(fresh);
    try {
      await mkdir(fresh, { mode: 0o710 });
      await mkdir(join(fresh, 'tree'));
      // Whatever the daemon's umask is.
      await chmod(join(fresh, 'tree'), 0o755);
      if (info.parent !== undefined) await files.copyTree(this.tree(info.parent), join(fresh, 'tree'));
      await writeFile(join(fresh, 'info.json'), JSON.stringify(info));
      await rename(fresh, this.folder(id));
    } catch (error) {
      await files.removeTree(fresh);
      throw error;
    }
  }

  private async info(id: SnapshotId): Promise<Info> {
    try {
      return JSON.parse(await readFile(join(this.folder(id), 'info.json'), 'utf8')) as Info;
    } catch (error) {
      if (isErrno(error, 'ENOENT')) throw notFound('snapshot', id, error);
      throw error;
    }
  }

  private async trees(id: SnapshotId, parent: SnapshotId | undefined): Promise<{ tree: string; parent?: string }> {
    await this.info(id);
    if (parent === undefined) return { tree: this.tree(id) };
    await this.info(parent);
    return { tree: this.tree(id), parent: this.tree(parent) };
  }
}
