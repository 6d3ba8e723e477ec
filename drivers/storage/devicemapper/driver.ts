import { chmod, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { conflict, invalid, messageOf, notFound } from '@gantry/core/contracts/errors.js';
import type { HostDevices } from '@gantry/core/contracts/host-devices.js';
import type { SnapshotId } from '@gantry/core/contracts/ids.js';
import type { DriverEnv } from '@gantry/core/contracts/manifest.js';
import type { Mount } from '@gantry/core/contracts/mount.js';
import type { AppliedLayer, Change, CreateSnapshot, LayerInput, StorageDriver } from '@gantry/core/contracts/storage.js';
import { Acquired } from '../acquired.js';
import { archiveStream } from '../archive-stream.js';
import { backingName, isErrno, snapshotNames } from '../backing.js';
import { Views } from '../views.js';
import { makeFileSystem, mountOptionsOf } from './base.js';
import type { ThinDevices } from './devices.js';
import type { ThinPool } from './pool.js';
import { BASE, type ThinRecord, type ThinRecords } from './records.js';
import type { PoolSettings } from './settings.js';

const SECTOR = 512;

/**
 * A snapshot is a thin device with a file system on it, made as a snapshot of its parent's device. The pool is asked for one change at a
 * time, and each is on disk before its record says that it is there.
 */
export class DeviceMapperDriver implements StorageDriver {
  private readonly acquired = new Acquired();
  /** Removals that wait for somebody to let go of a device. */
  private readonly waiting = new Map<string, ThinRecord>();
  private tail: Promise<unknown> = Promise.resolve();
  private readonly views: Views;

  constructor(
    private readonly env: DriverEnv,
    private readonly dm: HostDevices,
    private readonly settings: PoolSettings,
    private readonly pool: ThinPool,
    private readonly devices: ThinDevices,
    private readonly records: ThinRecords,
  ) {
    this.views = new Views(env);
  }

  /** Undoes what a crash cut off, and makes the base where there is none. Before any other call. */
  async open(): Promise<void> {
    const unfinished = await this.records.open();
    await this.pool.open();
    await this.views.removeLeft();
    await this.devices.open(['pool', 'data', 'meta']);
    for (const { name, state, record } of unfinished) {
      if (state === 'removing') this.waiting.set(name, record);
      else {
        await this.devices.end(name);
        await this.pool.deleteThin(record.device);
        await this.pool.commit();
        await this.records.forget(name, state, record);
      }
    }
    await this.retryRemovals();
    const { transaction } = await this.pool.state();
    for (const name of this.records.names()) {
      const record = this.records.get(name);
      if (!record || record.transaction <= transaction) continue;
      this.env.log.warn('the thin pool lost a device in a power cut', { name, device: record.device });
      await this.pool.deleteThin(record.device);
      await this.records.forget(name, 'ready', record);
    }
    await this.exclusively(() => this.ensureBase());
  }

  async create(id: SnapshotId, { parent, writable, quota }: CreateSnapshot): Promise<void> {
    await this.exclusively(async () => {
      if (this.records.get(id)) throw conflict(`snapshot ${id} exists`);
      const origin = this.records.get(parent ?? BASE);
      if (!origin) throw notFound('snapshot', parent ?? BASE);
      const sectors = quota === undefined ? origin.sectors : Math.floor(quota / SECTOR);
      if (sectors < origin.sectors)
        throw invalid(
          `a container of storage driver devicemapper has ${origin.sectors * SECTOR} bytes at least (dm.basesize), not ${quota}`,
        );
      await this.retryRemovals();
      if (this.waiting.has(id)) throw conflict(`snapshot ${id} is still in use and is removed when that ends`);
      await this.pool.refuseWhenFull();
      const like = { ...origin, parent: parent ?? '', writable, sectors };
      await this.add(id, like, async (number) => {
        // An image layer is only ever mounted read-only, and a file system that is held at rest cannot be mounted meanwhile.
        if (origin.writable) await this.devices.atRest(parent ?? BASE, () => this.pool.createSnapshot(number, origin.device));
        else await this.pool.createSnapshot(number, origin.device);
        if (sectors > origin.sectors) await this.grow(id, { ...like, device: number });
      });
    });
  }

  async exists(id: SnapshotId): Promise<boolean> {
    return this.records.get(id) !== undefined;
  }

  async list(): Promise<SnapshotId[]> {
    return snapshotNames([...new Set([...this.records.names(), ...this.waiting.keys()])]);
  }

  async acquire(id: SnapshotId): Promise<Mount[]> {
    const record = this.get(id);
    const source = await this.use(id, record);
    this.acquired.add(id);
    return [this.mountOf(record, source, record.writable)];
  }

  async release(id: SnapshotId): Promise<void> {
    if (!this.acquired.has(id)) return;
    this.acquired.drop(id);
    await this.devices.drop(id);
  }

  async applyDiff(id: SnapshotId, parent: SnapshotId | undefined, layer: LayerInput): Promise<AppliedLayer> {
    const { writable } = this.get(id);
    try {
      const applied = await this.shown(id, true, (target) => this.env.host.files.unpack({ target, fd: layer.fd, whiteouts: 'delete' }));
      // Unmounted it is with the pool, which has it on disk after this.
      await this.exclusively(() => this.pool.commit());
      return applied;
    } catch (error) {
      await this.remove(id);
      await this.create(id, { writable, ...(parent === undefined ? {} : { parent }) });
      throw error;
    }
  }

  async diff(id: SnapshotId, parent: SnapshotId | undefined): Promise<Readable> {
    this.known(id, parent);
    return archiveStream(this.env.host, (fd) =>
      this.compared(id, parent, (trees) => this.env.host.files.packDiff({ ...trees, fd, holes: true })),
    );
  }

  async changes(id: SnapshotId, parent: SnapshotId | undefined): Promise<Change[]> {
    this.known(id, parent);
    return this.compared(id, parent, (trees) => this.env.host.files.changesDiff(trees));
  }

  async usage(id: SnapshotId): Promise<number> {
    const { parent } = this.get(id);
    const below = parent === '' ? undefined : (parent as SnapshotId);
    return this.compared(id, below, (trees) => this.env.host.files.sizeDiff(trees));
  }

  async remove(id: SnapshotId): Promise<void> {
    this.acquired.refuseRemoval(id);
    await this.exclusively(async () => {
      const record = this.records.get(id);
      if (record) {
        await this.devices.end(id).catch((error: unknown) => {
          throw isErrno(error, 'EBUSY') ? conflict(`snapshot ${id} is in use: its device is open`, error) : error;
        });
        await this.records.removing(id);
        this.waiting.set(id, record);
      }
      await this.retryRemovals();
      if (this.waiting.has(id) && !this.settings.deferredDeletion) throw conflict(`snapshot ${id} is in use: its device is open`);
    });
  }

  async status(): Promise<[string, string][]> {
    const { data, metadata, mode, transaction } = await this.pool.state();
    const { source, fileSystem, blockSectors, minFreePercent, deferredRemoval, deferredDeletion } = this.settings;
    const bytes = (blocks: number): string => `${blocks * blockSectors * SECTOR}`;
    // The kernel counts metadata in blocks of 4096 bytes.
    const metadataBytes = (blocks: number): string => `${blocks * 4096}`;
    return [
      ['Pool Source', source.kind === 'loop' ? 'loop files (for trial)' : source.device],
      ['Pool Blocksize', `${blockSectors * SECTOR}`],
      ['Pool State', mode],
      ['Pool Transaction', `${transaction}`],
      ['Base Device Size', `${(this.records.get(BASE)?.sectors ?? 0) * SECTOR}`],
      ['Backing Filesystem', backingName(fileSystem)],
      ['Data Space Used', bytes(data.used)],
      ['Data Space Total', bytes(data.total)],
      ['Data Space Available', bytes(data.total - data.used)],
      ['Metadata Space Used', metadataBytes(metadata.used)],
      ['Metadata Space Total', metadataBytes(metadata.total)],
      ['Metadata Space Available', metadataBytes(metadata.total - metadata.used)],
      ['Thin Pool Minimum Free Space', `${minFreePercent}%`],
      ['Deferred Removal Enabled', `${deferredRemoval}`],
      ['Deferred Deletion Enabled', `${deferredDeletion}`],
      ['Deferred Deleted Device Count', `${this.waiting.size}`],
    ];
  }

  async metadata(id: SnapshotId): Promise<Record<string, string>> {
    const { device, sectors } = this.get(id);
    return { DeviceId: `${device}`, DeviceName: this.devices.nameOf(id), DeviceSize: `${sectors * SECTOR}` };
  }

  async close(): Promise<void> {
    await this.tail;
    await this.pool.close();
  }

  private async ensureBase(): Promise<void> {
    const { fileSystem, baseBytes, mkfsArgs } = this.settings;
    const base = this.records.get(BASE);
    const sectors = Math.floor(baseBytes / SECTOR);
    if (base) {
      if (base.fileSystem !== fileSystem)
        throw invalid(`dm.fs=${fileSystem}: this pool's snapshots are ${base.fileSystem} since it was made`);
      if (base.sectors !== sectors)
        throw invalid(`dm.basesize: this pool's snapshots have ${base.sectors * SECTOR} bytes since it was made, not ${sectors * SECTOR}`);
      return;
    }
    await this.pool.refuseWhenFull();
    await this.add(BASE, { parent: '', writable: true, sectors, fileSystem, transaction: 0 }, async (number) => {
      await this.pool.createThin(number);
      const record = { device: number, parent: '', writable: true, sectors, fileSystem, transaction: 0 };
      const node = await this.use(BASE, record);
      try {
        await makeFileSystem(this.env.host.process, fileSystem, node, mkfsArgs);
        await this.views.shown(this.mountOf(record, node, true), async (tree) => {
          // A snapshot's tree is empty at first.
          if (fileSystem === 'ext4') await rmdir(join(tree, 'lost+found'));
          await chmod(tree, 0o755);
        });
      } finally {
        await this.devices.drop(BASE);
      }
    });
  }

  /** A device by `make`, recorded before and after. */
  private async add(name: string, like: Omit<ThinRecord, 'device'>, make: (number: number) => Promise<void>): Promise<void> {
    const { transaction } = await this.pool.state();
    const { parent, writable, sectors, fileSystem } = like;
    const record = await this.records.begin(name, { parent, writable, sectors, fileSystem, transaction: transaction + 1 });
    try {
      await make(record.device);
      await this.pool.commit();
      await this.records.ready(name, record);
    } catch (error) {
      const isStrange = isErrno(error, 'EEXIST');
      if (!isStrange) await this.pool.deleteThin(record.device);
      await this.records.forget(name, 'making', record);
      if (isStrange)
        throw conflict(`the thin pool has a device ${record.device} that is not on record; a pool belongs to one daemon alone`, error);
      throw error;
    }
  }

  /** Lets the file system on a device have all of it. Nobody knows the snapshot yet. */
  private async grow(name: string, record: ThinRecord): Promise<void> {
    const node = await this.use(name, record);
    try {
      await this.views.shown(this.mountOf(record, node, true), (tree) => this.dm.growFileSystem(tree, record.sectors * SECTOR));
    } finally {
      await this.devices.drop(name);
    }
  }

  /** What nobody holds any more goes. */
  private async retryRemovals(): Promise<void> {
    for (const [name, record] of this.waiting) {
      try {
        await this.devices.end(name);
        await this.pool.deleteThin(record.device);
        await this.pool.commit();
      } catch (error) {
        if (!isErrno(error, 'EBUSY')) throw error;
        this.env.log.debug('a thin device is still open and is deleted later', { name, error: messageOf(error) });
        continue;
      }
      await this.records.forget(name, 'removing', record);
      this.waiting.delete(name);
    }
  }

  private use(name: string, { device, sectors }: ThinRecord): Promise<string> {
    return this.devices.use(name, this.pool.device, device, sectors);
  }

  private mountOf({ fileSystem }: ThinRecord, source: string, writable: boolean): Mount {
    return { type: fileSystem, source, options: [writable ? 'rw' : 'ro', ...mountOptionsOf(fileSystem), ...this.settings.mountOptions] };
  }

  private compared<T>(
    id: SnapshotId,
    parent: SnapshotId | undefined,
    work: (trees: { tree: string; parent?: string }) => Promise<T>,
  ): Promise<T> {
    const { writable } = this.get(id);
    return this.shown(id, writable, (tree) =>
      parent === undefined ? work({ tree }) : this.shown(parent, this.get(parent).writable, (base) => work({ tree, parent: base })),
    );
  }

  /** One file system is never mounted read-only and writable at once, which the kernel refuses. */
  private async shown<T>(id: SnapshotId, writable: boolean, work: (tree: string) => Promise<T>): Promise<T> {
    const record = this.get(id);
    const node = await this.use(id, record);
    try {
      return await this.views.shown(this.mountOf(record, node, writable), work);
    } finally {
      await this.devices.drop(id);
    }
  }

  private known(...ids: readonly (SnapshotId | undefined)[]): void {
    for (const id of ids) if (id !== undefined) this.get(id);
  }

  private get(id: SnapshotId): ThinRecord {
    const record = this.records.get(id);
    if (!record) throw notFound('snapshot', id);
    return record;
  }

  private exclusively<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.tail.then(work);
    this.tail = mine.catch(() => undefined);
    return mine;
  }
}
