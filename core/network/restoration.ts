import { mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf } from '../contracts/errors.js';
import type { NetworkDriver } from '../contracts/network.js';
import { make, unmake } from './making.js';
import { serveNames } from './membership.js';
import { driverConfig, namedEndpoint, type NetworkRoom } from './network-room.js';
import type { EndpointRecord } from './network-store.js';
import type { Network } from './networks.js';
import { meetRemoteDrivers } from './remote-drivers.js';
import { defaultNetwork, hostNetworkRecord, noneNetworkRecord, sameWish } from './predefined.js';
import { holdsNamespace, Sandbox, sandboxPath } from './sandbox.js';

/**
 * Brings memory, drivers and kernel into line with the records, and the records with the containers that live. The order
 * matters: drivers hear of everything that is to stay before they settle, which takes away the rest.
 */
export async function restore(room: NetworkRoom, liveContainers: ReadonlySet<string>): Promise<void> {
  await mkdir(room.folder, { recursive: true, mode: 0o700 });
  room.store.open();
  for (const record of room.store.networks()) room.networks.set(record.network.id, record);
  const sandboxes = room.store.sandboxes().filter(({ containerId }) => liveContainers.has(containerId));
  for (const record of sandboxes) {
    const path = record.mode === 'host' ? '' : sandboxPath(room.folder, record.containerId);
    const sandbox = new Sandbox(record, path);
    sandbox.saved = true;
    room.sandboxes.set(record.containerId, sandbox);
  }
  const dead: EndpointRecord[] = [];
  for (const endpoint of room.store.endpoints()) {
    const sandbox = room.sandboxes.get(endpoint.containerId);
    if (sandbox && room.networks.has(endpoint.state.networkId)) sandbox.endpoints.push(endpoint);
    else dead.push(endpoint);
  }
  for (const sandbox of room.sandboxes.values()) sandbox.endpoints.sort((a, b) => a.order - b.order);

  // Before anything new is allocated: a crash may have left pools that no record knows.
  const local = [...room.networks.values()].filter(({ network }) => network.scope !== 'global');
  await room.addresses.audit(local, room.leases(), 'default');
  await ensurePredefined(room);
  await bringBackAll(room);
  for (const sandbox of room.sandboxes.values()) await bringBackEndpoints(room, sandbox);
  for (const endpoint of dead) if (!isAway(room, endpoint)) await bury(room, endpoint);
  await settleDrivers(room);
  void meetRemoteDrivers(
    room,
    dead.filter((endpoint) => isAway(room, endpoint)),
  );
  room.global?.restoreNames();
  // A sandbox that has no names yet is no reason for the daemon not to start: the name server is tried again.
  await room.names.adopt().catch((error: unknown) => room.log.error('the name server is away', { error: messageOf(error) }));

  room.global?.start();

  for (const { containerId } of room.store.sandboxes()) if (!room.sandboxes.has(containerId)) room.store.removeSandbox(containerId);
  const kept = new Set([...room.sandboxes.values()].map(({ path }) => path));
  for (const file of await readdir(room.folder)) {
    const path = join(room.folder, file);
    if (!kept.has(path)) await room.host.net.removeNamespace(path);
  }
}

async function ensurePredefined(room: NetworkRoom): Promise<void> {
  for (const wanted of [hostNetworkRecord(), noneNetworkRecord()])
    if (!room.byName(wanted.name)) {
      const record = { network: wanted, pools: [], reserved: {} };
      room.store.saveNetwork(record);
      room.networks.set(wanted.id, record);
    }
  const kept = room.byName('bridge');
  const used = kept !== undefined && room.usedNetworks().has(kept.network.id);
  if (room.settings.bridge === 'none') {
    if (kept && !used) await unmake(room, kept);
    return;
  }
  const wanted = defaultNetwork(room.settings);
  if (kept && sameWish(kept.network, wanted)) return;
  if (kept && used) {
    room.log.warn('the default network keeps its old settings while running containers use it', { network: kept.network.id });
    return;
  }
  if (kept) await unmake(room, kept);
  const { driver } = await room.drivers.get('network', 'bridge');
  // The same identity: containers were created with it.
  await make(room, kept ? { ...wanted, id: kept.network.id, created: kept.network.created } : wanted, driver);
}

