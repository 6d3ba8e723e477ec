import type { UndoStack } from '../state/undo.js';
import type { MountPoint } from './container.js';
import { prepareImageMount } from './image-mounts.js';
import type { MountDraft } from './mount-requests.js';
import type { ContainerRoom } from './room.js';

/** A volume that does not exist yet is made; it, or an image, is held by the container from here on. Gives back the mount with its names. */
export async function holdMount(
  room: ContainerRoom,
  id: string,
  { point, volume }: MountDraft,
  driver: string,
  undo: UndoStack,
): Promise<MountPoint> {
  if (point.type === 'image') return prepareImageMount(room, id, point, driver, undo);
  if (point.type !== 'volume') return point;
  let held = point;
  if (volume) {
    const made = await room.volumes.create({ name: point.name, driver: point.driver, ...volume, container: id });
    if (point.anonymous) undo.push('remove an anonymous volume', () => room.volumes.remove(made.name, { force: true }));
    held = { ...point, name: made.name, driver: made.driver, source: made.mountpoint };
  } else {
    await room.volumes.reference(point.name, id);
  }
  undo.push('let go of a volume', () => room.volumes.dereference(held.name, id));
  return held;
}
