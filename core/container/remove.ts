import { conflict, isKind, messageOf } from '../contracts/errors.js';
import { failpoint } from '../state/failpoint.js';
import type { Container } from './container.js';
import { removeImages } from './image-mounts.js';
import { isRunning } from './list-filters.js';
import { logContainer } from './logs.js';
import { releaseContainer } from './release.js';
import type { ContainerRoom } from './room.js';
import { killContainer, untilEnded } from './stop.js';
import type { Supervision } from './supervision.js';

/** Removes a container; with `force` also one that runs. */
export async function removeContainer(
  room: ContainerRoom,
  supervision: Supervision,
  id: string,
  options: { readonly force: boolean; readonly volumes: boolean },
): Promise<void> {
  if (options.force) await forceStop(room, supervision, id);
  await room.locks.run(id, async () => {
    const container = room.store.byFullId(id);
    // A removal that came first did it.
    if (!container) return;
    const { status } = container.state;
    if (isRunning(status)) {
      const what =
        status === 'paused' ? `paused and must be unpaused first` : `${status}: stop the container before removing or force remove`;
      throw conflict(`cannot remove container "/${container.name}": container is ${what}`);
    }
    await finishRemoval(room, container, options.volumes);
  });
}

async function forceStop(room: ContainerRoom, supervision: Supervision, id: string): Promise<void> {
  const armed = await room.locks.run(id, async () => {
    const container = room.store.byFullId(id);
    if (!container) return undefined;
    if (isRunning(container.state.status)) room.store.update(id, () => ({ manuallyStopped: true }));
    if (supervision.cancelRestart(id)) return undefined;
    const live = room.live.get(id);
    return live ? { container, live, ended: untilEnded(room, id, live) } : undefined;
  });
  if (armed) await killContainer(room, armed.container, armed.live, armed.ended);
}

/**
 * The removal itself; the caller holds the lock, and nothing runs. Every step can be repeated: the record says `removing` from the
 * first to the last, and whoever finds it so goes on. When a step fails the container is `dead` and can be removed again.
 */
export async function finishRemoval(room: ContainerRoom, container: Container, volumes: boolean): Promise<void> {
  const { id } = container;
  // One that removes itself is removed again when a power cut makes it come back.
  const durable = !container.hostConfig.autoRemove;
  const withVolumes = volumes || container.removesVolumes === true;
  await room.commitAndWait(durable, () =>
    room.store.update(id, ({ state }) => ({ state: { ...state, status: 'removing' }, ...(withVolumes ? { removesVolumes: true } : {}) })),
  );
  failpoint('container.remove.1');
  try {
    if (!room.released.has(id) && !(await releaseContainer(room, container)))
      throw new Error('not everything that the container used could be released');
    failpoint('container.remove.2');
    await removeImages(room, container);
    await settled(room.layers.removeWritable(id), removeFolder(room, container));
    failpoint('container.remove.3');
    await letGoOfVolumes(room, container, withVolumes);
    failpoint('container.remove.4');
  } catch (error) {
    room.store.updateState(id, { status: 'dead', error: messageOf(error) });
    throw error;
  }
  // A power cut brings back at most a record that says `removing`, and the next start goes on from there.
  room.commit(false, () => room.store.delete(id));
  room.released.delete(id);
  room.publish(container, 'destroy');
  room.live.removed(id, { exitCode: container.state.exitCode, error: undefined });
}

/** Its log, which may lie elsewhere, and then all that is kept of it beside the layer. */
async function removeFolder(room: ContainerRoom, container: Container): Promise<void> {
  const log = await room.drivers.get('log', container.hostConfig.logDriver);
  await log.driver.remove(logContainer(room, container));
  await room.host.files.removeTree(room.paths.folder(container.id));
}

/** Each goes on when another fails; nothing is under way any more when this fails. */
async function settled(...steps: readonly Promise<unknown>[]): Promise<void> {
  for (const step of await Promise.allSettled(steps)) if (step.status === 'rejected') throw step.reason;
}

async function letGoOfVolumes(room: ContainerRoom, container: Container, remove: boolean): Promise<void> {
  for (const point of container.mounts) {
    if (point.type !== 'volume') continue;
    await room.volumes.dereference(point.name, container.id);
    if (!remove || !point.anonymous) continue;
    try {
      await room.volumes.remove(point.name, { force: true });
    } catch (error) {
      // Another container took it over with --volumes-from.
      if (!isKind(error, 'conflict')) throw error;
    }
  }
}