/** Drivers beside each other; the networks of one all at once where it can, else in turn. */
async function bringBackAll(room: NetworkRoom): Promise<void> {
  const real = [...room.networks.values()].map(({ network }) => network).filter(({ configOnly }) => !configOnly);
  for (const network of real) room.names.putNetwork(network);
  const byDriver = Map.groupBy(real, ({ driver }) => driver);
  await Promise.all([...byDriver].map(([driver, networks]) => bringBackOf(room, driver, networks)));
}

async function bringBackOf(room: NetworkRoom, driverName: string, networks: readonly Network[]): Promise<void> {
  // A driver in another process keeps its networks, and may be away: the start waits for nobody.
  if (room.drivers.isRemote('network', driverName)) return;
  const failed = (network: Network, error: unknown): void => {
    if (network.name === 'bridge') throw error;
    room.log.error('a network could not be brought back', { network: network.name, error: messageOf(error) });
  };
  let driver: NetworkDriver;
  try {
    ({ driver } = await room.drivers.get('network', driverName));
  } catch (error) {
    for (const network of networks) failed(network, error);
    return;
  }
  if (driver.createNetworks) {
    const failures = await driver.createNetworks(new Map(networks.map((network) => [network.id, driverConfig(network)])));
    for (const network of networks) if (failures.has(network.id)) failed(network, failures.get(network.id));
    return;
  }
  for (const network of networks) {
    await driver.createNetwork(network.id, driverConfig(network)).catch((error: unknown) => failed(network, error));
  }
}

async function bringBackEndpoints(room: NetworkRoom, sandbox: Sandbox): Promise<void> {
  const { containerId } = sandbox.record;
  if (sandbox.path !== '' && !holdsNamespace(sandbox.path))
    room.log.warn('the network namespace of a running container is gone', { container: containerId, path: sandbox.path });
  for (const endpoint of sandbox.endpoints) {
    const { state } = endpoint;
    const network = room.networks.get(state.networkId)?.network;
    if (!network) continue;
    if (room.drivers.isRemote('network', network.driver)) {
      room.names.putEndpoint(namedEndpoint(endpoint));
      // What it can do is not asked of one that may be away: all that are remote leave names to the engine.
      serveNames(room, sandbox, network, { has: (capability) => capability === 'service-discovery' });
      continue;
    }
    try {
      const open = await room.drivers.get('network', network.driver);
      await open.driver.createEndpoint(
        network.id,
        state.endpointId,
        {
          ...(state.ipAddress && { address: `${state.ipAddress}/${state.ipPrefixLength}` }),
          ...(state.globalIpv6Address && { addressV6: `${state.globalIpv6Address}/${state.globalIpv6PrefixLength}` }),
          ...(state.macAddress && { mac: state.macAddress }),
        },
        state.driverOptions,
      );
      if (state.published.length > 0) await open.driver.publish(network.id, state.endpointId, state.published);
      room.names.putEndpoint(namedEndpoint(endpoint));
      serveNames(room, sandbox, network, open);
    } catch (error) {
      room.log.error('an endpoint could not be brought back', {
        container: containerId,
        network: network.name,
        error: messageOf(error),
      });
    }
  }
}

function isAway(room: NetworkRoom, { state }: EndpointRecord): boolean {
  const network = room.networks.get(state.networkId)?.network;
  return network !== undefined && room.drivers.isRemote('network', network.driver);
}

/** Takes away what an endpoint of a container that is no more has in the kernel; its address goes with the audit. */
async function bury(room: NetworkRoom, { state }: EndpointRecord): Promise<void> {
  const network = room.networks.get(state.networkId)?.network;
  if (network) {
    const { driver } = await room.drivers.get('network', network.driver);
    await driver.leave(network.id, state.endpointId);
    await driver.deleteEndpoint(network.id, state.endpointId);
  }
  room.store.removeEndpoint(state.endpointId);
}

async function settleDrivers(room: NetworkRoom): Promise<void> {
  const used = new Set(['bridge', ...[...room.networks.values()].map(({ network }) => network.driver)]);
  for (const name of used) {
    if (room.drivers.isRemote('network', name)) continue;
    try {
      await (await room.drivers.get('network', name)).driver.settle();
    } catch (error) {
      if (name === 'bridge' && room.settings.bridge !== 'none') throw error;
      room.log.error('a network driver did not settle', { driver: name, error: messageOf(error) });
    }
  }
}
