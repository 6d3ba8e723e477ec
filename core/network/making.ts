import type { NetworkDriver } from '../contracts/network.js';
import { failpoint } from '../state/failpoint.js';
import { UndoStack } from '../state/undo.js';
import { driverConfig, type NetworkRoom } from './network-room.js';
import type { NetworkRecord } from './network-store.js';
import type { Network } from './networks.js';

/** Makes a network and writes its record. Nothing is left behind on failure. */
export async function make(room: NetworkRoom, network: Network, driver: NetworkDriver): Promise<Network> {
  const undo = new UndoStack(room.log);
  try {
    const needsAddresses = network.driver !== 'host' && network.driver !== 'null';
    const allocation = needsAddresses ? await room.addresses.allocate(network) : { ipv4: [], ipv6: [], pools: [], reserved: {} };
    const whole = { ...network, ipv4: allocation.ipv4, ipv6: allocation.ipv6 };
    const record: NetworkRecord = { network: whole, pools: allocation.pools, reserved: allocation.reserved };
    undo.push('free the addresses', () => room.addresses.free(record));
    failpoint('network.create.allocated');
    undo.push('delete the network', () => driver.deleteNetwork(whole.id));
    await driver.createNetwork(whole.id, driverConfig(whole));
    failpoint('network.create.made');
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
  await driver.deleteNetwork(network.id);
  failpoint('network.remove.deleted');
  await room.addresses.free(record);
  room.store.removeNetwork(network.id);
  room.networks.delete(network.id);
  room.names.dropNetwork(network.id);
}
