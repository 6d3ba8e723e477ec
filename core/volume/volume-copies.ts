import type { Readable } from 'node:stream';
import { EngineError, conflict, invalid, isKind, messageOf } from '../contracts/errors.js';
import type { Logger } from '../contracts/manifest.js';
import type { VolumeClone, VolumeRename, VolumeResize, VolumeSnapshot } from '../contracts/volume.js';
import { failpoint } from '../state/failpoint.js';
import type { Intent, Journal } from '../state/journal.js';
import type { VolumeContent } from './volume-content.js';
import type { VolumeRoom } from './volume-room.js';
import type { CopyVolume, Freezer, Volume } from './volumes.js';

const SNAPSHOT_OF = 'gantry.snapshot.of';
const SNAPSHOT_AT = 'gantry.snapshot.at';

/** What can be done with a volume beyond Docker's verbs. A driver's own verb is used where it has one. */
export class VolumeCopies {
  private freezer: Freezer | undefined;

  constructor(
    private readonly room: VolumeRoom,
    private readonly content: VolumeContent,
    private readonly journal: Journal,
    private readonly log: Logger,
  ) {}

  useFreezer(freezer: Freezer): void {
    this.freezer = freezer;
  }

  clone(name: string, request: CopyVolume): Promise<Volume> {
    return this.copied(name, request, 'volume-clone', request.freeze, {});
  }

  /** A copy as of one instant: what runs on the volume stands still meanwhile, unless the driver can do without. */
  async snapshot(name: string, request: CopyVolume): Promise<Volume> {
    const { driver } = this.room.known(name);
    const own = (await this.room.open(driver)).has('volume-snapshot');
    const labels = { [SNAPSHOT_OF]: name, [SNAPSHOT_AT]: new Date().toISOString() };
    return this.copied(name, request, own ? 'volume-snapshot' : 'volume-clone', !own || request.freeze, labels);
  }

  private async copied(
    name: string,
    request: CopyVolume,
    verb: 'volume-clone' | 'volume-snapshot',
    freeze: boolean,
    labels: Readonly<Record<string, string>>,
  ): Promise<Volume> {
    const { room } = this;
    if (request.to === name) throw conflict(`volume ${name} cannot be copied to itself`);
    return room.locks.run(name, () =>
      room.locks.run(request.to, async () => {
        const source = room.known(name);
        if (room.store.get(request.to)) throw conflict(`volume ${request.to} exists already`);
        const open = await room.open(source.driver);
        return room.make(
          { name: request.to, driver: source.driver, options: source.options, labels: { ...labels, ...request.labels } },
          () =>
            this.frozen(name, freeze, async () => {
              if (open.has(verb)) {
                if (verb === 'volume-snapshot') await (open.driver as unknown as VolumeSnapshot).snapshot(name, request.to);
                else await (open.driver as unknown as VolumeClone).clone(name, request.to);
                return;
              }
              await open.driver.create(request.to, source.options);
              try {
                await this.content.copy(open, name, request.to);
              } catch (error) {
                await open.driver.remove(request.to);
                throw error;
              }
            }),
        );
      }),
    );
  }

  async resize(name: string, bytes: number): Promise<void> {
    if (!Number.isSafeInteger(bytes) || bytes <= 0) throw invalid(`a volume cannot have ${bytes} bytes`);
    const { room } = this;
    await room.locks.run(name, async () => {
      const volume = room.known(name);
      const open = await room.open(volume.driver);
      if (!open.has('volume-resize')) {
        throw new EngineError('not-implemented', `volume driver ${volume.driver} cannot change the size of a volume`);
      }
      await (open.driver as unknown as VolumeResize).resize(name, bytes);
      room.publish(volume, 'resize', { size: String(bytes) });
    });
  }

