import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { inject, injectable } from 'tsyringe';
import type { Content } from '../content/content.js';
import { conflict, messageOf, notFound } from '../contracts/errors.js';
import type { Host } from '../contracts/host.js';
import { snapshotId, type ChainId, type SnapshotId } from '../contracts/ids.js';
import type { Logger } from '../contracts/manifest.js';
import type { Mount } from '../contracts/mount.js';
import type { Change } from '../contracts/storage.js';
import type { DriverRegistry, OpenDriver } from '../extension/driver-registry.js';
import { selectStorageDriver, type Selection } from '../extension/selection.js';
import type { Database } from '../state/database.js';
import { KeyedLock } from '../state/keyed-lock.js';
import type { Settings } from '../system/settings.js';
import { Tokens } from '../tokens.js';
import { initSnapshotOf, InitLayers } from './init-layers.js';
import { LayerRecords, type WritableRecord } from './layer-records.js';
import type { LayerPlace, Layers, LayerSource } from './layers.js';
import { SnapshotCollector } from './snapshot-collector.js';
import { type StackedLayer, stackOf } from './stack.js';
import { type OnLayer, Unpacker } from './unpack.js';

interface Parts {
  readonly unpacker: Unpacker;
  readonly collector: SnapshotCollector;
  readonly inits: InitLayers;
  readonly boot: string;
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
  ) {
    this.records = new LayerRecords(db);
  }

  /** Makes the tables and chooses the default driver. Before any other use. */
  async open(): Promise<void> {
    this.records.open();
    const boot = (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim();
    const collector = new SnapshotCollector(this.records, this.drivers, this.log);
    const settled = (driver: string, layer: StackedLayer): Promise<void> => collector.settled(driver, layer.snapshot);
    this.parts = {
      boot,
      collector,
      unpacker: new Unpacker(this.records, this.content, this.log, boot, (fd) => this.host.process.closeFd(fd), settled),
      inits: new InitLayers(this.records, this.host, join(this.settings.execRoot, 'layer'), boot),
    };
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

  sizeOf(chain: ChainId): number | undefined {
    return this.records.sizeOf(chain);
  }

  places(): LayerPlace[] {
    return this.opened.collector.places();
  }

  async createWritable(containerId: string, driver: string, layers: readonly LayerSource[], { quota }: { quota?: number }): Promise<void> {
    await this.locks.run(containerId, () =>
      this.withStack(driver, layers, undefined, async (open, stack) => {
        const top = stack.at(-1);
        const snapshot = snapshotId(containerId);
        const before = this.records.writable(containerId);
        if (before && (before.driver !== open.name || before.chain !== top?.chain))
          throw conflict(`container ${containerId} has a writable layer already`);
        if (before && (await open.driver.exists(snapshot))) return;
        const parent = await this.opened.inits.ensure(open, top);
        if (!before) this.records.addWritable({ container: containerId, driver: open.name, snapshot, chain: top?.chain, quota });
        try {
          await open.driver.create(snapshot, {
            writable: true,
            parent,
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
    const { driver, record } = await this.writable(containerId);
    return driver.acquire(record.snapshot);
  }

  async releaseWritable(containerId: string): Promise<void> {
    const { driver, record } = await this.writable(containerId);
    await driver.release(record.snapshot);
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
    // The image is still there nearly always, and then so is everything that the container stood on.
    if (left?.chain !== undefined && !this.records.isHeld(left.driver, left.chain)) await this.opened.collector.collect();
  }

  async writableUsage(containerId: string): Promise<number> {
    const { driver, record } = await this.writable(containerId);
    return driver.usage(record.snapshot);
  }

  async writableChanges(containerId: string): Promise<Change[]> {
    const { driver, record } = await this.writable(containerId);
    return driver.changes(record.snapshot, parentOf(record));
  }

  async writableDiff(containerId: string): Promise<Readable> {
    const { driver, record } = await this.writable(containerId);
    return driver.diff(record.snapshot, parentOf(record));
  }

  async writableMetadata(containerId: string): Promise<Record<string, string>> {
    const { driver, record } = await this.writable(containerId);
    return driver.metadata(record.snapshot);
  }

  async status(): Promise<[string, string][]> {
    const { driver } = await this.drivers.get('storage', this.defaultDriver.name);
    return driver.status();
  }

  async settle(containers: ReadonlySet<string>): Promise<void> {
    const { collector } = this.opened;
    await this.mendUnsynced();
    this.records.endOperations();
    for (const record of this.records.writables()) {
      if (containers.has(record.container)) continue;
      await this.removeWritable(record.container).catch((error: unknown) =>
        this.log.warn('a writable layer without container was not removed', { container: record.container, error: messageOf(error) }),
      );
    }
    await collector.removeOrphans(this.defaultDriver.name);
    await collector.collect();
  }

  private get opened(): Parts {
    if (!this.parts) throw new Error('the layer store is not open');
    return this.parts;
  }

  private async writable(containerId: string): Promise<{ driver: OpenDriver<'storage'>['driver']; record: WritableRecord }> {
    const record = this.records.writable(containerId);
    if (!record) throw notFound('writable layer of container', containerId);
    const { driver } = await this.drivers.get('storage', record.driver);
    return { driver, record };
  }

  /** Runs `work` when every layer is there, and lets none of them be removed until it is done. */
  private async withStack(
    name: string,
    layers: readonly LayerSource[],
    onLayer: OnLayer | undefined,
    work: (open: OpenDriver<'storage'>, stack: readonly StackedLayer[]) => Promise<void>,
  ): Promise<void> {
    const { unpacker, collector } = this.opened;
    const open = await this.drivers.get('storage', name === '' ? this.defaultDriver.name : name);
    const stack = stackOf(open.name, layers);
    const unpin = collector.pin(
      open.name,
      stack.map((layer) => layer.chain),
    );
    try {
      await unpacker.unpack(open, stack, onLayer);
      await work(open, stack);
    } finally {
      unpin();
    }
    if (this.records.takeUnsynced()) this.syncLater();
  }

  /**
   * Nobody waits for the disk: until the sync is done a layer's record carries this boot's id, and after a power cut in
   * between, {@link mendUnsynced} knows that it cannot be trusted.
   */
  private syncLater(): void {
    const snapshots = this.records.snapshots().filter((record) => record.boot !== '');
    const inits = this.records.inits().filter((record) => record.boot !== '');
    if (snapshots.length + inits.length === 0) return;
    this.syncing = this.syncing.then(async () => {
      try {
        await this.host.files.sync(join(this.settings.dataRoot, 'storage'));
        this.records.markSynced(snapshots, inits);
      } catch (error) {
        this.log.warn('layers could not be synced', { error: messageOf(error) });
      }
    });
  }

  /** Unpacks again what was written in an earlier boot and never known to be on disk. */
  private async mendUnsynced(): Promise<void> {
    const { boot, unpacker } = this.opened;
    const records = this.records.snapshots();
    const suspects = records.filter((record) => record.boot !== '' && record.boot !== boot);
    for (const suspect of suspects) this.records.removeSnapshot(suspect.driver, suspect.chain);
    for (const suspect of suspects) {
      const layers: LayerSource[] = [];
      for (
        let at: typeof suspect | undefined = suspect;
        at;
        at = records.find((record) => record.driver === suspect.driver && record.chain === at?.parent)
      )
        layers.unshift({ diffId: at.diff, blob: at.blob });
      this.log.warn('a layer was not on disk before the machine stopped and is unpacked again', {
        driver: suspect.driver,
        chain: suspect.chain,
      });
      try {
        await unpacker.unpack(await this.drivers.get('storage', suspect.driver), stackOf(suspect.driver, layers));
      } catch (error) {
        this.log.error('a layer is lost until its image is pulled again', { chain: suspect.chain, error: messageOf(error) });
      }
    }
    const stale = this.records.inits().filter((record) => record.boot !== '' && record.boot !== boot);
    for (const driver of new Set(stale.map((record) => record.driver))) {
      try {
        await this.opened.inits.mend(await this.drivers.get('storage', driver));
      } catch (error) {
        this.log.warn('the places to mount on could not be made again', { driver, error: messageOf(error) });
      }
    }
    this.syncLater();
  }
}

const parentOf = (record: WritableRecord): SnapshotId => initSnapshotOf(record.driver, record.chain);
