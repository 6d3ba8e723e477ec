import { readdir } from 'node:fs/promises';
import { inject, injectable } from 'tsyringe';
import { EngineError, conflict, invalid, isKind, messageOf } from '../contracts/errors.js';
import type { Host } from '../contracts/host.js';
import { newId } from '../contracts/ids.js';
import type { Logger } from '../contracts/manifest.js';
import type { VolumeDriver } from '../contracts/volume.js';
import type { DriverRegistry } from '../extension/driver-registry.js';
import type { Database } from '../state/database.js';
import { failpoint } from '../state/failpoint.js';
import type { Journal } from '../state/journal.js';
import { KeyedLock } from '../state/keyed-lock.js';
import type { Events } from '../system/system.js';
import { Tokens } from '../tokens.js';
import { volumeMatcher } from './volume-filters.js';
import { VolumeStore } from './volume-store.js';
import type { CreateVolumeRequest, Volume, VolumeFilters, VolumeUse, Volumes } from './volumes.js';

const NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]+$/;
const LONGEST_NAME = 255;
const ANONYMOUS = 'com.docker.volume.anonymous';

const noSuchVolume = (name: string): EngineError => new EngineError('not-found', `get ${name}: no such volume`);

/**
 * Volumes of every driver. A record here says that a volume is known; its content is the driver's. Who names a volume is
 * recorded, who has it mounted is counted: a driver sees the first mount and the last unmount of each user.
 */
@injectable()
export class VolumeService implements Volumes {
  private readonly store: VolumeStore;
  private readonly locks = new KeyedLock();
  /** Mounts by volume, then by container. */
  private readonly mounted = new Map<string, Map<string, { path: string; count: number }>>();

  constructor(
    @inject(Tokens.Database) private readonly db: Database,
    @inject(Tokens.Journal) private readonly journal: Journal,
    @inject(Tokens.Drivers) private readonly drivers: DriverRegistry,
    @inject(Tokens.Events) private readonly events: Events,
    @inject(Tokens.Host) private readonly host: Host,
    @inject(Tokens.Log) private readonly log: Logger,
  ) {
    this.store = new VolumeStore(db);
  }

  /** Reads the records and finishes removals and creations that a crash cut off. Before any other use. */
  async open(): Promise<void> {
    this.store.open();
    for (const intent of this.journal.pending()) {
      if (intent.kind !== 'volume.create' && intent.kind !== 'volume.remove') continue;
      const { driver } = intent.detail as { driver: string };
      try {
        if (intent.kind === 'volume.remove' || !this.store.get(intent.subject)) {
          await (await this.driver(driver)).remove(intent.subject);
          this.store.delete(intent.subject);
        }
        this.journal.end(intent);
      } catch (error) {
        this.log.warn('finishing with a volume failed', { volume: intent.subject, error: messageOf(error) });
      }
    }
  }

  async create(request: CreateVolumeRequest): Promise<Volume> {
    const anonymous = request.name === '';
    const name = anonymous ? newId() : request.name;
    const driverName = request.driver === '' ? 'local' : request.driver;
    checkName(name);
    return this.locks.run(name, async () => {
      const known = this.store.get(name);
      if (known) {
        // Other options for the same name are ignored, as every client of Docker's expects.
        if (known.driver === driverName) {
          if (request.container !== undefined) this.store.addReference(name, request.container);
          return known;
        }
        throw conflict(`create ${name}: conflict: volume name must be unique`);
      }
      const driver = await this.driver(driverName);
      const intent = this.journal.begin('volume.create', name, { driver: driverName });
      try {
        failpoint('volume.create.1');
        await driver.create(name, request.options);
        failpoint('volume.create.2');
        const info = await driver.get(name);
        const volume: Volume = {
          name,
          driver: driverName,
          created: info.createdAt === '' ? new Date().toISOString() : info.createdAt,
          labels: anonymous ? { ...request.labels, [ANONYMOUS]: '' } : request.labels,
          options: request.options,
          scope: driver.scope,
          mountpoint: info.mountpoint,
          anonymous: anonymous || Object.hasOwn(request.labels, ANONYMOUS),
        };
        this.db.transaction(() => {
          this.store.put(volume);
          if (request.container !== undefined) this.store.addReference(name, request.container);
          this.journal.end(intent);
        });
        this.publish(volume, 'create');
        return volume;
      } catch (error) {
        this.journal.end(intent);
        if (error instanceof EngineError && error.kind !== 'system')
          throw new EngineError(error.kind, `create ${name}: ${error.message}`, { cause: error });
        throw new EngineError('system', `create ${name}: ${messageOf(error)}`, { cause: error });
      }
    });
  }

