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
    const references = this.references();
    return this.records.snapshots().map((record) => {
      const holders = references.get(keyOf(record.driver, record.chain)) ?? [];
      return {
        driver: record.driver,
        chainId: record.chain,
        diffId: record.diff,
        blob: record.blob,
        snapshot: record.snapshot,
        size: record.size,
        references: holders.length,
        holders,
      };
    });
  }

  /** Removes every snapshot that nobody holds or stands on. One collection at a time; a failure is logged and tried again by the next. */
  collect(): Promise<void> {
    this.running = this.running.then(() => this.sweep());
    return this.running;
  }

  /** Removes a snapshot that no record names. Whoever wants to make it meanwhile waits. */
  removeOrphan(driver: string, snapshot: SnapshotId): Promise<void> {
    return this.removing(driver, snapshot, async () => (await this.drivers.get('storage', driver)).driver.remove(snapshot));
  }

  private async removing(driver: string, snapshot: SnapshotId, work: () => Promise<void>): Promise<void> {
    const key = `${driver}/${snapshot}`;
    const removal = work();
    // Who waits for it tries next, whatever came of it.
    this.removals.set(
      key,
      removal.catch(() => undefined),
    );
    try {
      await removal;
    } finally {
      this.removals.delete(key);
    }
  }

  /** Which holds and containers stand on each chain. */
  private references(): Map<string, string[]> {
    const parents = new Map(this.records.snapshots().map((record) => [keyOf(record.driver, record.chain), record.parent]));
    const holders = new Map<string, string[]>();
    const add = (holder: string, driver: string, top: ChainId | undefined): void => {
      for (let chain = top; chain !== undefined; chain = parents.get(keyOf(driver, chain))) {
        const known = holders.get(keyOf(driver, chain));
        if (known) known.push(holder);
        else holders.set(keyOf(driver, chain), [holder]);
      }
    };
    for (const hold of this.records.holds()) add(hold.owner, hold.driver, hold.chain);
    for (const writable of this.records.writables()) add(writable.container, writable.driver, writable.chain);
    return holders;
  }

  private async sweep(): Promise<void> {
    for (;;) {
      // Looked at anew each time: removals take a while, and holds come meanwhile. Children go before their parents.
      const held = this.references();
      const records = this.records.snapshots();
      const parents = new Set(
        records.filter((record) => record.parent !== undefined).map((record) => keyOf(record.driver, record.parent as ChainId)),
      );
      const next = records.find((record) => {
        const key = keyOf(record.driver, record.chain);
        return !held.has(key) && !this.pins.has(key) && !parents.has(key) && !this.failed.has(key);
      });
      if (!next) break;
      await this.removing(next.driver, next.snapshot, () => this.removeNow(next));
    }
    this.failed.clear();
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
