import { conflict, EngineError, invalid } from '../contracts/errors.js';
import type { JoinInfo, PortBinding, PublishedPort } from '../contracts/network.js';
import type { NetStep } from '../contracts/host-net.js';
import { newId } from '../contracts/ids.js';
import type { OpenDriver } from '../extension/driver-registry.js';
import { failpoint } from '../state/failpoint.js';
import { UndoStack } from '../state/undo.js';
import { configureLink, interfaceNameFor, isUserDefined, newState, WAY_OUT } from './endpoint.js';
import { namedEndpoint, type NetworkRoom } from './network-room.js';
import type { EndpointRecord, NetworkRecord } from './network-store.js';
import type { EndpointState, JoinRequest, Network } from './networks.js';
import { holdsNamespace, type Sandbox } from './sandbox.js';

/** Puts a container into a network: address, endpoint, link, ports, names. Undone whole on failure. */
export async function putIn(room: NetworkRoom, sandbox: Sandbox, record: NetworkRecord, request: JoinRequest): Promise<EndpointState> {
  const { network } = record;
  const open = await room.drivers.get('network', network.driver);
  const { driver } = open;
  const hostMode = sandbox.record.mode === 'host';
  if (hostMode === open.has('sandbox'))
    throw conflict(
      hostMode
        ? `container sharing the host's network cannot be connected to network ${network.name}`
        : `container with a network of its own cannot be connected to network ${network.name}`,
    );
  if (!isUserDefined(network)) {
    for (const link of request.links) {
      const target = (link.split(':')[0] ?? '').replace(/^\//, '');
      if (!room.endpointNamed(network.id, target)) throw invalid(`cannot link to a non running container: ${target.slice(0, 128)}`);
    }
  }
  const endpointId = newId();
  const undo = new UndoStack(room.log);
  try {
    const mac = await room.addresses.macFor(network, request.macAddress);
    const address = network.ipv4.length > 0 ? await room.addresses.lease(record, request.ipv4Address, false, mac) : '';
    undo.push('release the address', () => room.addresses.release(record, address));
    const addressV6 = network.ipv6.length > 0 ? await room.addresses.lease(record, request.ipv6Address, true, mac) : '';
    undo.push('release the IPv6 address', () => room.addresses.release(record, addressV6));
    let state = newState(network, endpointId, request, address, addressV6);
    undo.push('delete the endpoint', () => driver.deleteEndpoint(network.id, endpointId));
    const iface = {
      ...(address && { address }),
      ...(addressV6 && { addressV6 }),
      ...(mac && { mac }),
    };
    const made = await driver.createEndpoint(network.id, endpointId, iface, request.driverOptions, request.ports);
    state = { ...state, macAddress: made.mac ?? mac };
    const { containerId, containerName, hostname, domainname } = request;
    let endpoint: EndpointRecord = {
      containerId,
      containerName,
      hostname,
      domainname,
      state,
      interfaceName: '',
      routed: false,
      order: sandbox.nextOrder,
    };
    failpoint('network.join.addressed');
    room.store.saveEndpoint(endpoint, sandbox.saved ? undefined : sandbox.record);
    sandbox.saved = true;
    undo.push('forget the endpoint', () => room.store.removeEndpoint(endpointId));
    failpoint('network.join.recorded');

    const info = await driver.join(network.id, endpointId, sandbox.path, request.ports);
    undo.push('leave the network', () => driver.leave(network.id, endpointId));
    if (open.has('sandbox-link'))
      undo.push('delete the link', () => deleteSandboxLink(room, sandbox, [info.link?.srcName, endpoint.interfaceName]));
    failpoint('network.join.joined');
    endpoint = {
      ...endpoint,
      interfaceName: interfaceNameFor(sandbox, info, request.driverOptions),
      routed: info.gateway !== undefined && !info.disableGateway,
      routedV6: info.gatewayV6 !== undefined && !info.disableGateway,
      lacksWayOut: open.has('gateway-network') && !network.internal && !givesWayOut(info),
      state: { ...state, gateway: info.gateway ?? '', ipv6Gateway: info.gatewayV6 ?? '' },
    };
    sandbox.endpoints.push(endpoint);
    undo.push('forget the names', () => forgetNames(room, sandbox, endpointId));
    undo.push('put the default route back', () => room.host.net.configure(sandbox.path, sandbox.defaultRoutes()));
    undo.push('drop the endpoint', () => sandbox.drop(endpointId));
    await configureLink(
      room.host.net,
      sandbox,
      info,
      endpoint,
      request.linkLocalAddresses,
      carriesRoute(sandbox, endpointId) ? sandbox.defaultRoutes() : [],
    );
    failpoint('network.join.configured');
    endpoint = await publish(room, open, network, sandbox, endpoint, request);
    failpoint('network.join.published');
    room.store.saveEndpoint(endpoint, undefined);
    if (network.scope === 'global') {
      const announced = endpoint;
      undo.push('take the announcement back', () => room.global?.withdraw(announced));
      await room.global?.announce(announced);
    }
    serveNames(room, sandbox, network, open);
    room.names.putEndpoint(namedEndpoint(endpoint));
    await room.names.settled();
    undo.dismiss();
    return endpoint.state;
  } finally {
    await undo.run();
  }
}

/** A way out of the driver's own, or its word that there shall be none. */
const givesWayOut = ({ gateway, gatewayV6, disableGateway, routes }: JoinInfo): boolean =>
  disableGateway === true ||
  Boolean(gateway) ||
  Boolean(gatewayV6) ||
  routes.some(({ destination }) => /^(0\.0\.0\.0|::)\/0$/.test(destination));

/** Ports are published where the gateway is: a driver that leaves that to others is not asked. */
const carriesPorts = (open: OpenDriver<'network'>, { routed, routedV6 }: EndpointRecord): boolean =>
  !open.has('gateway-network') || routed || routedV6 === true;

async function publish(
  room: NetworkRoom,
  open: OpenDriver<'network'>,
  network: Network,
  sandbox: Sandbox,
  endpoint: EndpointRecord,
  request: JoinRequest,
): Promise<EndpointRecord> {
  if (request.ports.length === 0 || !open.has('publish') || !carriesPorts(open, endpoint)) return endpoint;
  try {
    const published = await open.driver.publish(network.id, endpoint.state.endpointId, request.ports);
    const whole = { ...endpoint, state: { ...endpoint.state, published } };
    sandbox.replace(whole);
    return whole;
  } catch (error) {
    if (!(error instanceof EngineError)) throw error;
    throw new EngineError(
      error.kind,
      `driver failed programming external connectivity on endpoint ${request.containerName} (${endpoint.state.endpointId}): ${error.message}`,
      { cause: error },
    );
  }
}

/** Deletes a link from within, under whichever of its names it has got so far, and waits until it is gone. */
async function deleteSandboxLink(room: NetworkRoom, sandbox: Sandbox, names: readonly (string | undefined)[]): Promise<void> {
  const steps = names.flatMap((name): NetStep[] => (name ? [{ op: 'delete-link', name }] : []));
  if (holdsNamespace(sandbox.path)) await room.host.net.configure(sandbox.path, steps);
}

/** Publishes other ports than before. What fails leaves those of before, in the kernel and in the record. */
export async function republish(
  room: NetworkRoom,
  sandbox: Sandbox,
  endpoint: EndpointRecord,
  network: Network,
  ports: readonly PortBinding[],
): Promise<readonly PublishedPort[]> {
  const open = await room.drivers.get('network', network.driver);
  const wayOut = sandbox.endpoints.find(({ state }) => state.networkName === WAY_OUT);
  const through = wayOut && room.networks.get(wayOut.state.networkId)?.network;
  if (open.has('gateway-network') && endpoint.lacksWayOut !== false && wayOut && through)
    return republish(room, sandbox, wayOut, through, ports);
  if (!open.has('publish') || !carriesPorts(open, endpoint))
    throw conflict(`network ${network.name} publishes no ports: its driver ${network.driver} has no such ability`);
  const published = await open.driver.publish(network.id, endpoint.state.endpointId, ports);
  failpoint('network.publish.published');
  const whole = { ...endpoint, state: { ...endpoint.state, published } };
  room.store.saveEndpoint(whole, undefined);
  sandbox.replace(whole);
  return published;
}

/** Leaves one network. `stays`: the container goes on, so its default route must be right afterwards. */
export async function takeOut(room: NetworkRoom, sandbox: Sandbox, endpoint: EndpointRecord, stays: boolean): Promise<void> {
  const { networkId, endpointId, ipAddress, globalIpv6Address } = endpoint.state;
  const record = room.networks.get(networkId);
  room.names.dropEndpoint(endpointId);
  if (record) {
    const open = await room.drivers.get('network', record.network.driver);
    const { driver } = open;
    await driver.unpublish(networkId, endpointId);
    failpoint('network.leave.unpublished');
    await driver.leave(networkId, endpointId);
    failpoint('network.leave.left');
    // Also before the sandbox ends: the kernel takes its time over that, and the next link with the address would meet this one.
    // A container that goes on may be connected again at once, and its next link gets the same name.
    if (stays || open.has('sandbox-link')) await deleteSandboxLink(room, sandbox, [endpoint.interfaceName]);
    await driver.deleteEndpoint(networkId, endpointId);
    failpoint('network.leave.deleted');
    if (record.network.scope === 'global') room.global?.withdraw(endpoint);
    await room.addresses.release(record, ipAddress);
    await room.addresses.release(record, globalIpv6Address);
  }
  const hadRoute = carriesRoute(sandbox, endpointId);
  if (stays) room.store.removeEndpoint(endpointId);
  sandbox.drop(endpointId);
  if (record) room.tell('disconnect', record.network, sandbox.record.containerId);
  if (stays && hadRoute) await room.host.net.configure(sandbox.path, sandbox.defaultRoutes());
  if (!stays || !room.names.serves(sandbox.id)) return;
  room.names.putSandbox(sandbox);
  await room.names.settled();
}

/** The embedded name server comes with the first network that has names, and stays until the sandbox ends. */
export function serveNames(room: NetworkRoom, sandbox: Sandbox, network: Network, driver: Pick<OpenDriver<'network'>, 'has'>): void {
  const wanted = sandbox.path !== '' && isUserDefined(network) && driver.has('service-discovery');
  if (wanted || room.names.serves(sandbox.id)) room.names.putSandbox(sandbox);
}

async function forgetNames(room: NetworkRoom, sandbox: Sandbox, endpointId: string): Promise<void> {
  room.names.dropEndpoint(endpointId);
  if (sandbox.endpoints.length === 0) room.names.dropSandbox(sandbox.id);
  else if (room.names.serves(sandbox.id)) room.names.putSandbox(sandbox);
  await room.names.settled();
}

const carriesRoute = (sandbox: Sandbox, endpointId: string): boolean =>
  [sandbox.gatewayEndpoint(), sandbox.gatewayEndpointV6()].some((endpoint) => endpoint?.state.endpointId === endpointId);
