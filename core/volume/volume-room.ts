import { EngineError, conflict, invalid, isKind, messageOf } from '../contracts/errors.js';
import type { VolumeInfo } from '../contracts/volume.js';
import type { DriverRegistry, OpenDriver } from '../extension/driver-registry.js';
import type { Database } from '../state/database.js';
import { failpoint } from '../state/failpoint.js';
import type { Journal } from '../state/journal.js';
import { KeyedLock } from '../state/keyed-lock.js';
import type { Events } from '../system/system.js';
import { VolumeStore } from './volume-store.js';
import type { Volume } from './volumes.js';

const NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]+$/;
const LONGEST_NAME = 255;
export const ANONYMOUS = 'com.docker.volume.anonymous';

export const noSuchVolume = (name: string): EngineError => new EngineError('not-found', `get ${name}: no such volume`);

/** A volume to be made, complete. */
export interface NewVolume {
  readonly name: string;
  readonly driver: string;
  readonly options: Readonly<Record<string, string>>;
  readonly labels: Readonly<Record<string, string>>;
  readonly anonymous?: boolean;
  /** A container that names it from the start. */
  readonly container?: string | undefined;
}

/** What the files of this room share: records, locks by name, drivers, and how a volume comes into being and goes. */
export class VolumeRoom {
  readonly store: VolumeStore;
  readonly locks = new KeyedLock();

  constructor(
    private readonly db: Database,
    private readonly journal: Journal,
    private readonly registry: DriverRegistry,
    private readonly events: Events,
  ) {
    this.store = new VolumeStore(db);
  }

  known(name: string): Volume {
    const volume = this.store.get(name);
    if (!volume) throw noSuchVolume(name);
    return volume;
  }

  /** Whether a driver's answers may take as long as another process likes. */
  isRemote(driver: string): boolean {
    return this.registry.isRemote('volume', driver);
  }

  async open(driver: string): Promise<OpenDriver<'volume'>> {
    try {
      return await this.registry.get('volume', driver);
    } catch (error) {
      if (isKind(error, 'not-found')) {
        // Docker's words for what nobody knows; one that is there and of another kind, or was left out of this build, has its own.
        const own = messageOf(error).startsWith(`plugin ${driver}: `) || this.registry.isLeftOut('volume', driver);
        const why = own ? messageOf(error) : `plugin "${driver}" not found`;
        throw new EngineError('not-found', `error looking up volume plugin ${driver}: ${why}`, { cause: error });
      }
      throw error;
    }
  }

  /** Makes a volume by `work`, records and announces it. The caller holds its lock and has seen that there is none. */
  async make(wanted: NewVolume, work: () => Promise<VolumeInfo | void>): Promise<Volume> {
    const { name, options, labels, container, anonymous = false } = wanted;
    this.checkName(name);
    const { driver } = await this.open(wanted.driver);
    const intent = this.journal.begin('volume.create', name, { driver: wanted.driver });
    try {
      failpoint('volume.create.1');
      const made = await work();
      failpoint('volume.create.2');
      const info = made ?? (await driver.get(name));
      const volume: Volume = {
        name,
        driver: wanted.driver,
        created: info.createdAt === '' ? new Date().toISOString() : info.createdAt,
        labels: anonymous ? { ...labels, [ANONYMOUS]: '' } : labels,
        options,
        scope: driver.scope,
        mountpoint: info.mountpoint,
        anonymous: anonymous || Object.hasOwn(labels, ANONYMOUS),
      };
      this.db.transaction(() => {
        this.store.put(volume);
        if (container !== undefined) this.store.addReference(name, container);
        this.journal.end(intent);
      });
      this.publish(volume, 'create');
      return volume;
    } catch (error) {
      this.journal.end(intent);
      const kind = error instanceof EngineError ? error.kind : 'system';
      throw new EngineError(kind, `create ${name}: ${messageOf(error)}`, { cause: error });
    }
  }

  /** Removes a volume and its record; the caller holds the lock. `force` forgets it also when its driver fails. */
  async destroy(volume: Volume, force = false): Promise<void> {
    const { name } = volume;
    const { driver } = await this.open(volume.driver);
    const intent = this.journal.begin('volume.remove', name, { driver: volume.driver });
    try {
      failpoint('volume.remove.1');
      await driver.remove(name);
      failpoint('volume.remove.2');
    } catch (error) {
      if (isKind(error, 'conflict')) {
        this.journal.end(intent);
        throw conflict(`remove ${name}: volume is in use`, error);
      }
      if (!force || volume.driver === 'local') {
        this.journal.end(intent);
        throw error;
      }
    }
    this.db.transaction(() => {
      this.store.delete(name);
      this.journal.end(intent);
    });
    this.publish(volume, 'destroy');
  }

  checkUnused({ name }: Volume, verb: string): void {
    const users = this.store.users(name);
    if (users.length > 0) throw conflict(`${verb} ${name}: volume is in use - [${users.join(', ')}]`);
  }

  checkName(name: string): void {
    if (NAME.test(name) && name.length <= LONGEST_NAME) return;
    if (name.length === 1) throw invalid(`create ${name}: volume name is too short, names should be at least two alphanumeric characters`);
    throw invalid(
      `create ${name}: "${name}" includes invalid characters for a local volume name, only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use absolute path`,
    );
  }

  publish(volume: Volume, action: string, attributes: Readonly<Record<string, string>> = {}): void {
    this.events.publish({ type: 'volume', action, id: volume.name, attributes: { driver: volume.driver, ...attributes } });
  }
}
