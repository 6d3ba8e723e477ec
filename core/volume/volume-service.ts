import { readFile } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { inject, injectable } from 'tsyringe';
import { EngineError, conflict, invalid, messageOf } from '../contracts/errors.js';
import type { Host } from '../contracts/host.js';
import { newId } from '../contracts/ids.js';
import type { Logger } from '../contracts/manifest.js';
import type { VolumeUsage } from '../contracts/volume.js';
import type { DriverRegistry } from '../extension/driver-registry.js';
import type { Database } from '../state/database.js';
import { failpoint } from '../state/failpoint.js';
import type { Intent, Journal } from '../state/journal.js';
import type { Events } from '../system/system.js';
import { Tokens } from '../tokens.js';
import { ForeignVolumes } from './foreign-volumes.js';
import { VolumeContent, checkedPath } from './volume-content.js';
import { VolumeCopies } from './volume-copies.js';
import { volumeMatcher } from './volume-filters.js';
import { VolumeRoom } from './volume-room.js';
import type { CopyVolume, CreateVolumeRequest, Freezer, Volume, VolumeFilters, VolumeUse, Volumes } from './volumes.js';

/**
 * Volumes of every driver. A record here says that a volume is known; its content is the driver's. Who names a volume is
 * recorded, who has it mounted is counted: a driver sees the first mount and the last unmount of each user.
 */
@injectable()
export class VolumeService implements Volumes {
  private readonly room: VolumeRoom;
  private readonly content: VolumeContent;
  private readonly copies: VolumeCopies;
  private readonly foreign: ForeignVolumes;
  /** How often each container has a volume mounted, by volume. The path of the first mount is in the records. */
  private readonly mounted = new Map<string, Map<string, { path: string; count: number }>>();

  constructor(
    @inject(Tokens.Database) db: Database,
    @inject(Tokens.Journal) private readonly journal: Journal,
    @inject(Tokens.Drivers) drivers: DriverRegistry,
    @inject(Tokens.Events) private readonly events: Events,
    @inject(Tokens.Host) private readonly host: Host,
    @inject(Tokens.Log) private readonly log: Logger,
  ) {
    this.room = new VolumeRoom(db, journal, drivers, events);
    this.content = new VolumeContent(host);
    this.copies = new VolumeCopies(this.room, this.content, journal, log);
    this.foreign = new ForeignVolumes(drivers, this.room.store);
  }

