import { messageOf } from '../contracts/errors.js';
import type { SnapshotId } from '../contracts/ids.js';
import type { Logger } from '../contracts/manifest.js';
import type { DriverRegistry, OpenDriver } from '../extension/driver-registry.js';
import type { Examination } from '../state/examination.js';
import type { Journal } from '../state/journal.js';
import type { KeyedLock } from '../state/keyed-lock.js';
import type { InitLayers } from './init-layers.js';
import type { LayerMender } from './layer-mender.js';
import type { LayerMover } from './layer-mover.js';
import type { LayerRecords } from './layer-records.js';
import type { LayerVerifier } from './layer-verifier.js';
import type { LayerViews } from './layer-view.js';
import type { OrphanSnapshot } from './layers.js';
import type { SnapshotCollector } from './snapshot-collector.js';
import type { Unpacker } from './unpack.js';

type Storage = OpenDriver<'storage'>;

/** The parts of this room that a look through it needs. */
export interface ExaminedParts {
  readonly records: LayerRecords;
  readonly drivers: DriverRegistry;
  readonly journal: Journal;
  readonly log: Logger;
  readonly unpacker: Unpacker;
  readonly collector: SnapshotCollector;
  readonly inits: InitLayers;
  readonly mover: LayerMover;
  readonly mender: LayerMender;
  readonly verifier: LayerVerifier;
  readonly views: LayerViews;
  /** By container id. */
  readonly locks: KeyedLock;
  /** Removes a container's layer with its record. */
  removeWritable(container: string): Promise<void>;
  /** Drivers that have something here, or may have. */
  driverNames(): Promise<readonly string[]>;
}

/**
 * Compares the records of layers with what the drivers keep. At a daemon's start, when nothing else goes on, and at any later time,
 * beside everything else: what an operation under way has made and not recorded yet is not touched.
 */
export class LayerExaminer {
  constructor(private readonly parts: ExaminedParts) {}

  async examine(
    examination: Examination,
    containers: () => Promise<ReadonlySet<string>>,
    { deep }: { readonly deep: boolean },
  ): Promise<void> {
    await this.leftMounts(examination);
    await this.moves(examination);
    await this.strayWritables(examination, containers);
    for (const name of await this.parts.driverNames()) {
      const open = await this.openDriver(examination, name);
      if (!open) continue;
      await this.missing(examination, open);
      await this.strays(examination, open);
      if (deep) await this.parts.verifier.examine(examination, open);
    }
  }

  /** Snapshots of a driver that no record names and nobody makes just now. */
  private async orphans({ name, driver }: Storage): Promise<SnapshotId[]> {
    // Listed first: what is recorded meanwhile is known when the records are looked at.
    const listed = await driver.list();
    return listed.filter((snapshot) => !this.parts.inits.isBusy(snapshot) && this.isOrphan(name, snapshot));
  }

  /** Of every driver that can be asked. */
  async allOrphans(): Promise<OrphanSnapshot[]> {
    const all: OrphanSnapshot[] = [];
    for (const name of await this.parts.driverNames()) {
      try {
        const open = await this.parts.drivers.get('storage', name);
        for (const snapshot of await this.orphans(open))
          all.push({ driver: name, snapshot, size: await open.driver.usage(snapshot).catch(() => -1) });
      } catch (error) {
        this.parts.log.debug('a storage driver cannot be asked for what it keeps', { driver: name, error: messageOf(error) });
      }
    }
    return all;
  }

  /** It may be a container's, or one between an image and its containers: nobody makes either meanwhile. */
  removeOrphan(driver: string, snapshot: SnapshotId): Promise<void> {
    const { collector, inits, locks } = this.parts;
    return locks.run(snapshot, () =>
      inits.apart(snapshot, async () => {
        if (this.isOrphan(driver, snapshot)) await collector.removeOrphan(driver, snapshot);
      }),
    );
  }

  private isOrphan(driver: string, snapshot: SnapshotId): boolean {
    const { records, unpacker, mover, verifier } = this.parts;
    if (records.names(driver, snapshot) || unpacker.isBusy(driver, snapshot) || verifier.isTrial(snapshot)) return false;
    return !mover.unfinished().some(({ subject }) => subject === snapshot);
  }

