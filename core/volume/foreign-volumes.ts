import { messageOf } from '../contracts/errors.js';
import type { VolumeInfo } from '../contracts/volume.js';
import type { DriverRegistry } from '../extension/driver-registry.js';
import { noSuchVolume } from './volume-room.js';
import type { VolumeStore } from './volume-store.js';
import type { Volume } from './volumes.js';

/** How long a list waits for a driver's answer before it goes without, in milliseconds. The driver's own call goes on. */
const PATIENCE = 800;

/** Volumes that a driver has and nobody made here: made with another engine, or by the driver's own tools. */
export class ForeignVolumes {
  constructor(
    private readonly drivers: DriverRegistry,
    private readonly store: VolumeStore,
  ) {}

  /**
   * Those of all drivers, asked together, and where a driver says that those are which the records know without a place. What a
   * driver does not answer is a warning.
   */
  async list(): Promise<{ volumes: Volume[]; places: ReadonlyMap<string, string>; warnings: string[] }> {
    const { drivers, problems } = await this.drivers.all('volume');
    const volumes = new Map<string, Volume>();
    const places = new Map<string, string>();
    const warnings = [...problems];
    await Promise.all(
      drivers.map(async ({ name: driverName, driver, has }) => {
        if (has('volume-private')) return;
        try {
          for (const info of await within(PATIENCE, driver.list())) {
            // Of two drivers with a volume of one name, the one that answered first has it; a record comes before all.
            const known = this.store.get(info.name);
            if (known?.mountpoint === '' && known.driver === driverName) places.set(info.name, info.mountpoint);
            if (known || volumes.has(info.name)) continue;
            volumes.set(info.name, foreign(info, driverName, driver.scope));
          }
        } catch (error) {
          warnings.push(`list ${driverName}: ${messageOf(error)}`);
        }
      }),
    );
    return { volumes: [...volumes.values()], places, warnings };
  }

  /** The driver that has a volume of this name. `not-found` when none says so in time. */
  async find(name: string): Promise<Volume> {
    const { drivers } = await this.drivers.all('volume');
    const asked = drivers
      .filter(({ has }) => !has('volume-private'))
      .map(async ({ name: driverName, driver }) => foreign(await driver.get(name), driverName, driver.scope));
    return within(PATIENCE, Promise.any(asked)).catch((error: unknown) => {
      throw Object.assign(noSuchVolume(name), { cause: error });
    });
  }
}

const foreign = (info: VolumeInfo, driver: string, scope: Volume['scope']): Volume => ({
  name: info.name,
  driver,
  created: info.createdAt,
  labels: {},
  options: {},
  scope,
  mountpoint: info.mountpoint,
  anonymous: false,
});

async function within<T>(milliseconds: number, answer: Promise<T>): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error(`no answer within ${milliseconds} ms`)), milliseconds);
  answer.catch(() => undefined);
  try {
    return await Promise.race([answer, late]);
  } finally {
    clearTimeout(timer);
  }
}
