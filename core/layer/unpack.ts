import { open } from 'node:fs/promises';
import type { Content } from '../content/content.js';
import { invalid, messageOf } from '../contracts/errors.js';
import type { DiffId, SnapshotId } from '../contracts/ids.js';
import type { Logger } from '../contracts/manifest.js';
import type { AppliedLayer } from '../contracts/storage.js';
import type { OpenDriver } from '../extension/driver-registry.js';
import type { LayerRecords } from './layer-records.js';
import type { ArrivingBlob } from './layers.js';
import type { StackedLayer } from './stack.js';

export type OnLayer = (diffId: DiffId, event: 'extracting' | 'done', current: number, total: number) => void;

/** How many layers one daemon unpacks at a time: each keeps two to three threads busy. */
const PARALLEL_UNPACKS = 2;

/** And how many more from bytes that still arrive. Apart, so that a slow registry never keeps what is there from being unpacked. */
const PARALLEL_ARRIVALS = 2;

/** One layer on its way to being a snapshot. */
interface Job {
  readonly driver: string;
  readonly snapshot: SnapshotId;
  /** The snapshot exists, perhaps empty. */
  readonly created: Promise<unknown>;
  /** It is complete and recorded, and so is everything below it. */
  readonly ready: Promise<void>;
}

class Slots {
  private free: number;
  private readonly waiting: (() => void)[] = [];

  constructor(count: number) {
    this.free = count;
  }

  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.free > 0) this.free--;
    else await new Promise<void>((resolve) => this.waiting.push(resolve));
    try {
      return await work();
    } finally {
      const next = this.waiting.shift();
      if (next) next();
      else this.free++;
    }
  }
}

/**
 * Makes snapshots of layers. Who asks for a layer that is on its way waits for that one. A layer may be unpacked before
 * those below it are done when the driver can; it is recorded only after them, so a record always stands on records.
 */
export class Unpacker {
  private readonly jobs = new Map<string, Job>();
  private readonly slots = new Slots(PARALLEL_UNPACKS);
  private arrivals = 0;

  constructor(
    private readonly records: LayerRecords,
    private readonly content: Content,
    private readonly log: Logger,
    private readonly boot: string,
    private readonly closeFd: (fd: number) => void,
    /** Resolves when no removal of that snapshot is under way. */
    private readonly settled: (driver: string, layer: StackedLayer) => Promise<void>,
  ) {}

  /** Every layer of the stack is there when it resolves. What failed is removed, also what was unpacked on top of it. */
  async unpack(driver: OpenDriver<'storage'>, stack: readonly StackedLayer[], onLayer?: OnLayer): Promise<void> {
    for (;;) {
      if (await this.isThere(driver, stack)) {
        for (const layer of stack) onLayer?.(layer.diff, 'done', 1, 1);
        return;
      }
      const jobs: Job[] = [];
      const joined = new Set<Job>();
      for (const layer of stack) {
        const key = `${driver.name}/${layer.chain}`;
        let job = this.jobs.get(key);
        if (job) joined.add(job);
        else job = this.begin(key, driver, layer, jobs.at(-1), onLayer);
        job.ready.then(() => onLayer?.(layer.diff, 'done', 1, 1)).catch(() => {});
        jobs.push(job);
      }
      const results = await Promise.allSettled(jobs.map((job) => job.ready));
      const failed = results.findIndex((result) => result.status === 'rejected');
      if (failed < 0) return;
      // Somebody else's layer failed first, perhaps because its bytes were on the way to a client that left: then it is our turn.
      const first = jobs[failed];
      if (first && joined.has(first)) continue;
      throw (results[failed] as PromiseRejectedResult).reason;
    }
  }

  /** Whether a snapshot is being made. */
  isBusy(driver: string, snapshot: SnapshotId): boolean {
    return [...this.jobs.values()].some((job) => job.driver === driver && job.snapshot === snapshot);
  }

  private begin(
    key: string,
    driver: OpenDriver<'storage'>,
    layer: StackedLayer,
    below: Job | undefined,
    onLayer: OnLayer | undefined,
  ): Job {
    const job = this.start(driver, layer, below, onLayer);
    this.jobs.set(key, job);
    const forget = (): void => void this.jobs.delete(key);
    job.ready.then(forget, (error: unknown) => {
      forget();
      layer.arriving?.abandon(error);
    });
    return job;
  }

  /** The usual answer, quickly: a record stands on records, so the topmost speaks for all. */
  private async isThere(driver: OpenDriver<'storage'>, stack: readonly StackedLayer[]): Promise<boolean> {
    const top = stack.at(-1);
    if (!top) return true;
    await Promise.all(stack.map((layer) => this.settled(driver.name, layer)));
    if (!this.records.snapshot(driver.name, top.chain)) return false;
    const found = await Promise.all(stack.map((layer) => driver.driver.exists(layer.snapshot)));
    return found.every(Boolean);
  }

  private start(driver: OpenDriver<'storage'>, layer: StackedLayer, below: Job | undefined, onLayer: OnLayer | undefined): Job {
    const created = this.create(driver, layer, driver.has('parallel-apply') ? below?.created : below?.ready);
    created.catch(() => {});
    return { driver: driver.name, snapshot: layer.snapshot, created, ready: this.fill(driver, layer, created, below, onLayer) };
  }