  /** First, for a snapshot that is still mounted somewhere cannot always be removed. */
  private async leftMounts(examination: Examination): Promise<void> {
    const { views } = this.parts;
    for (const place of await views.left())
      await examination.found(
        { area: 'mount', subject: place, problem: 'a snapshot is mounted and nobody looks at it', remedy: 'unmount it' },
        () => views.takeDown(place),
      );
  }

  private async moves(examination: Examination): Promise<void> {
    const { mover, locks } = this.parts;
    for (const intent of mover.unfinished()) {
      if (locks.busy(intent.subject)) continue;
      const { from, to } = intent.detail as { from: string; to: string };
      await examination.found(
        {
          area: 'container',
          subject: intent.subject,
          problem: `a move of its layer from storage driver ${from} to ${to} was cut off`,
          remedy: 'remove the copy that is not in use',
        },
        () => locks.run(intent.subject, () => mover.finish(intent)),
      );
    }
  }

  private async strayWritables(examination: Examination, containers: () => Promise<ReadonlySet<string>>): Promise<void> {
    const { records, journal, removeWritable } = this.parts;
    const coming = new Set(
      journal
        .pending()
        .filter(({ kind }) => kind === 'container.create')
        .map(({ subject }) => subject),
    );
    const settled = records.writables().filter(({ container }) => !coming.has(container));
    // Asked last: a container's record appears in the transaction that ends the intent to make it.
    const known = await containers();
    for (const { container } of settled) {
      if (known.has(container) || !records.writable(container)) continue;
      await examination.found(
        { area: 'layer', subject: container, problem: 'a writable layer has no container', remedy: 'remove the layer' },
        () => removeWritable(container),
      );
    }
  }

  private async openDriver(examination: Examination, name: string): Promise<Storage | undefined> {
    const { drivers, records, log } = this.parts;
    try {
      return await drivers.get('storage', name);
    } catch (error) {
      if (records.uses(name)) {
        const problem = `storage driver ${name} cannot be asked for what it keeps: ${messageOf(error)}`;
        await examination.found({ area: 'driver', subject: name, problem, remedy: '' });
      } else log.debug('a storage driver that keeps nothing on record is not examined', { driver: name, error: messageOf(error) });
      return undefined;
    }
  }

  private async missing(examination: Examination, open: Storage): Promise<void> {
    const { records, mender, unpacker } = this.parts;
    const { name, driver } = open;
    for (const { driver: keeper, chain, snapshot } of records.snapshots()) {
      if (keeper !== name || (await driver.exists(snapshot)) || !records.snapshot(name, chain)) continue;
      await examination.found(
        {
          area: 'layer',
          subject: chain,
          problem: `a layer is gone from storage driver ${name}`,
          remedy: 'unpack it again from its blob',
        },
        async () => unpacker.unpack(open, mender.stackOf(name, chain)),
      );
    }
    for (const { driver: keeper, snapshot } of records.inits()) {
      if (keeper !== name || (await driver.exists(snapshot)) || !records.hasInit(name, snapshot)) continue;
      await examination.found(
        {
          area: 'snapshot',
          subject: snapshot,
          problem: `the places to mount on are gone from storage driver ${name}`,
          remedy: 'make them again when a container next needs them',
        },
        async () => records.removeInit(name, snapshot),
      );
    }
    for (const { driver: keeper, container, snapshot } of records.writables()) {
      if (keeper !== name || this.parts.locks.busy(container) || (await driver.exists(snapshot)) || !records.writable(container)) continue;
      const problem = `the files of a container are gone from storage driver ${name}; all that is left to do is to remove it`;
      await examination.found({ area: 'container', subject: container, problem, remedy: '' });
    }
  }

  private async strays(examination: Examination, open: Storage): Promise<void> {
    for (const snapshot of await this.orphans(open)) {
      const problem = `a snapshot of storage driver ${open.name} has no record`;
      await examination.found({ area: 'snapshot', subject: snapshot, problem, remedy: 'remove it' }, () =>
        this.removeOrphan(open.name, snapshot),
      );
    }
  }
}
