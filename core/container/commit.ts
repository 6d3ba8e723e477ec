import type { Digest } from '../contracts/ids.js';
import { familiarForm, parseReference } from '../content/reference.js';
import type { Container, ContainerConfig } from './container.js';
import type { CommitContainer } from './containers.js';
import type { ContainerRoom } from './room.js';
import { now } from './times.js';

/** Makes an image of a container: its image's layers, one more with what changed, and its configuration. */
export async function commitContainer(room: ContainerRoom, container: Container, request: CommitContainer): Promise<Digest> {
  const parent = room.images.resolve(container.imageId);
  const overridden: ContainerConfig = { ...container.config, ...request.config };
  const config = room.images.applyChanges(overridden, request.changes);
  const live = room.live.get(container.id);
  const pause = request.pause && live !== undefined && container.state.status === 'running';
  // Paused below the engine's own state: nothing but this commit shall see it so.
  if (pause) await live.task.pause();
  let id: Digest;
  try {
    id = await room.images.commit({
      parent,
      layer: await room.layers.writableDiff(container.id),
      config,
      history: {
        created: now(),
        createdBy: [container.path, ...container.args].join(' '),
        author: request.author,
        comment: request.comment,
        emptyLayer: false,
      },
      author: request.author,
      repository: request.repository,
      tag: request.tag,
    });
  } finally {
    if (pause) await live.task.resume();
  }
  const reference = request.repository === '' ? '' : familiarForm(parseReference(`${request.repository}:${request.tag || 'latest'}`));
  room.publish(container, 'commit', { comment: request.comment, imageID: id, imageRef: reference });
  return id;
}
