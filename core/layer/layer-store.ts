import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { inject, injectable } from 'tsyringe';
import type { Content } from '../content/content.js';
import { conflict, invalid, messageOf, notFound } from '../contracts/errors.js';
import type { Host } from '../contracts/host.js';
import { snapshotId, type ChainId, type Digest, type SnapshotId } from '../contracts/ids.js';
import type { Logger } from '../contracts/manifest.js';
import type { Mount } from '../contracts/mount.js';
import type { Change } from '../contracts/storage.js';
import type { DriverRegistry, OpenDriver } from '../extension/driver-registry.js';
import { selectStorageDriver, type Selection } from '../extension/selection.js';
import type { Database } from '../state/database.js';
import { Examination } from '../state/examination.js';
import type { Journal } from '../state/journal.js';
import { KeyedLock } from '../state/keyed-lock.js';
import type { Settings } from '../system/settings.js';
import { Tokens } from '../tokens.js';
import { initSnapshotOf, InitLayers } from './init-layers.js';
import { LayerExaminer } from './layer-examiner.js';
import { LayerMender } from './layer-mender.js';
import { LayerMover } from './layer-mover.js';
import { LayerVerifier } from './layer-verifier.js';
import { LayerRecords, type WritableRecord } from './layer-records.js';
import { LayerViews } from './layer-view.js';
import type { LayerPlace, Layers, LayerSource, MovedLayer, OrphanSnapshot, WritablePlace } from './layers.js';
import { SnapshotCollector } from './snapshot-collector.js';
import { type StackedLayer, stackOf } from './stack.js';
import { type OnLayer, Unpacker } from './unpack.js';

interface Parts {
  readonly unpacker: Unpacker;
  readonly collector: SnapshotCollector;
  readonly inits: InitLayers;
  readonly mender: LayerMender;
  readonly mover: LayerMover;
  readonly examiner: LayerExaminer;
}

/**
 * Layers as snapshots of storage drivers. A snapshot counts when it has a record; its id follows from driver and chain, so
 * what a crash left without a record is found and removed. The record of a container's layer is written before the layer is
 * made and removed after it is gone: it is its own intent.
 */
@injectable()
export class LayerStore implements Layers {
  private readonly records: LayerRecords;
  private readonly locks = new KeyedLock();
  /** Containers whose layer is acquired. */
  private readonly inUse = new Set<string>();
  private selected: Selection | undefined;
  private parts: Parts | undefined;
  private syncing: Promise<void> = Promise.resolve();

  constructor(
    @inject(Tokens.Settings) private readonly settings: Settings,
    @inject(Tokens.Log) private readonly log: Logger,
    @inject(Tokens.Host) private readonly host: Host,
    @inject(Tokens.Database) db: Database,
    @inject(Tokens.Drivers) private readonly drivers: DriverRegistry,
    @inject(Tokens.Content) private readonly content: Content,
    @inject(Tokens.Journal) private readonly journal: Journal,
  ) {
    this.records = new LayerRecords(db);
  }

