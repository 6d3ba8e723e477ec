import { EngineError } from '../contracts/errors.js';
import type { Container, EndpointRequest } from './container.js';
import { checkEndpoint } from './create.js';
import { joinNetwork } from './joining.js';
import type { ContainerRoom } from './room.js';

const forbidden = (message: string): EngineError => new EngineError('forbidden', message);

/** The container's key for a network, however it was named at create. */
function keyOf(room: ContainerRoom, container: Container, networkId: string): string | undefined {
  return Object.keys(container.endpointRequests).find((key) => room.networks.find(key)?.id === networkId);
}

function refuseUnconnectable({ state, hostConfig }: Container): void {
  if (state.status === 'removing' || state.status === 'dead') {
    throw forbidden('container is marked for removal and cannot be connected or disconnected to the network');
  }
  if (hostConfig.networkMode.startsWith('container:')) {
    throw forbidden('container sharing network namespace with another container or host cannot be connected to any other network');
  }
}

/** The caller holds the container's lock. */
export async function connectNetwork(room: ContainerRoom, name: string, container: Container, request: EndpointRequest): Promise<void> {
  const network = room.networks.find(name);
  if (!network) throw new EngineError('not-found', `network ${name} not found`);
  refuseUnconnectable(container);
  const { id, hostConfig, endpointRequests } = container;
  if (network.name === 'host' || hostConfig.networkMode === 'host') {
    throw forbidden('container cannot be disconnected from host network or connected to host network');
  }
  if (keyOf(room, container, network.id) !== undefined) {
    throw forbidden(`endpoint with name ${container.name} already exists in network ${network.name}`);
  }
  if (Object.keys(endpointRequests).some((key) => key === 'none') || network.name === 'none') {
    throw forbidden('container cannot be connected to multiple networks with one of the networks in private (none) mode');
  }
  checkEndpoint(network.name, request);
  if (room.live.get(id)) {
    await joinNetwork(room, container, network.name, request, []);
    await refreshNameFiles(room, id);
  }
  room.store.update(id, (old) => ({ endpointRequests: { ...old.endpointRequests, [network.name]: request } }));
}

/** The caller holds the container's lock. */
export async function disconnectNetwork(
  room: ContainerRoom,
  name: string,
  container: Container,
  options: { force: boolean },
): Promise<void> {
  const network = room.networks.find(name);
  if (!network) throw new EngineError('not-found', `network ${name} not found`);
  if (!options.force) refuseUnconnectable(container);
  const { id } = container;
  if (network.name === 'host' && container.hostConfig.networkMode === 'host') {
    throw forbidden('container cannot be disconnected from host network or connected to host network');
  }
  const key = keyOf(room, container, network.id);
  if (key === undefined && !options.force) throw forbidden(`container ${id} is not connected to the network ${network.name}`);
  if (room.live.get(id) || options.force) {
    await room.networks.leave(network.id, id, { force: options.force });
    if (room.live.get(id)) await refreshNameFiles(room, id);
  }
  room.store.update(id, (old) => ({
    endpointRequests: Object.fromEntries(Object.entries(old.endpointRequests).filter(([other]) => other !== key)),
  }));
}

/** A running container's hosts and resolv.conf after its networks changed. */
export async function refreshNameFiles(room: ContainerRoom, id: string): Promise<void> {
  await room.paths.writeNameFiles(id, room.networks.nameFiles(id));
}
