import { afterEach, beforeEach, describe } from 'vitest';
import { storageContainers } from './storage/containers.js';
import { storageDifferences } from './storage/differences.js';
import { storageFaults } from './storage/faults.js';
import { storageLayers } from './storage/layers.js';
import { storageLife } from './storage/life.js';
import { storageQuotas } from './storage/quotas.js';
import { StorageTrial, type StorageUnderTest } from './storage/trial.js';

export type { StorageUnderTest } from './storage/trial.js';

/** What every storage driver promises, over a real kernel: in tree, behind a socket or a third party's. Needs root. */
export function storageConformance(driverName: string, under: StorageUnderTest): void {
  describe(`${driverName} keeps the storage contract`, () => {
    describe('with one driver', () => {
      const trial = new StorageTrial(driverName, under);
      beforeEach(() => trial.open());
      afterEach(() => trial.close());
      storageLife(trial);
      storageLayers(trial);
      storageContainers(trial);
      storageDifferences(trial);
      storageQuotas(trial, under.capabilities);
    });
    storageFaults(driverName, under);
  });
}