  /** Makes the tables and chooses the default driver. Before any other use. */
  async open(): Promise<void> {
    this.records.open();
    const boot = (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim();
    this.parts = this.makeParts(boot);
    const used = new Set([...this.records.snapshots(), ...this.records.writables()].map((record) => record.driver));
    this.selected = await selectStorageDriver(this.drivers, this.settings.storageDriver, async (name) => used.has(name));
  }

  /** Waits for what goes on behind a finished call. */
  async close(): Promise<void> {
    await this.syncing;
  }

  get defaultDriver(): { name: string; reason: string } {
    if (!this.selected) throw new Error('the layer store is not open');
    return this.selected;
  }

  async prepare(driver: string, layers: readonly LayerSource[], owner: string, onLayer?: OnLayer): Promise<void> {
    await this.withStack(driver, layers, onLayer, async (open, stack) => {
      const top = stack.at(-1);
      if (top) this.records.hold(owner, open.name, top.chain);
    });
  }

  async release(owner: string): Promise<void> {
    this.records.unhold(owner);
    await this.opened.collector.collect();
  }

  async releaseFrom(owner: string, driver: string): Promise<void> {
    this.records.unholdFrom(owner, driver);
    await this.opened.collector.collect();
  }

  sizeOf(chain: ChainId): number | undefined {
    return this.records.sizeOf(chain);
  }

  places(): LayerPlace[] {
    return this.opened.collector.places();
  }

  writables(): WritablePlace[] {
    return this.records.writables().map(({ container, driver, chain, quota }) => ({ container, driver, chainId: chain, quota }));
  }

  orphans(): Promise<OrphanSnapshot[]> {
    return this.opened.examiner.allOrphans();
  }

  removeOrphan({ driver, snapshot }: OrphanSnapshot): Promise<void> {
    return this.opened.examiner.removeOrphan(driver, snapshot);
  }

  async createWritable(
    containerId: string,
    driver: string,
    layers: readonly LayerSource[],
    { quota, volatile = false, image }: { quota?: number; volatile?: boolean; image?: Digest },
  ): Promise<void> {
    await this.locks.run(containerId, () =>
      this.withStack(driver, layers, undefined, async (open, stack) => {
        const top = stack.at(-1);
        const snapshot = snapshotId(containerId);
        const before = this.records.writable(containerId);
        if (before && (before.driver !== open.name || before.chain !== top?.chain))
          throw conflict(`container ${containerId} has a writable layer already`);
        if (before && (await open.driver.exists(snapshot))) return;
        const parent = await this.opened.inits.ensure(open, top);
        if (top && image !== undefined && !this.records.isHeld(open.name, top.chain)) this.records.hold(image, open.name, top.chain);
        if (!before) this.records.addWritable({ container: containerId, driver: open.name, snapshot, chain: top?.chain, quota });
        try {
          await open.driver.create(snapshot, {
            writable: true,
            parent,
            volatile,
            ...(quota === undefined ? {} : { quota }),
          });
        } catch (error) {
          this.records.removeWritable(containerId);
          throw error;
        }
      }),
    );
  }

  async acquireWritable(containerId: string): Promise<Mount[]> {
    const { open, record } = await this.writable(containerId);
    await this.opened.mender.support(open, record);
    const mounts = await open.driver.acquire(record.snapshot);
    this.inUse.add(containerId);
    return mounts;
  }

  async releaseWritable(containerId: string): Promise<void> {
    const { open, record } = await this.writable(containerId);
    await open.driver.release(record.snapshot);
    this.inUse.delete(containerId);
  }

  async removeWritable(containerId: string): Promise<void> {
    const left = await this.locks.run(containerId, async () => {
      const record = this.records.writable(containerId);
      if (!record) return undefined;
      const { driver } = await this.drivers.get('storage', record.driver);
      await driver.remove(record.snapshot);
      this.records.removeWritable(containerId);
      return record;
    });
    await this.letGo(left);
  }

  async moveWritable(containerId: string, driver: string, recorded: () => void): Promise<MovedLayer> {
    const { moved, left } = await this.locks.run(containerId, async () => {
      const { open: from, record } = await this.writable(containerId);
      if (driver === from.name) throw invalid(`container ${containerId} is with storage driver ${driver} already`);
      await this.opened.mender.support(from, record);
      const layers = this.records.stackBelow(from.name, record.chain).map(({ diff, blob }) => ({ diffId: diff, blob }));
      return this.withStack(driver, layers, undefined, async (to, stack) => {
        if (record.quota !== undefined && !to.has('quota'))
          throw invalid(`container ${containerId} has a limit for its size, which storage driver ${driver} cannot keep on this host`);
        const target = { open: to, parent: await this.opened.inits.ensure(to, stack.at(-1)) };
        return { moved: await this.opened.mover.move(record, { open: from, parent: parentOf(record) }, target, recorded), left: record };
      });
    });
    await this.letGo(left);
    return moved;
  }

  async writableUsage(containerId: string): Promise<number> {
    const { open, record } = await this.writable(containerId);
    return open.driver.usage(record.snapshot);
  }

  async writableChanges(containerId: string): Promise<Change[]> {
    const { open, record } = await this.writable(containerId);
    return open.driver.changes(record.snapshot, parentOf(record));
  }

  async writableDiff(containerId: string): Promise<Readable> {
    const { open, record } = await this.writable(containerId);
    return open.driver.diff(record.snapshot, parentOf(record));
  }

  async writableMetadata(containerId: string): Promise<Record<string, string>> {
    const { open, record } = await this.writable(containerId);
    return open.driver.metadata(record.snapshot);
  }

  async status(): Promise<[string, string][]> {
    const { driver } = await this.drivers.get('storage', this.defaultDriver.name);
    return driver.status();
  }

  examine(examination: Examination, containers: () => Promise<ReadonlySet<string>>, options = { deep: false }): Promise<void> {
    return this.opened.examiner.examine(examination, containers, options);
  }

  async settle(containers: ReadonlySet<string>): Promise<void> {
    const { collector, mender } = this.opened;
    await mender.mendUnsynced();
    this.syncLater();
    this.records.endOperations();
    await this.examine(new Examination(true, this.log), async () => containers);
    await collector.collect();
  }

  private get opened(): Parts {
    if (!this.parts) throw new Error('the layer store is not open');
    return this.parts;
  }

  private makeParts(boot: string): Parts {
    const { records, drivers, journal, log, locks, host } = this;
    const storageRoot = join(this.settings.dataRoot, 'storage');
    const collector = new SnapshotCollector(records, drivers, log);
    const settled = (driver: string, layer: StackedLayer): Promise<void> => collector.settled(driver, layer.snapshot);
    const unpacker = new Unpacker(records, this.content, log, boot, (fd) => host.process.closeFd(fd), settled);
    const views = new LayerViews(host, join(this.settings.execRoot, 'layer'));
    const inits = new InitLayers(records, host, views, boot);
    const mender = new LayerMender(records, drivers, unpacker, inits, log, boot);
    const mover = new LayerMover(records, journal, drivers, host, views, log, storageRoot);
    const isInUse = (container: string): boolean => this.inUse.has(container);
    const verifier = new LayerVerifier(records, this.content, host, views, collector, unpacker, mender, isInUse);
    const examiner = new LayerExaminer({
      records,
      drivers,
      journal,
      log,
      unpacker,
      collector,
      inits,
      mover,
      mender,
      verifier,
      views,
      locks,
      removeWritable: (container) => this.removeWritable(container),
      driverNames: () => this.driverNames(storageRoot),
    });
    return { unpacker, collector, inits, mender, mover, examiner };
  }

  /** The default driver, those on record, and those that were opened once and have a folder. */
  private async driverNames(storageRoot: string): Promise<string[]> {
    const known = new Set(this.drivers.names('storage'));
    const opened = (await readdir(storageRoot).catch(() => [])).filter((name) => known.has(name));
    const recorded = [...this.records.snapshots(), ...this.records.inits(), ...this.records.writables()].map(({ driver }) => driver);
    return [...new Set([this.defaultDriver.name, ...recorded, ...opened])];
  }

  private async writable(containerId: string): Promise<{ open: OpenDriver<'storage'>; record: WritableRecord }> {
    const record = this.records.writable(containerId);
    if (!record) throw notFound('writable layer of container', containerId);
    return { open: await this.drivers.get('storage', record.driver), record };
  }

  /** The image is still there nearly always, and then so is everything that the container stood on. */
  private async letGo(left: WritableRecord | undefined): Promise<void> {
    if (left?.chain !== undefined && !this.records.isHeld(left.driver, left.chain)) await this.opened.collector.collect();
  }

  /** Runs `work` when every layer is there, and lets none of them be removed until it is done. */
  private async withStack<T>(
    name: string,
    layers: readonly LayerSource[],
    onLayer: OnLayer | undefined,
    work: (open: OpenDriver<'storage'>, stack: readonly StackedLayer[]) => Promise<T>,
  ): Promise<T> {
    const { unpacker, collector } = this.opened;
    const open = await this.drivers.get('storage', name === '' ? this.defaultDriver.name : name);
    const stack = stackOf(open.name, layers);
    const unpin = collector.pin(
      open.name,
      stack.map((layer) => layer.chain),
    );
    try {
      await unpacker.unpack(open, stack, onLayer);
      const result = await work(open, stack);
      if (this.records.takeUnsynced()) this.syncLater();
      return result;
    } finally {
      unpin();
    }
  }

  /**
   * Nobody waits for the disk: until the sync is done a layer's record carries this boot's id, and after a power cut in
   * between, the next start knows that it cannot be trusted.
   */
  private syncLater(): void {
    const snapshots = this.records.snapshots().filter((record) => record.boot !== '');
    const inits = this.records.inits().filter((record) => record.boot !== '');
    if (snapshots.length + inits.length === 0) return;
    this.syncing = this.syncing.then(async () => {
      try {
        // A driver's folder may be a file system of its own.
        for (const driver of new Set([...snapshots, ...inits].map((record) => record.driver)))
          await this.host.files.sync(join(this.settings.dataRoot, 'storage', driver));
        this.records.markSynced(snapshots, inits);
      } catch (error) {
        this.log.warn('layers could not be synced', { error: messageOf(error) });
      }
    });
  }
}

const parentOf = (record: WritableRecord): SnapshotId => initSnapshotOf(record.driver, record.chain);
