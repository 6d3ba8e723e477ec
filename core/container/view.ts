import type { Container } from './container.js';
import type { ContainerView } from './containers.js';
import { logContainer } from './logs.js';
import type { ContainerRoom } from './room.js';

/** A container as it is shown, from memory. Its log's path and its storage's details come with an inspect only. */
export function viewOf(room: ContainerRoom, container: Container): ContainerView {
  const { id } = container;
  const sandbox = room.networks.sandboxOf(id);
  const shared = container.hostConfig.networkMode.startsWith('container:')
    ? room.store.find(container.hostConfig.networkMode.slice('container:'.length))?.id
    : undefined;
  return {
    container,
    endpoints: room.networks.endpointsOf(id),
    sandboxId: sandbox?.id ?? '',
    sandboxKey: sandbox?.path ?? '',
    logPath: '',
    hostnamePath: room.paths.hostname(shared ?? id),
    hostsPath: room.paths.hosts(shared ?? id),
    resolvConfPath: room.paths.resolvConf(shared ?? id),
    imageName: imageName(room, container),
    graph: {},
  };
}

export async function detailedViewOf(room: ContainerRoom, container: Container): Promise<ContainerView> {
  const [log, graph] = await Promise.all([
    room.drivers.get('log', container.hostConfig.logDriver).catch(() => undefined),
    room.layers.writableMetadata(container.id).catch(() => ({})),
  ]);
  // A driver says what to mount; where it is mounted is this room's choice.
  const shown = 'MergedDir' in graph ? { ...graph, MergedDir: room.paths.rootfs(container.id) } : graph;
  return { ...viewOf(room, container), logPath: log?.driver.path(logContainer(room, container)) ?? '', graph: shown };
}

/** What the user gave while it still means the same image, else the image's id. */
function imageName(room: ContainerRoom, container: Container): string {
  return room.images.find(container.config.image)?.id === container.imageId ? container.config.image : container.imageId;
}

export async function withSize(room: ContainerRoom, view: ContainerView): Promise<ContainerView> {
  const { id, imageId } = view.container;
  const writable = await room.layers.writableUsage(id).catch(() => 0);
  return { ...view, size: { writable, rootFs: writable + (room.images.find(imageId)?.size ?? 0) } };
}
