import { open as openFile } from 'node:fs/promises';
import { join } from 'node:path';
import { EngineError, messageOf } from '../contracts/errors.js';
import type { Host } from '../contracts/host.js';
import type { Digest, SnapshotId } from '../contracts/ids.js';
import type { Logger } from '../contracts/manifest.js';
import type { DriverRegistry, OpenDriver } from '../extension/driver-registry.js';
import { failpoint } from '../state/failpoint.js';
import type { Intent, Journal } from '../state/journal.js';
import type { LayerRecords, WritableRecord } from './layer-records.js';
import type { LayerViews } from './layer-view.js';
import type { MovedLayer } from './layers.js';

const KIND = 'layer.move';

type Storage = OpenDriver<'storage'>;

/** A snapshot and what it stands on, with the driver that keeps both. */
interface Place {
  readonly open: Storage;
  readonly parent: SnapshotId;
}

/**
 * Moves containers' layers between drivers. What a layer adds is packed by a comparison of trees, byte by byte, and not by its driver's
 * own records: then the same comparison on the other side must give the same archive, or nothing is moved. The record changes hands in
 * one transaction when the copy is on disk; the intent lasts until the old layer is gone, and tells a start after a crash where to clean.
 */
export class LayerMover {
  constructor(
    private readonly records: LayerRecords,
    private readonly journal: Journal,
    private readonly drivers: DriverRegistry,
    private readonly host: Host,
    private readonly views: LayerViews,
    private readonly log: Logger,
    /** Holds a folder for each storage driver. */
    private readonly storageRoot: string,
  ) {}

  /** The caller holds the container's lock; nothing uses the layer. `recorded` runs in the transaction that changes hands. */
  async move(record: WritableRecord, from: Place, to: Place, recorded: () => void): Promise<MovedLayer> {
    const { snapshot } = record;
    const intent = this.journal.begin(KIND, record.container, { from: from.open.name, to: to.open.name });
    let moved: MovedLayer;
    try {
      failpoint('layer.move.1');
      moved = await this.copy(record, from, to);
      failpoint('layer.move.3');
      this.records.transaction(() => {
        this.records.moveWritable(record.container, to.open.name);
        recorded();
      });
    } catch (error) {
      await to.open.driver.remove(snapshot).then(
        () => this.journal.end(intent),
        // The intent stays, and with it the next start's try.
        (failed: unknown) => this.log.warn('a copy of a layer was not removed', { snapshot, error: messageOf(failed) }),
      );
      throw error;
    }
    failpoint('layer.move.4');
    await this.finish(intent);
    return moved;
  }

  /** After a crash: removes the copy that the container does not use, whichever it is. */
  async recover(): Promise<void> {
    for (const intent of this.journal.pending()) if (intent.kind === KIND) await this.finish(intent);
  }

  /** Intents that wait for a cleanup that failed. */
  unfinished(): Intent[] {
    return this.journal.pending().filter(({ kind }) => kind === KIND);
  }

  /** Never rejects: the container is whole in its new place, and what is left of the old one is tried again. */
  async finish(intent: Intent): Promise<boolean> {
    const used = this.records.writable(intent.subject);
    const { from, to } = intent.detail as { from: string; to: string };
    try {
      for (const name of [from, to]) {
        if (used?.driver === name) continue;
        const { driver } = await this.drivers.get('storage', name);
        await driver.remove(intent.subject as SnapshotId);
      }
      failpoint('layer.move.5');
      this.journal.end(intent);
      return true;
    } catch (error) {
      this.log.warn('a layer that was moved could not be removed where it had been', {
        container: intent.subject,
        error: messageOf(error),
      });
      return false;
    }
  }

  private async copy({ container, snapshot, quota }: WritableRecord, from: Place, to: Place): Promise<MovedLayer> {
    await to.open.driver.remove(snapshot);
    await to.open.driver.create(snapshot, { writable: true, parent: to.parent, ...(quota === undefined ? {} : { quota }) });
    failpoint('layer.move.2');
    const [readEnd, writeEnd] = this.host.process.pipe();
    const close = (fd: number) => (): void => this.host.process.closeFd(fd);
    const [packed, applied] = await Promise.allSettled([
      this.pack(from, snapshot, writeEnd).finally(close(writeEnd)),
      to.open.driver.applyDiff(snapshot, to.parent, { fd: readEnd }).finally(close(readEnd)),
    ]);
    // Whoever reads no more breaks the pipe for the writer: that is not what went wrong.
    if (packed.status === 'rejected' && (applied.status === 'fulfilled' || codeOf(packed.reason) !== 'EPIPE')) throw packed.reason;
    if (applied.status === 'rejected') throw applied.reason;
    if (packed.status === 'rejected') throw packed.reason;
    const { digest, size } = packed.value;
    if (applied.value.diffId !== digest || !(await this.isSame(snapshot, from, to, digest))) throw differs(container, to.open.name);
    await this.host.files.sync(join(this.storageRoot, to.open.name));
    return { digest: digest as Digest, size };
  }

  /** Whether a copy holds what was packed with `digest`. Where file systems have holes of other sizes only the whole files can tell. */
  private async isSame(snapshot: SnapshotId, from: Place, to: Place, digest: string): Promise<boolean> {
    if ((await this.digestOf(to, snapshot, { holes: true })) === digest) return true;
    return (await this.digestOf(from, snapshot, { holes: false })) === (await this.digestOf(to, snapshot, { holes: false }));
  }

  private async digestOf(place: Place, snapshot: SnapshotId, form: { holes: boolean }): Promise<string> {
    const nowhere = await openFile('/dev/null', 'w');
    try {
      return (await this.pack(place, snapshot, nowhere.fd, form)).digest;
    } finally {
      await nowhere.close();
    }
  }

  private pack(
    { open, parent }: Place,
    snapshot: SnapshotId,
    fd: number,
    { holes } = { holes: true },
  ): Promise<{ digest: string; size: number }> {
    return this.views.show(open, snapshot, (tree) =>
      this.views.show(open, parent, (base) =>
        this.host.files.packDiff({ tree, parent: base, fd, byContent: true, exactTimes: true, holes }),
      ),
    );
  }
}

const codeOf = (error: unknown): unknown => (error as { code?: unknown }).code;

const differs = (container: string, driver: string): EngineError =>
  new EngineError('system', `container ${container} is not the same with storage driver ${driver} and stays where it is`);