  /** Reads the records and finishes what a crash cut off. Before any other use. */
  async open(): Promise<void> {
    this.room.store.open((await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim());
    for (const intent of this.journal.pending()) {
      if (!intent.kind.startsWith('volume.')) continue;
      const { driver = '' } = (intent.detail ?? {}) as { driver?: string };
      if (driver !== '' && this.room.isRemote(driver)) {
        void this.finishLater(intent);
        continue;
      }
      try {
        await this.finish(intent);
      } catch (error) {
        this.log.warn('finishing with a volume failed', { volume: intent.subject, kind: intent.kind, error: messageOf(error) });
      }
    }
  }

  /** With a driver in another process, which may be away: the daemon's start waits for nobody, and this until it was done. */
  private async finishLater(intent: Intent): Promise<void> {
    for (let wait = 1_000; ; wait = Math.min(wait * 2, 30_000)) {
      try {
        return await this.room.locks.run(intent.subject, () => this.finish(intent));
      } catch (error) {
        this.log.warn('a volume driver is still owed something and is asked again', {
          volume: intent.subject,
          kind: intent.kind,
          error: messageOf(error),
        });
        await sleep(wait, undefined, { ref: false });
      }
    }
  }

  private async finish(intent: Intent): Promise<void> {
    const { store } = this.room;
    const name = intent.subject;
    switch (intent.kind) {
      case 'volume.create':
      case 'volume.remove': {
        if (intent.kind === 'volume.remove' || !store.get(name)) {
          const { driver } = intent.detail as { driver: string };
          await (await this.room.open(driver)).driver.remove(name);
          store.delete(name);
        }
        this.journal.end(intent);
        return;
      }
      case 'volume.rename':
        await this.copies.finishRename(intent);
        return;
      case 'volume.fill': {
        // Nothing that was to use the content has run. Half of it must not be taken for the whole: the next start fills it again.
        if (!this.journal.pending().some(({ id }) => id === intent.id)) return;
        const volume = store.get(name);
        const { container = '' } = (intent.detail ?? {}) as { container?: string };
        if (volume && store.users(name).every((user) => user === container)) {
          await this.content.within(await this.room.open(volume.driver), name, (path) => this.content.empty(path));
        }
        this.journal.end(intent);
        return;
      }
      default:
      // `volume.freeze`: ended by `thawAll`, once the containers are known.
    }
  }

  async create(request: CreateVolumeRequest): Promise<Volume> {
    const { room } = this;
    const anonymous = request.name === '';
    const name = anonymous ? newId() : request.name;
    room.checkName(name);
    return room.locks.run(name, async () => {
      const known = room.store.get(name) ?? (anonymous || request.driver !== '' ? undefined : await this.adopted(name));
      if (known) {
        // Other options for the same name are ignored, as every client of Docker's expects.
        if (request.driver === '' || known.driver === request.driver) {
          if (request.container !== undefined) room.store.addReference(name, request.container);
          return known;
        }
        throw conflict(`create ${name}: conflict: volume name must be unique`);
      }
      const driverName = request.driver || 'local';
      const { driver } = await room.open(driverName);
      const { options, labels, container } = request;
      return room.make({ name, driver: driverName, options, labels, anonymous, container }, () => driver.create(name, options));
    });
  }

  /** A volume that some driver has already is meant by its name, as by the name of one that was made here. */
  private async adopted(name: string): Promise<Volume | undefined> {
    const found = await this.foreign.find(name).catch(() => undefined);
    if (found) this.room.store.put(found);
    return found;
  }

  async list(filters: VolumeFilters): Promise<{ volumes: Volume[]; warnings: string[] }> {
    const { store } = this.room;
    const matches = volumeMatcher(filters, (name) => store.users(name).length > 0);
    const { volumes, places, warnings } = await this.foreign.list();
    const known = store.list().map((volume) => ({ ...volume, mountpoint: volume.mountpoint || (places.get(volume.name) ?? '') }));
    return { volumes: [...known, ...volumes].filter(matches).toSorted((a, b) => (a.name < b.name ? -1 : 1)), warnings };
  }

  async inspect(name: string): Promise<Volume & { status?: Record<string, unknown> }> {
    const volume = this.room.store.get(name) ?? (await this.foreign.find(name));
    const info = await (await this.room.open(volume.driver)).driver.get(name);
    return { ...volume, mountpoint: info.mountpoint, ...(info.status ? { status: info.status } : {}) };
  }

  async remove(name: string, options: { force: boolean }): Promise<void> {
    await this.room.locks.run(name, async () => {
      let volume = this.room.store.get(name);
      if (!volume) {
        volume = await this.foreign.find(name).catch((error: unknown) => {
          if (options.force) return undefined;
          throw error;
        });
        if (!volume) return;
      }
      this.room.checkUnused(volume, 'remove');
      await this.room.destroy(volume, options.force);
    });
  }

  async prune(filters: VolumeFilters, options: { all: boolean }): Promise<{ deleted: string[]; spaceReclaimed: number }> {
    const { store } = this.room;
    const { dangling: _, ...rest } = Object.fromEntries(filters);
    for (const key of Object.keys(rest)) {
      if (key !== 'label' && key !== 'label!' && key !== 'all') throw invalid(`invalid filter '${key}'`);
    }
    const matches = volumeMatcher(new Map(Object.entries(rest).filter(([key]) => key !== 'all')), () => false);
    const deleted: string[] = [];
    let spaceReclaimed = 0;
    for (const { name } of store.list().filter(matches)) {
      await this.room.locks.run(name, async () => {
        const volume = store.get(name);
        if (!volume || volume.scope !== 'local' || (!volume.anonymous && !options.all) || store.users(name).length > 0) return;
        const size = await this.sizeOf(volume);
        try {
          await this.room.destroy(volume);
        } catch (error) {
          // One that cannot be removed keeps no other from it.
          this.log.warn('a volume could not be pruned', { volume: name, error: messageOf(error) });
          return;
        }
        deleted.push(name);
        spaceReclaimed += size;
      });
    }
    this.events.publish({ type: 'volume', action: 'prune', id: '', attributes: { reclaimed: String(spaceReclaimed) } });
    return { deleted, spaceReclaimed };
  }

  async reference(name: string, containerId: string): Promise<void> {
    await this.room.locks.run(name, async () => {
      this.room.store.addReference(this.room.known(name).name, containerId);
    });
  }

  async dereference(name: string, containerId: string): Promise<void> {
    await this.room.locks.run(name, async () => this.room.store.removeReference(name, containerId));
  }

  async mount(name: string, containerId: string, use?: VolumeUse): Promise<string> {
    const { room } = this;
    return room.locks.run(name, async () => {
      const volume = room.known(name);
      const users = this.mounted.get(name) ?? new Map<string, { path: string; count: number }>();
      const mounted = users.get(containerId);
      if (mounted) {
        mounted.count++;
        return mounted.path;
      }
      this.mounted.set(name, users);
      // A container that outlived the last daemon has it still. Most drivers know, and would count it twice; one that may be away is
      // not even asked whether it does.
      const recorded = room.store.mountOf(name, containerId);
      let path = recorded ?? '';
      const open = path !== '' && room.isRemote(volume.driver) ? undefined : await room.open(volume.driver);
      if (open && (path === '' || open.has('volume-recount'))) {
        // A use whose end or beginning was never confirmed may still be counted there.
        if (recorded === '') await open.driver.unmount(name, containerId);
        // Before the call, so that one which was delivered and never answered is ended, too.
        room.store.putMount(name, containerId, '');
        path = checkedPath(await open.driver.mount(name, containerId), open.name, name);
        room.store.putMount(name, containerId, path);
      }
      users.set(containerId, { path, count: 1 });
      room.publish(volume, 'mount', {
        container: containerId,
        ...(use ? { destination: use.destination, propagation: use.propagation, 'read/write': String(use.readWrite) } : {}),
      });
      return path;
    });
  }

  async unmount(name: string, containerId: string): Promise<void> {
    const { room } = this;
    await room.locks.run(name, async () => {
      const volume = room.store.get(name);
      const users = this.mounted.get(name);
      const mounted = users?.get(containerId);
      if (!volume) return;
      if (mounted && --mounted.count > 0) return;
      // Also for a use that this process knows nothing of: it may be a former daemon's.
      if (!mounted && room.store.mountOf(name, containerId) === undefined) return;
      try {
        await (await room.open(volume.driver)).driver.unmount(name, containerId);
      } catch (error) {
        // Owed to a driver that is away. What was mounted may be gone when it is back: whoever mounts it next asks.
        room.store.putMount(name, containerId, '');
        users?.delete(containerId);
        throw error;
      }
      room.store.deleteMount(name, containerId);
      users?.delete(containerId);
      if (users?.size === 0) this.mounted.delete(name);
      if (mounted) room.publish(volume, 'unmount', { container: containerId });
    });
  }

  async fill(name: string, containerId: string, copy: (path: string) => Promise<unknown>): Promise<void> {
    await this.room.locks.run(name, async () => {
      const path = this.mounted.get(name)?.get(containerId)?.path;
      if (path === undefined) throw new EngineError('system', `volume ${name} is not mounted for ${containerId}`);
      // What a crash cut off, and whose driver was away until now.
      const half = this.journal.pending().filter(({ kind, subject }) => kind === 'volume.fill' && subject === name);
      for (const intent of half) {
        if (this.room.store.users(name).every((user) => user === containerId)) await this.content.empty(path);
        this.journal.end(intent);
      }
      if (!(await this.content.isEmpty(path))) return;
      const intent = this.journal.begin('volume.fill', name, { container: containerId });
      try {
        failpoint('volume.fill.1');
        await copy(path);
        failpoint('volume.fill.2');
      } catch (error) {
        await this.content.empty(path);
        throw error;
      } finally {
        this.journal.end(intent);
      }
    });
  }

  async usage(name: string): Promise<{ size: number; references: number }> {
    const volume = this.room.known(name);
    return { size: await this.sizeOf(volume), references: this.room.store.users(name).length };
  }

  async settle(containers: ReadonlySet<string>): Promise<void> {
    const { store } = this.room;
    const orphaned = new Set<string>();
    for (const [name, container] of store.allMounts()) {
      if (containers.has(container)) continue;
      await this.unmount(name, container).catch((error: unknown) => {
        this.log.warn('a volume that nobody uses could not be unmounted', { volume: name, error: messageOf(error) });
      });
    }
    for (const [name, container] of store.allReferences()) {
      if (containers.has(container)) continue;
      store.removeReference(name, container);
      orphaned.add(name);
    }
    for (const name of orphaned) {
      const volume = store.get(name);
      if (!volume?.anonymous || store.users(name).length > 0) continue;
      await this.remove(name, { force: true }).catch((error: unknown) => {
        this.log.warn('removing an orphaned volume failed', { volume: name, error: messageOf(error) });
      });
    }
  }

  clone = (name: string, request: CopyVolume): Promise<Volume> => this.copies.clone(name, request);
  snapshot = (name: string, request: CopyVolume): Promise<Volume> => this.copies.snapshot(name, request);
  rename = (name: string, to: string): Promise<Volume> => this.copies.rename(name, to);
  resize = (name: string, bytes: number): Promise<void> => this.copies.resize(name, bytes);
  exportFrom = (name: string, options: { freeze: boolean }): Promise<Readable> => this.copies.exportFrom(name, options);
  importInto = (name: string, archive: Readable): Promise<void> => this.copies.importInto(name, archive);
  thawAll = (): Promise<void> => this.copies.thawAll();
  useFreezer = (freezer: Freezer): void => this.copies.useFreezer(freezer);

  /** Names of the volumes of one driver. */
  ofDriver(driver: string): string[] {
    return this.room.store
      .list()
      .filter((volume) => volume.driver === driver)
      .map(({ name }) => name);
  }

  /** 0 for what is not a folder of this host. */
  private async sizeOf(volume: Volume): Promise<number> {
    try {
      const open = await this.room.open(volume.driver);
      if (open.has('volume-usage')) return (await (open.driver as unknown as VolumeUsage).usage(volume.name)).size;
      if (volume.driver !== 'local' || volume.mountpoint === '' || volume.options['type'] === 'nfs') return 0;
      return await this.host.files.treeSize(volume.mountpoint);
    } catch {
      return 0;
    }
  }
}