  async list(filters: VolumeFilters): Promise<{ volumes: Volume[]; warnings: string[] }> {
    const matches = volumeMatcher(filters, (name) => this.store.users(name).length > 0);
    return { volumes: this.store.list().filter(matches), warnings: [] };
  }

  async inspect(name: string): Promise<Volume & { status?: Record<string, unknown> }> {
    const volume = this.known(name);
    const info = await (await this.driver(volume.driver)).get(name);
    return { ...volume, mountpoint: info.mountpoint, ...(info.status ? { status: info.status } : {}) };
  }

  async remove(name: string, options: { force: boolean }): Promise<void> {
    await this.locks.run(name, async () => {
      const volume = this.store.get(name);
      if (!volume) {
        if (options.force) return;
        throw noSuchVolume(name);
      }
      const users = this.store.users(name);
      if (users.length > 0) throw conflict(`remove ${name}: volume is in use - [${users.join(', ')}]`);
      await this.destroy(volume);
    });
  }

  async prune(filters: VolumeFilters, options: { all: boolean }): Promise<{ deleted: string[]; spaceReclaimed: number }> {
    const { dangling: _, ...rest } = Object.fromEntries(filters);
    for (const key of Object.keys(rest)) {
      if (key !== 'label' && key !== 'label!' && key !== 'all') throw invalid(`invalid filter '${key}'`);
    }
    const matches = volumeMatcher(new Map(Object.entries(rest).filter(([key]) => key !== 'all')), () => false);
    const deleted: string[] = [];
    let spaceReclaimed = 0;
    for (const { name } of this.store.list().filter(matches)) {
      await this.locks.run(name, async () => {
        const volume = this.store.get(name);
        if (!volume || volume.scope !== 'local' || (!volume.anonymous && !options.all) || this.store.users(name).length > 0) return;
        const size = await this.sizeOf(volume);
        await this.destroy(volume);
        deleted.push(name);
        spaceReclaimed += size;
      });
    }
    this.events.publish({ type: 'volume', action: 'prune', id: '', attributes: { reclaimed: String(spaceReclaimed) } });
    return { deleted, spaceReclaimed };
  }

  async reference(name: string, containerId: string): Promise<void> {
    await this.locks.run(name, async () => {
      this.store.addReference(this.known(name).name, containerId);
    });
  }

  async dereference(name: string, containerId: string): Promise<void> {
    await this.locks.run(name, async () => this.store.removeReference(name, containerId));
  }

  async mount(name: string, containerId: string, use?: VolumeUse): Promise<string> {
    return this.locks.run(name, async () => {
      const volume = this.known(name);
      const users = this.mounted.get(name) ?? new Map<string, { path: string; count: number }>();
      const mounted = users.get(containerId);
      if (mounted) {
        mounted.count++;
        return mounted.path;
      }
      const path = await (await this.driver(volume.driver)).mount(name, containerId);
      if (!path.startsWith('/')) {
        throw new EngineError('system', `volume driver ${volume.driver} gave no absolute path for ${name}`);
      }
      users.set(containerId, { path, count: 1 });
      this.mounted.set(name, users);
      this.publish(volume, 'mount', {
        container: containerId,
        ...(use ? { destination: use.destination, propagation: use.propagation, 'read/write': String(use.readWrite) } : {}),
      });
      return path;
    });
  }

