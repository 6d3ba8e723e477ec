import type { ContainerView, ListContainers } from './containers.js';
import { listMatcher } from './list-filters.js';
import type { ContainerRoom } from './room.js';
import { viewsOf, withSize } from './view.js';

/** Newest first. Takes no lock; only sizes, when asked for, touch the disk. */
export async function listContainers(room: ContainerRoom, options: ListContainers): Promise<ContainerView[]> {
  const descendants = await descendantsOf(room, options.filters.get('ancestor') ?? []);
  const matches = listMatcher(options, {
    find: (name) => room.store.get(name),
    endpoints: (id) => room.networks.endpointsOf(id),
    networkId: (name) => room.networks.find(name)?.id,
    descendants: (image) => descendants.get(image) ?? new Set(),
  });
  let containers = room.store.list().filter(matches);
  if (options.limit > 0) containers = containers.slice(0, options.limit);
  const views = viewsOf(room, containers);
  return options.size ? Promise.all(views.map((view) => withSize(room, view))) : views;
}

/** An image's descendants have its layers at their bottom. */
async function descendantsOf(room: ContainerRoom, names: readonly string[]): Promise<Map<string, Set<string>>> {
  const result = new Map<string, Set<string>>();
  if (names.length === 0) return result;
  const images = await room.images.list({ all: true, filters: new Map() });
  for (const name of names) {
    const ancestor = room.images.find(name);
    if (!ancestor) continue;
    const { id, diffIds } = ancestor;
    const below = images.filter((image) => diffIds.length > 0 && diffIds.every((diffId, index) => image.diffIds[index] === diffId));
    result.set(name, new Set([id, ...below.map((image) => image.id)]));
  }
  return result;
}
