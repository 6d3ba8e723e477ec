import { isKind, messageOf } from '../contracts/errors.js';
import type { Container } from './container.js';
import { releaseImages } from './image-mounts.js';
import type { ContainerRoom } from './room.js';

/**
 * Takes away all that a start has made outside the container's record: mounts, networks, bundle. Repeatable, goes on after an
 * error, and also right after a crash, when nobody remembers what was there. The bundle goes last, after `others` too: while it is there
 * a daemon that starts anew comes here again. True when nothing is left.
 */
export async function releaseContainer(room: ContainerRoom, container: Container, others?: Promise<unknown>): Promise<boolean> {
  const { id } = container;
  let clean = true;
  const step = async (what: string, work: () => Promise<unknown>): Promise<void> => {
    try {
      await work();
    } catch (error) {
      // What is gone needs no release: a removal that was cut off comes this way again.
      if (isKind(error, 'not-found')) return;
      clean = false;
      room.log.warn('releasing a container: a step failed', { container: id, step: what, error: messageOf(error) });
    }
  };
  await Promise.all([
    step('leave the networks', () => room.networks.closeSandbox(id)),
    (async () => {
      await step('unmount', () => unmountBundle(room, id));
      await step('release the writable layer', () => room.layers.releaseWritable(id));
      await step('release mounted images', () => releaseImages(room, container));
      // Each mount of a volume is counted, also several of one.
      for (const { type, name } of container.mounts)
        if (type === 'volume') await step('unmount a volume', () => room.volumes.unmount(name, id));
    })(),
    others,
  ]);
  if (clean) await step('remove the bundle', () => room.host.files.removeTree(room.paths.bundle(id)));
  if (clean) room.released.add(id);
  return clean;
}

/** Everything mounted in a bundle, whatever it is. A mount that somebody still uses is taken out of sight as the last resort. */
async function unmountBundle(room: ContainerRoom, id: string): Promise<void> {
  const { files } = room.host;
  for (const { target } of files.mountsBelow(room.paths.bundle(id))) {
    try {
      await files.unmount(target);
    } catch (error) {
      room.log.warn('a mount is still in use, detaching it', { container: id, target, error: messageOf(error) });
      await files.unmount(target, true);
    }
  }
}