  async unmount(name: string, containerId: string): Promise<void> {
    await this.locks.run(name, async () => {
      const volume = this.store.get(name);
      const users = this.mounted.get(name);
      const mounted = users?.get(containerId);
      if (!volume) return;
      if (mounted && --mounted.count > 0) return;
      // Also for a use that this process knows nothing of: it may be a former daemon's.
      await (await this.driver(volume.driver)).unmount(name, containerId);
      users?.delete(containerId);
      if (users?.size === 0) this.mounted.delete(name);
      if (mounted) this.publish(volume, 'unmount', { container: containerId });
    });
  }

  async isEmpty(name: string, containerId: string): Promise<boolean> {
    const path = this.mounted.get(name)?.get(containerId)?.path;
    if (path === undefined) throw new EngineError('system', `volume ${name} is not mounted for ${containerId}`);
    return (await readdir(path)).length === 0;
  }

  async usage(name: string): Promise<{ size: number; references: number }> {
    const volume = this.known(name);
    return { size: await this.sizeOf(volume), references: this.store.users(name).length };
  }

  async settle(containers: ReadonlySet<string>): Promise<void> {
    const orphaned = new Set<string>();
    for (const [name, container] of this.store.allReferences()) {
      if (containers.has(container)) continue;
      this.store.removeReference(name, container);
      orphaned.add(name);
    }
    for (const name of orphaned) {
      const volume = this.store.get(name);
      if (!volume?.anonymous || this.store.users(name).length > 0) continue;
      await this.remove(name, { force: true }).catch((error: unknown) => {
        this.log.warn('removing an orphaned volume failed', { volume: name, error: messageOf(error) });
      });
    }
  }

  /** The caller holds the lock. */
  private async destroy(volume: Volume): Promise<void> {
    const { name } = volume;
    const driver = await this.driver(volume.driver);
    const intent = this.journal.begin('volume.remove', name, { driver: volume.driver });
    try {
      failpoint('volume.remove.1');
      await driver.remove(name);
      failpoint('volume.remove.2');
      this.store.delete(name);
    } catch (error) {
      if (isKind(error, 'conflict')) throw conflict(`remove ${name}: volume is in use`, error);
      throw error;
    } finally {
      this.journal.end(intent);
    }
    this.publish(volume, 'destroy');
  }

  private known(name: string): Volume {
    const volume = this.store.get(name);
    if (!volume) throw noSuchVolume(name);
    return volume;
  }

  private async driver(name: string): Promise<VolumeDriver> {
    try {
      return (await this.drivers.get('volume', name)).driver;
    } catch (error) {
      if (isKind(error, 'not-found')) {
        throw new EngineError('not-found', `error looking up volume plugin ${name}: plugin "${name}" not found`, { cause: error });
      }
      throw error;
    }
  }

  /** 0 for what is not a folder of this host. */
  private async sizeOf(volume: Volume): Promise<number> {
    if (volume.driver !== 'local' || volume.mountpoint === '' || volume.options['type'] === 'nfs') return 0;
    return this.host.files.treeSize(volume.mountpoint).catch(() => 0);
  }

  private publish(volume: Volume, action: string, attributes: Readonly<Record<string, string>> = {}): void {
    this.events.publish({ type: 'volume', action, id: volume.name, attributes: { driver: volume.driver, ...attributes } });
  }
}

function checkName(name: string): void {
  if (NAME.test(name) && name.length <= LONGEST_NAME) return;
  if (name.length === 1) throw invalid(`create ${name}: volume name is too short, names should be at least two alphanumeric characters`);
  throw invalid(
    `create ${name}: "${name}" includes invalid characters for a local volume name, only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use absolute path`,
  );
}