  /** Resolves to whether it is there already, complete. */
  private async create(driver: OpenDriver<'storage'>, layer: StackedLayer, before: Promise<unknown> | undefined): Promise<boolean> {
    await before;
    await this.settled(driver.name, layer);
    const exists = await driver.driver.exists(layer.snapshot);
    if (this.records.snapshot(driver.name, layer.chain)) {
      if (exists) return true;
      this.log.warn('a layer is gone from its storage driver and is unpacked again', { driver: driver.name, chain: layer.chain });
    }
    // Without a record it is what a crash left, and nobody knows how much of it is there.
    await this.createAnew(driver, layer);
    return false;
  }

  private async createAnew({ driver }: OpenDriver<'storage'>, { snapshot, parentSnapshot }: StackedLayer): Promise<void> {
    await driver.remove(snapshot);
    await driver.create(snapshot, { writable: false, ...(parentSnapshot === undefined ? {} : { parent: parentSnapshot }) });
  }

  private async fill(
    driver: OpenDriver<'storage'>,
    layer: StackedLayer,
    created: Promise<boolean>,
    below: Job | undefined,
    onLayer: OnLayer | undefined,
  ): Promise<void> {
    if (await created) {
      await below?.ready;
      return;
    }
    try {
      const size = await this.apply(driver, layer, onLayer);
      await below?.ready;
      this.records.addSnapshot({
        driver: driver.name,
        chain: layer.chain,
        snapshot: layer.snapshot,
        parent: layer.parent,
        diff: layer.diff,
        blob: layer.blob,
        size,
        boot: this.boot,
      });
    } catch (error) {
      await driver.driver
        .remove(layer.snapshot)
        .catch((failed: unknown) =>
          this.log.warn('a layer that could not be unpacked was not removed', { chain: layer.chain, error: messageOf(failed) }),
        );
      throw error;
    }
  }

  /** Gives back the bytes that the layer added. */
  private async apply(driver: OpenDriver<'storage'>, layer: StackedLayer, onLayer: OnLayer | undefined): Promise<number> {
    const early = layer.arriving && (await this.applyArriving(driver, layer, layer.arriving, onLayer));
    if (early) return early.size;
    return this.slots.run(async () => {
      await layer.arriving?.arrived();
      return this.applyStored(driver, layer, onLayer);
    });
  }

  /**
   * Unpacks the blob while it arrives. Nothing when that cannot be done or did not give the right tree, whatever the reason: then
   * the verified blob is unpacked, and its own failure is what is told. The snapshot is as it was created then.
   */
  private async applyArriving(
    driver: OpenDriver<'storage'>,
    layer: StackedLayer,
    arriving: ArrivingBlob,
    onLayer: OnLayer | undefined,
  ): Promise<AppliedLayer | undefined> {
    if (this.arrivals >= PARALLEL_ARRIVALS) return this.arrived(layer, arriving);
    this.arrivals++;
    let applied: AppliedLayer | undefined;
    try {
      const fd = await arriving.readAlong();
      if (fd !== undefined) {
        const applying = driver.driver.applyDiff(layer.snapshot, layer.parentSnapshot, { fd });
        // Only what goes on after the download is told: a client shows one state of a layer, and the download's says more.
        this.tellExtracting(layer, arriving, applying, onLayer);
        applied = await applying.finally(() => this.closeFd(fd));
      }
    } catch (error) {
      this.log.debug('a layer was not unpacked while it arrived', { blob: layer.blob, error: messageOf(error) });
    } finally {
      this.arrivals--;
    }
    if (applied && applied.diffId !== layer.diff) {
      await this.createAnew(driver, layer);
      applied = undefined;
    }
    await this.arrived(layer, arriving);
    return applied;
  }

  /** Whoever started the transfer may have left while others see it through: what counts is that the blob is in the store. */
  private async arrived(layer: StackedLayer, arriving: ArrivingBlob): Promise<undefined> {
    try {
      await arriving.arrived();
    } catch (error) {
      if (!(await this.content.has(layer.blob))) throw error;
    }
  }

  private tellExtracting(layer: StackedLayer, arriving: ArrivingBlob, applying: Promise<unknown>, onLayer: OnLayer | undefined): void {
    if (!onLayer) return;
    let over = false;
    const end = (): void => void (over = true);
    applying.then(end, end);
    const tell = (): void => {
      if (!over) onLayer(layer.diff, 'extracting', 0, arriving.size);
    };
    arriving.arrived().then(tell, () => undefined);
  }

  private async applyStored(driver: OpenDriver<'storage'>, layer: StackedLayer, onLayer: OnLayer | undefined): Promise<number> {
    const blob = await open(await this.content.path(layer.blob), 'r');
    try {
      const { size: total } = await blob.stat();
      onLayer?.(layer.diff, 'extracting', 0, total);
      const applied = await driver.driver.applyDiff(layer.snapshot, layer.parentSnapshot, { fd: blob.fd });
      if (applied.diffId !== layer.diff)
        throw invalid(`layer ${layer.blob} holds the content ${applied.diffId}, and the image's configuration says ${layer.diff}`);
      onLayer?.(layer.diff, 'extracting', total, total);
      return applied.size;
    } finally {
      await blob.close();
    }
  }
}
