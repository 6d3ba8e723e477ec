import { readFile } from 'node:fs/promises';
import { inject, injectable } from 'tsyringe';
import type { Host } from '../contracts/host.js';
import type { Logger } from '../contracts/manifest.js';
import type { DriverRegistry } from '../extension/driver-registry.js';
import type { Images } from '../image/images.js';
import type { Layers } from '../layer/layers.js';
import type { Networks } from '../network/networks.js';
import type { Database } from '../state/database.js';
import type { Journal } from '../state/journal.js';
import { KeyedLock } from '../state/keyed-lock.js';
import type { Settings } from '../system/settings.js';
import type { Events } from '../system/system.js';
import { Tokens } from '../tokens.js';
import type { Volumes } from '../volume/volumes.js';
import { DEFAULT_APPARMOR_PROFILE, loadDefaultAppArmorProfile } from './apparmor.js';
import { ContainerPaths } from './bundle.js';
import type { Container } from './container.js';
import { ContainerStore } from './container-store.js';
import { type HostFacts, readHostFacts } from './host-facts.js';
import { LiveContainers } from './live.js';
import type { SpecDefaults } from './spec.js';

/** What every file of this room works with: the services it stands on, and the state that containers and execs share. One for each daemon. */
@injectable()
export class ContainerRoom {
  readonly store: ContainerStore;
  readonly paths: ContainerPaths;
  readonly live = new LiveContainers();
  /** One operation at a time per container id. Never held while waiting for a process to end. */
  readonly locks = new KeyedLock();
  /** Probes of health checks since the daemon's start. */
  readonly probes = { made: 0, failed: 0 };
  /** Of these this daemon has released all that a start makes, and nothing was made since. */
  readonly released = new Set<string>();
  private known: HostFacts | undefined;
  private seccompProfile = '';
  private apparmorProfile = '';

  constructor(
    @inject(Tokens.Settings) readonly settings: Settings,
    @inject(Tokens.Log) readonly log: Logger,
    @inject(Tokens.Host) readonly host: Host,
    @inject(Tokens.Database) readonly db: Database,
    @inject(Tokens.Journal) readonly journal: Journal,
    @inject(Tokens.Drivers) readonly drivers: DriverRegistry,
    @inject(Tokens.Events) readonly events: Events,
    @inject(Tokens.Layers) readonly layers: Layers,
    @inject(Tokens.Images) readonly images: Images,
    @inject(Tokens.Networks) readonly networks: Networks,
    @inject(Tokens.Volumes) readonly volumes: Volumes,
  ) {
    this.store = new ContainerStore(db);
    this.paths = new ContainerPaths(settings);
  }

  /** Reads the records and what this host is. Before any other use. */
  async open(): Promise<void> {
    this.known = await readHostFacts();
    if (this.known.apparmor) {
      const failure = await loadDefaultAppArmorProfile(this.host.process);
      if (failure === undefined) this.apparmorProfile = DEFAULT_APPARMOR_PROFILE;
      else this.log.warn('containers run without an AppArmor profile', { error: failure });
    }
    const { seccompProfile } = this.settings;
    const named = seccompProfile === '' || seccompProfile === 'builtin' || seccompProfile === 'unconfined';
    this.seccompProfile = named ? (seccompProfile === 'unconfined' ? seccompProfile : '') : await readFile(seccompProfile, 'utf8');
    this.store.open();
  }

  get facts(): HostFacts {
    if (!this.known) throw new Error('the container room is not open');
    return this.known;
  }

  get specDefaults(): SpecDefaults {
    const { cgroupParent, noNewPrivileges, defaultUlimits } = this.settings;
    return {
      cgroupParent,
      noNewPrivileges,
      ulimits: defaultUlimits,
      seccompProfile: this.seccompProfile,
      apparmorProfile: this.apparmorProfile,
    };
  }

  /**
   * One transaction. Not `durable` it outlives this process but perhaps not a power cut, which saves the wait for the disk: for
   * what a reboot ends anyway, or what the next start of a daemon finds out without it.
   */
  commit<T>(durable: boolean, work: () => T): T {
    return durable ? this.db.transaction(work) : this.db.volatile(work);
  }

  /** The same, for who waits until it is on disk where it is to be `durable`: others need not wait with him, and those who do share one sync. */
  async commitAndWait<T>(durable: boolean, work: () => T): Promise<T> {
    return durable ? this.db.durable(work) : this.db.volatile(work);
  }

  /** An event of a container with the attributes that Docker gives it. */
  publish(container: Container, action: string, attributes: Readonly<Record<string, string>> = {}): void {
    this.events.publish({
      type: 'container',
      action,
      id: container.id,
      attributes: { ...container.config.labels, ...attributes, image: container.config.image, name: container.name },
    });
  }
}
