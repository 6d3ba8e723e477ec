import { unavailable } from '../contracts/errors.js';
import type { GlobalAllocation, NetworkDriver } from '../contracts/network.js';
import { failpoint } from '../state/failpoint.js';
import { UndoStack } from '../state/undo.js';
import type { GlobalNetworks } from './global-networks.js';
import { driverConfig, type NetworkRoom } from './network-room.js';
import type { NetworkRecord } from './network-store.js';
import type { Network } from './networks.js';

/** Makes a network and writes its record. Nothing is left behind on failure. */
export async function make(room: NetworkRoom, network: Network, driver: NetworkDriver): Promise<Network> {
  const undo = new UndoStack(room.log);
  try {
    const needsAddresses = !network.configOnly && network.driver !== 'host' && network.driver !== 'null';
    const allocation = needsAddresses ? await room.addresses.allocate(network) : { ipv4: [], ipv6: [], pools: [], reserved: {} };
    let whole: Network = { ...network, ipv4: allocation.ipv4, ipv6: allocation.ipv6 };
    let record: NetworkRecord = { network: whole, pools: allocation.pools, reserved: allocation.reserved };
    undo.push('free the addresses', () => room.addresses.free(record));
    failpoint('network.create.allocated');
    const global = globalPartOf(driver, network);
    if (global) {
      undo.push('free what only one network may have', () => global.freeNetwork(whole.id));
      whole = { ...whole, options: await global.allocateNetwork(whole.id, driverConfig(whole)) };
      record = { ...record, network: whole };
    }
    if (!network.configOnly) {
      undo.push('delete the network', () => driver.deleteNetwork(network.id));
      await driver.createNetwork(whole.id, driverConfig(whole));
    }
    failpoint('network.create.made');
    if (network.scope === 'global') await globalOf(room).add(record);
    failpoint('network.create.shared');
    room.store.saveNetwork(record);
    room.networks.set(whole.id, record);
    room.names.putNetwork(whole);
    undo.dismiss();
    return whole;
  } finally {
    await undo.run();
  }
}

/** Takes a network away, the record last: what fails before is tried again. */
export async function unmake(room: NetworkRoom, record: NetworkRecord): Promise<void> {
  const { network } = record;
  const { driver } = await room.drivers.get('network', network.driver);
  // First: what nobody can join any more can be taken apart, and what a crash leaves of it is found by the next audit.
  if (network.scope === 'global') await globalOf(room).remove(record);
  failpoint('network.remove.shared');
  await driver.deleteNetwork(network.id);
  failpoint('network.remove.deleted');
  await globalPartOf(driver, network)?.freeNetwork(network.id);
  await room.addresses.free(record);
  room.store.removeNetwork(network.id);
  room.networks.delete(network.id);
  room.names.dropNetwork(network.id);
}

/** Networks of a global driver are in the cluster's store; without one such a driver does not open. */
function globalOf({ global }: NetworkRoom): GlobalNetworks {
  if (!global) throw unavailable('networks of several hosts need a cluster store');
  return global;
}

function globalPartOf(driver: NetworkDriver, { scope }: Network): GlobalAllocation | undefined {
  return scope === 'global' && 'allocateNetwork' in driver ? (driver as NetworkDriver & GlobalAllocation) : undefined;
}