  async rename(name: string, to: string): Promise<Volume> {
    const { room } = this;
    room.checkName(to);
    if (to === name) throw conflict(`volume ${name} has this name already`);
    return room.locks.run(name, () =>
      room.locks.run(to, async () => {
        const volume = room.known(name);
        room.checkUnused(volume, 'rename');
        if (room.store.get(to)) throw conflict(`volume ${to} exists already`);
        const open = await room.open(volume.driver);
        if (!open.has('volume-rename')) {
          throw new EngineError('not-implemented', `volume driver ${volume.driver} cannot rename a volume`);
        }
        const intent = this.journal.begin('volume.rename', name, { to });
        try {
          failpoint('volume.rename.1');
          await (open.driver as unknown as VolumeRename).rename(name, to);
          failpoint('volume.rename.2');
        } catch (error) {
          this.journal.end(intent);
          throw error;
        }
        return this.renamed(volume, to, intent);
      }),
    );
  }

  private async renamed(volume: Volume, to: string, intent: Intent): Promise<Volume> {
    const { mountpoint } = await (await this.room.open(volume.driver)).driver.get(to);
    const renamed = this.room.store.rename({ ...volume, mountpoint }, to, () => this.journal.end(intent));
    this.room.publish(renamed, 'rename', { oldName: volume.name });
    return renamed;
  }

  /** A rename that a crash cut off: the driver knows whether it was done. */
  async finishRename(intent: Intent): Promise<void> {
    const { to } = intent.detail as { to: string };
    const volume = this.room.store.get(intent.subject);
    if (!volume) return this.journal.end(intent);
    const { driver } = await this.room.open(volume.driver);
    try {
      await driver.get(to);
    } catch (error) {
      if (!isKind(error, 'not-found')) throw error;
      return this.journal.end(intent);
    }
    await this.renamed(volume, to, intent);
  }

  async exportFrom(name: string, options: { freeze: boolean }): Promise<Readable> {
    const open = await this.room.open(this.room.known(name).driver);
    const thaw = options.freeze ? await this.freeze(name) : undefined;
    const { content, done } = this.content.export(open, name);
    void done
      .finally(() => thaw?.())
      .catch((error: unknown) => this.log.warn('ending an export failed', { volume: name, error: messageOf(error) }));
    return content;
  }

  async importInto(name: string, archive: Readable): Promise<void> {
    const { room } = this;
    await room.locks.run(name, async () => {
      const volume = room.known(name);
      room.checkUnused(volume, 'import into');
      const open = await room.open(volume.driver);
      await this.content.within(open, name, async (path) => {
        if (!(await this.content.isEmpty(path))) throw conflict(`volume ${name} is not empty`);
      });
      const intent = this.journal.begin('volume.fill', name);
      try {
        failpoint('volume.import.1');
        await this.content.import(open, name, archive);
        failpoint('volume.import.2');
      } catch (error) {
        await this.content.within(open, name, (path) => this.content.empty(path));
        throw error;
      } finally {
        this.journal.end(intent);
      }
    });
  }

  /** Runs `work` while the containers that write to a volume stand still. */
  private async frozen<T>(name: string, wanted: boolean, work: () => Promise<T>): Promise<T> {
    if (!wanted) return work();
    const thaw = await this.freeze(name);
    try {
      return await work();
    } finally {
      await thaw();
    }
  }

  private async freeze(name: string): Promise<() => Promise<void>> {
    const containers = this.room.store.users(name);
    if (!this.freezer || containers.length === 0) return () => Promise.resolve();
    const { freezer } = this;
    const paused = freezer.running(containers);
    const intent = this.journal.begin('volume.freeze', name, { containers: paused });
    const thaw = async (): Promise<void> => {
      for (const id of paused) await freezer.thaw(id);
      this.journal.end(intent);
    };
    try {
      for (const id of paused) await freezer.freeze(id);
    } catch (error) {
      await thaw();
      throw error;
    }
    return thaw;
  }

  /** Sets in motion again what a crash left standing still. After the containers were found. */
  async thawAll(): Promise<void> {
    for (const intent of this.journal.pending()) {
      if (intent.kind !== 'volume.freeze') continue;
      const { containers } = intent.detail as { containers: string[] };
      for (const id of containers) {
        await this.freezer?.thaw(id).catch((error: unknown) => {
          this.log.warn('a container that stood still for a copy of its volume could not go on', {
            container: id,
            error: messageOf(error),
          });
        });
      }
      this.journal.end(intent);
    }
  }
}
