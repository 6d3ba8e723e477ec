import { open as openFile } from 'node:fs/promises';
import type { Content } from '../content/content.js';
import { conflict, isKind } from '../contracts/errors.js';
import type { Host } from '../contracts/host.js';
import { newId, snapshotId, type DiffId, type SnapshotId } from '../contracts/ids.js';
import type { OpenDriver } from '../extension/driver-registry.js';
import type { Examination } from '../state/examination.js';
import type { LayerMender } from './layer-mender.js';
import type { LayerRecords, SnapshotRecord } from './layer-records.js';
import type { LayerViews } from './layer-view.js';
import type { SnapshotCollector } from './snapshot-collector.js';
import { snapshotOf } from './stack.js';
import type { Unpacker } from './unpack.js';

type Storage = OpenDriver<'storage'>;

/** An archive of nothing: its two empty blocks. */
const EMPTY_ARCHIVE = 1024;

/** Whether layers are what their blobs hold: each is unpacked once more beside itself, and the two are compared to the last byte. */
export class LayerVerifier {
  private readonly trials = new Set<SnapshotId>();

  constructor(
    private readonly records: LayerRecords,
    private readonly content: Content,
    private readonly host: Host,
    private readonly views: LayerViews,
    private readonly collector: SnapshotCollector,
    private readonly unpacker: Unpacker,
    private readonly mender: LayerMender,
    /** Whether a container's layer is acquired now. */
    private readonly isInUse: (container: string) => boolean,
  ) {}

  /** Whether a snapshot is only there for a comparison that goes on. */
  isTrial(snapshot: SnapshotId): boolean {
    return this.trials.has(snapshot);
  }

  /** From the bottom up, so that a layer that was mended is what those on top of it are compared on. */
  async examine(examination: Examination, open: Storage): Promise<void> {
    const mine = this.records.snapshots().filter(({ driver }) => driver === open.name);
    const depth = new Map(mine.map(({ chain }) => [chain, this.records.stackBelow(open.name, chain).length]));
    for (const record of mine.toSorted((a, b) => (depth.get(a.chain) ?? 0) - (depth.get(b.chain) ?? 0))) {
      const unpin = this.collector.pin(open.name, [record.chain]);
      try {
        if (!this.records.snapshot(open.name, record.chain) || (await this.isWhole(open, record))) continue;
        await examination.found(
          {
            area: 'layer',
            subject: record.chain,
            problem: `a layer with storage driver ${open.name} is not what its blob holds`,
            remedy: 'unpack it again; what was made from it before keeps the difference with drivers that copy',
          },
          () => this.replace(open, record),
        );
      } finally {
        unpin();
      }
    }
  }

  private async isWhole(open: Storage, { parent, blob, diff, snapshot }: SnapshotRecord): Promise<boolean> {
    // Without its blob nobody can tell, and that it is gone or damaged is told elsewhere.
    const path = await this.content.path(blob).catch(() => undefined);
    if (path === undefined || !(await open.driver.exists(snapshot))) return true;
    const below = parent === undefined ? undefined : snapshotOf(open.name, parent);
    const trial = snapshotId(newId());
    this.trials.add(trial);
    try {
      await open.driver.create(trial, { writable: false, ...(below === undefined ? {} : { parent: below }) });
      if ((await this.unpack(open, trial, below, path)) !== diff) return true;
      return (await this.differenceOf(open, snapshot, trial)) <= EMPTY_ARCHIVE;
    } finally {
      await open.driver.remove(trial);
      this.trials.delete(trial);
    }
  }

  /** Gives the diff ID of what the blob holds; none for what is no layer. */
  private async unpack(open: Storage, trial: SnapshotId, below: SnapshotId | undefined, path: string): Promise<DiffId | undefined> {
    const file = await openFile(path, 'r');
    try {
      return (await open.driver.applyDiff(trial, below, { fd: file.fd })).diffId;
    } catch (error) {
      if (isKind(error, 'invalid-parameter')) return undefined;
      throw error;
    } finally {
      await file.close();
    }
  }

  private async differenceOf(open: Storage, snapshot: SnapshotId, trial: SnapshotId): Promise<number> {
    const nowhere = await openFile('/dev/null', 'w');
    try {
      return await this.views.show(open, snapshot, (tree) =>
        this.views.show(open, trial, async (parent) => {
          const { size } = await this.host.files.packDiff({ tree, parent, fd: nowhere.fd, byContent: true });
          return size;
        }),
      );
    } finally {
      await nowhere.close();
    }
  }

  private async replace(open: Storage, { chain, snapshot }: SnapshotRecord): Promise<void> {
    const place = this.collector.places().find(({ driver, chainId }) => driver === open.name && chainId === chain);
    if (place?.holders.some((holder) => this.isInUse(holder)))
      throw conflict(`a container that runs stands on layer ${chain}: stop it first`);
    await open.driver.remove(snapshot);
    await this.unpacker.unpack(open, this.mender.stackOf(open.name, chain));
  }
}
