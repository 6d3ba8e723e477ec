import { open } from 'node:fs/promises';
import type { Content } from '../content/content.js';
import { invalid, messageOf } from '../contracts/errors.js';
import type { DiffId } from '../contracts/ids.js';
import type { Logger } from '../contracts/manifest.js';
import type { OpenDriver } from '../extension/driver-registry.js';
import type { LayerRecords } from './layer-records.js';
import type { StackedLayer } from './stack.js';

export type OnLayer = (diffId: DiffId, event: 'extracting' | 'done', current: number, total: number) => void;

/** How many layers one daemon unpacks at a time: each keeps two to three threads busy. */
const PARALLEL_UNPACKS = 2;

/** One layer on its way to being a snapshot. */
interface Job {
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

  constructor(
    private readonly records: LayerRecords,
    private readonly content: Content,
    private readonly log: Logger,
    private readonly boot: string,
    /** Resolves when no removal of that snapshot is under way. */
    private readonly settled: (driver: string, layer: StackedLayer) => Promise<void>,
  ) {}

  /** Every layer of the stack is there when it resolves. What failed is removed, also what was unpacked on top of it. */
  async unpack(driver: OpenDriver<'storage'>, stack: readonly StackedLayer[], onLayer?: OnLayer): Promise<void> {
    if (await this.isThere(driver, stack)) {
      for (const layer of stack) onLayer?.(layer.diff, 'done', 1, 1);
      return;
    }
    const jobs: Job[] = [];
    for (const layer of stack) {
      const key = `${driver.name}/${layer.chain}`;
      let job = this.jobs.get(key);
      if (!job) {
        job = this.start(driver, layer, jobs.at(-1), onLayer);
        this.jobs.set(key, job);
        const forget = (): void => void this.jobs.delete(key);
        job.ready.then(forget, forget);
      }
      job.ready.then(() => onLayer?.(layer.diff, 'done', 1, 1)).catch(() => {});
      jobs.push(job);
    }
    const results = await Promise.allSettled(jobs.map((job) => job.ready));
    for (const result of results) if (result.status === 'rejected') throw result.reason;
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
    return { created, ready: this.fill(driver, layer, created, below, onLayer) };
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
    await driver.driver.remove(layer.snapshot);
    const { parentSnapshot } = layer;
    await driver.driver.create(layer.snapshot, {
      writable: false,
      ...(parentSnapshot === undefined ? {} : { parent: parentSnapshot }),
    });
    return false;
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
      const size = await this.slots.run(() => this.apply(driver, layer, onLayer));
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

  private async apply(driver: OpenDriver<'storage'>, layer: StackedLayer, onLayer: OnLayer | undefined): Promise<number> {
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
