import { conflict } from '../contracts/errors.js';
import type { MovedLayer } from '../layer/layers.js';
import type { Container } from './container.js';
import { isRunning } from './list-filters.js';
import type { ContainerRoom } from './room.js';

/** Moves a stopped container's files to another storage driver. The caller holds the lock. */
export async function migrateContainer(room: ContainerRoom, container: Container, driver: string): Promise<MovedLayer> {
  const { id, state, hostConfig, storageDriver } = container;
  if (isRunning(state.status)) throw conflict(`container ${id} is ${state.status}: stop it before its files are moved`);
  if (state.status === 'removing' || state.status === 'dead') throw conflict(`container ${id} is marked for removal`);
  const { storageOptions } = hostConfig;
  const moved = await room.layers
    .moveWritable(id, driver, () =>
      room.store.update(id, () => ({
        storageDriver: driver,
        // What was asked for at its creation would name another driver than the one that keeps it.
        hostConfig: 'driver' in storageOptions ? { ...hostConfig, storageOptions: { ...storageOptions, driver } } : hostConfig,
      })),
    )
    .catch((error: unknown) => {
      // The transaction may have failed after this record was changed in memory.
      room.store.remember(id, () => ({ storageDriver, hostConfig }));
      throw error;
    });
  room.publish(container, 'migrate', { from: storageDriver, to: driver });
  return moved;
}
