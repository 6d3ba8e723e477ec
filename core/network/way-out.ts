import { newId } from '../contracts/ids.js';
import { WAY_OUT } from './endpoint.js';
import { make } from './making.js';
import { putIn, takeOut } from './membership.js';
import type { NetworkRoom } from './network-room.js';
import type { EndpointRecord, NetworkRecord } from './network-store.js';
import type { JoinRequest, Network } from './networks.js';
import type { Sandbox } from './sandbox.js';

/** Any other gateway is preferred. */
const LOWEST_PRIORITY = -(2 ** 31);

/**
 * Gives a sandbox a way out when its networks have none though they are not internal, and takes it away when it is needed no more. It
 * is an endpoint on a bridge network of this host on which nobody reaches anybody; ports are published there.
 */
export async function adjustWayOut(room: NetworkRoom, sandbox: Sandbox, request: JoinRequest): Promise<void> {
  const present = sandbox.endpoints.find(({ state }) => state.networkName === WAY_OUT);
  const wanted = await anyAsync(sandbox.endpoints, (endpoint) => lacksWayOut(room, endpoint));
  if (present && !wanted) return takeOut(room, sandbox, present, true);
  if (present || !wanted || sandbox.reachesOutside()) return;
  await putIn(room, sandbox, await networkOf(room), {
    ...request,
    aliases: [],
    links: [],
    ipv4Address: '',
    ipv6Address: '',
    linkLocalAddresses: [],
    macAddress: '',
    driverOptions: {},
    gatewayPriority: LOWEST_PRIORITY,
  });
}

/** The same after a network was left: what is known of the container is in what it was on. */
export async function adjustAfterLeaving(room: NetworkRoom, sandbox: Sandbox, left: EndpointRecord): Promise<void> {
  const { containerId, containerName, hostname, domainname } = left;
  await adjustWayOut(room, sandbox, {
    containerId,
    containerName,
    hostname,
    domainname,
    aliases: [],
    links: [],
    ipv4Address: '',
    ipv6Address: '',
    linkLocalAddresses: [],
    macAddress: '',
    driverOptions: {},
    gatewayPriority: LOWEST_PRIORITY,
    ports: [],
  });
}

async function lacksWayOut(room: NetworkRoom, { state, lacksWayOut: said }: EndpointRecord): Promise<boolean> {
  const network = room.networks.get(state.networkId)?.network;
  if (!network || network.internal || said === false) return false;
  return (await room.drivers.get('network', network.driver)).has('gateway-network');
}

async function anyAsync<T>(items: readonly T[], test: (item: T) => Promise<boolean>): Promise<boolean> {
  for (const item of items) if (await test(item)) return true;
  return false;
}

/** Made with the first sandbox that needs it. Two at the same time wait for one making. */
async function networkOf(room: NetworkRoom): Promise<NetworkRecord> {
  room.wayOut ??= (async () => {
    const there = room.byName(WAY_OUT);
    if (there) return there;
    const { driver } = await room.drivers.get('network', 'bridge');
    const { id } = await make(room, wayOutNetwork(), driver);
    return room.lookUp(id);
  })().finally(() => (room.wayOut = undefined));
  return room.wayOut;
}

const wayOutNetwork = (): Network => ({
  id: newId(),
  created: new Date().toISOString(),
  name: WAY_OUT,
  driver: 'bridge',
  scope: 'local',
  enableIpv4: true,
  enableIpv6: false,
  internal: false,
  attachable: false,
  ingress: false,
  configOnly: false,
  configFrom: '',
  ipam: { driver: 'default', options: {}, config: [] },
  options: { 'com.docker.network.bridge.enable_icc': 'false', 'com.docker.network.bridge.enable_ip_masquerade': 'true' },
  labels: {},
  ipv4: [],
  ipv6: [],
});
