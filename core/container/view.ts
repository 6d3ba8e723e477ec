import { apparmorProfileOf } from './apparmor.js';
import type { Container } from './container.js';
import type { ContainerView } from './containers.js';
import { logContainer } from './logs.js';
import type { ContainerRoom } from './room.js';

/** What image a name means now. A list asks once for each name. */
type ImageIds = (name: string) => string | undefined;

/** The containers of a list as they are shown, from memory. Where their files are comes with an inspect only. */
export function viewsOf(room: ContainerRoom, containers: readonly Container[]): ContainerView[] {
  const known = new Map<string, string | undefined>();
  const idOf = (name: string): string | undefined => {
    if (!known.has(name)) known.set(name, room.images.idOf(name));
    return known.get(name);
  };
  return containers.map((container) => viewOf(room, container, idOf));
}

function viewOf(room: ContainerRoom, container: Container, idOf: ImageIds): ContainerView {
  const { id } = container;
  const sandbox = room.networks.sandboxOf(id);
  return {
    container,
    endpoints: room.networks.endpointsOf(id),
    sandboxId: sandbox?.id ?? '',
    sandboxKey: sandbox?.path ?? '',
    logPath: '',
    hostnamePath: '',
    hostsPath: '',
    resolvConfPath: '',
    imageName: imageName(container, idOf),
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
  return {
    ...viewOf(room, container, (name) => room.images.idOf(name)),
    ...nameFilesOf(room, container),
    logPath: log?.driver.path(logContainer(room, container)) ?? '',
    graph: shown,
    apparmorProfile: apparmorProfileOf(container.hostConfig, room.facts, room.specDefaults.apparmorProfile),
  };
}

/** The files that say a container's names: its own, or those of the container whose network it shares. */
export function nameFilesOf(
  room: ContainerRoom,
  container: Container,
): Pick<ContainerView, 'hostnamePath' | 'hostsPath' | 'resolvConfPath'> {
  const { networkMode } = container.hostConfig;
  const shared = networkMode.startsWith('container:') ? room.store.find(networkMode.slice('container:'.length))?.id : undefined;
  const id = shared ?? container.id;
  return { hostnamePath: room.paths.hostname(id), hostsPath: room.paths.hosts(id), resolvConfPath: room.paths.resolvConf(id) };
}

/** What the user gave while it still means the same image, else the image's id. */
function imageName(container: Container, idOf: ImageIds): string {
  return idOf(container.config.image) === container.imageId ? container.config.image : container.imageId;
}

export async function withSize(room: ContainerRoom, view: ContainerView): Promise<ContainerView> {
  const { id, imageId } = view.container;
  const writable = await room.layers.writableUsage(id).catch(() => 0);
  return { ...view, size: { writable, rootFs: writable + (room.images.find(imageId)?.size ?? 0) } };
}
