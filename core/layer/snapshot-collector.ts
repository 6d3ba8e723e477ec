import { messageOf } from '../contracts/errors.js';
import type { ChainId, SnapshotId } from '../contracts/ids.js';
import type { Logger } from '../contracts/manifest.js';
import type { DriverRegistry } from '../extension/driver-registry.js';
import { initSnapshotOf } from './init-layers.js';
import type { LayerRecords, SnapshotRecord } from './layer-records.js';
import type { LayerPlace } from './layers.js';

const keyOf = (driver: string, chain: ChainId): string => `${driver}/${chain}`;

/** Knows which snapshots are still needed, and removes the others. */
export class SnapshotCollector {
  private readonly pins = new Map<string, number>();
  private readonly removals = new Map<string, Promise<void>>();
  /** What this sweep could not remove. */
  private readonly failed = new Set<string>();
  private running: Promise<void> = Promise.resolve();

  constructor(
    private readonly records: LayerRecords,
    private readonly drivers: DriverRegistry,
    private readonly log: Logger,
  ) {}

  /** Keeps chains from being removed while an operation works with them; the returned call ends that. */
  pin(driver: string, chains: readonly ChainId[]): () => void {
    const keys = chains.map((chain) => keyOf(driver, chain));
    for (const key of keys) this.pins.set(key, (this.pins.get(key) ?? 0) + 1);
    return () => {
      for (const key of keys) {
        const left = (this.pins.get(key) ?? 0) - 1;
        if (left > 0) this.pins.set(key, left);
        else this.pins.delete(key);
      }
    };
  }

  /** Resolves when no removal of that snapshot is under way. */
  async settled(driver: string, snapshot: SnapshotId): Promise<void> {
    await this.removals.get(`${driver}/${snapshot}`);
  }

  places(): LayerPlace[] {
    const counts = this.references();
    return this.records.snapshots().map((record) => ({
      driver: record.driver,
      chainId: record.chain,
      snapshot: record.snapshot,
      size: record.size,
      references: counts.get(keyOf(record.driver, record.chain)) ?? 0,
    }));
  }

  /** Removes every snapshot that nobody holds or stands on. One collection at a time; a failure is logged and tried again by the next. */
  collect(): Promise<void> {
    this.running = this.running.then(() => this.sweep());
    return this.running;
  }

  /** Removes what a driver keeps and no record names: the rest of a crash. Drivers that have records are asked, and the default one. */
  async removeOrphans(defaultDriver: string): Promise<void> {
    const records = [...this.records.snapshots(), ...this.records.inits(), ...this.records.writables()];
    const names = new Set([defaultDriver, ...records.map((record) => record.driver)]);
    for (const name of names) {
      const known = new Set(records.filter((record) => record.driver === name).map((record) => record.snapshot));
      try {
        const { driver } = await this.drivers.get('storage', name);
        for (const snapshot of await driver.list()) {
          if (known.has(snapshot)) continue;
          this.log.info('removing a snapshot that no record names', { driver: name, snapshot });
          await driver
            .remove(snapshot)
            .catch((error: unknown) => this.log.warn('a snapshot was not removed', { driver: name, snapshot, error: messageOf(error) }));
        }
      } catch (error) {
        this.log.warn('a storage driver could not be asked for leftovers', { driver: name, error: messageOf(error) });
      }
    }
  }

  /** How many holds and containers stand on each chain. */
  private references(): Map<string, number> {
    const parents = new Map(this.records.snapshots().map((record) => [keyOf(record.driver, record.chain), record.parent]));
    const counts = new Map<string, number>();
    const add = (driver: string, top: ChainId | undefined): void => {
      for (let chain = top; chain !== undefined; chain = parents.get(keyOf(driver, chain)))
        counts.set(keyOf(driver, chain), (counts.get(keyOf(driver, chain)) ?? 0) + 1);
    };
    for (const hold of this.records.holds()) add(hold.driver, hold.chain);
    for (const writable of this.records.writables()) add(writable.driver, writable.chain);
    return counts;
  }

  private async sweep(): Promise<void> {
    for (;;) {
      // Looked at anew each time: removals take a while, and holds come meanwhile. Children go before their parents.
      const counts = this.references();
      const records = this.records.snapshots();
      const parents = new Set(
        records.filter((record) => record.parent !== undefined).map((record) => keyOf(record.driver, record.parent as ChainId)),
      );
      const next = records.find((record) => {
        const key = keyOf(record.driver, record.chain);
        return !counts.has(key) && !this.pins.has(key) && !parents.has(key) && !this.failed.has(key);
      });
      if (!next) break;
      await this.remove(next);
    }
    this.failed.clear();
  }

  private async remove(record: SnapshotRecord): Promise<void> {
    const key = `${record.driver}/${record.snapshot}`;
    const removal = this.removeNow(record);
    this.removals.set(key, removal);
    await removal;
    this.removals.delete(key);
  }

  /** Never rejects. The record goes last: a snapshot that is half removed does not exist for its driver, and is tried again. */
  private async removeNow(record: SnapshotRecord): Promise<void> {
    try {
      const { driver } = await this.drivers.get('storage', record.driver);
      const init = initSnapshotOf(record.driver, record.chain);
      if (this.records.hasInit(record.driver, init)) {
        await driver.remove(init);
        this.records.removeInit(record.driver, init);
      }
      await driver.remove(record.snapshot);
      this.records.removeSnapshot(record.driver, record.chain);
    } catch (error) {
      this.failed.add(keyOf(record.driver, record.chain));
      this.log.warn('a layer was not removed', { driver: record.driver, chain: record.chain, error: messageOf(error) });
    }
  }
}
