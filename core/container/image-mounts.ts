import { createHash } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { isKind } from '../contracts/errors.js';
import { isDigest } from '../contracts/ids.js';
import type { UndoStack } from '../state/undo.js';
import type { Container, MountPoint } from './container.js';
import type { ContainerRoom } from './room.js';

/**
 * Images mounted into containers. Each such mount is a layer of its own on top of the image's, which nobody writes to: so every
 * storage driver can show it, and the image's layers stay for as long as the container does.
 */
const layerOf = (containerId: string, { destination }: MountPoint): string =>
  createHash('sha256').update(`${containerId} image ${destination}`).digest('hex');

const imagePoints = ({ mounts }: Pick<Container, 'mounts'>): MountPoint[] => mounts.filter(({ type }) => type === 'image');

/** Names of all layers that a container has: its own, and one for each image that is mounted in it. */
export const layersOf = (container: Pick<Container, 'id' | 'mounts'>): string[] => [
  container.id,
  ...imagePoints(container).map((point) => layerOf(container.id, point)),
];

/** Whether a container has an image mounted. */
export const mountsImage = (container: Container, imageId: string): boolean => imagePoints(container).some(({ name }) => name === imageId);

/** Holds the image of a mount for a container that is being made; gives back the mount with the image's id. */
export async function prepareImageMount(
  room: ContainerRoom,
  containerId: string,
  point: MountPoint,
  driver: string,
  undo: UndoStack,
): Promise<MountPoint> {
  // A container whose mounts are taken over names the image by its id.
  const image = room.images.resolve(isDigest(point.name) ? point.name : point.source);
  const layer = layerOf(containerId, point);
  undo.push('remove the layer of a mounted image', () => room.layers.removeWritable(layer));
  await room.layers.createWritable(layer, driver, room.images.layersOf(image), { volatile: true, image: image.id });
  return { ...point, name: image.id };
}

/** Shows an image at `place`, a folder in the bundle that is made. */
export async function mountImage(
  room: ContainerRoom,
  container: Container,
  point: MountPoint,
  place: string,
  undo: UndoStack,
): Promise<string> {
  const layer = layerOf(container.id, point);
  await mkdir(place, { recursive: true, mode: 0o700 });
  const mounts = await room.layers.acquireWritable(layer);
  undo.push('release the layer of a mounted image', () => room.layers.releaseWritable(layer));
  for (const mount of mounts) {
    await room.host.files.mount(mount, place);
    undo.push('unmount an image', () => room.host.files.unmount(place));
  }
  return place;
}

export async function releaseImages(room: ContainerRoom, container: Container): Promise<void> {
  for (const point of imagePoints(container)) await releaseImage(room, container.id, point);
}

export async function removeImage(room: ContainerRoom, containerId: string, point: MountPoint): Promise<void> {
  await releaseImage(room, containerId, point);
  await room.layers.removeWritable(layerOf(containerId, point));
}

/** What is not acquired, or gone, needs no release. */
async function releaseImage(room: ContainerRoom, containerId: string, point: MountPoint): Promise<void> {
  await room.layers.releaseWritable(layerOf(containerId, point)).catch((error: unknown) => {
    if (!isKind(error, 'not-found')) throw error;
  });
}

export async function removeImages(room: ContainerRoom, container: Container): Promise<void> {
  for (const point of imagePoints(container)) await removeImage(room, container.id, point);
}
