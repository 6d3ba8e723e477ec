import { setTimeout as sleep } from 'node:timers/promises';
import { messageOf } from '../contracts/errors.js';
import type { NetworkRoom } from './network-room.js';
import type { EndpointRecord } from './network-store.js';

/** Waits between two tries to meet a driver that is away, in milliseconds. */
const FIRST_WAIT = 1_000;
const LONGEST_WAIT = 30_000;

/**
 * What a start of the daemon owes to drivers in other processes: their pools are asked for again where they want that, and endpoints
 * of containers that are no more are taken out. Goes on until each was met, however long it is away; the records stay until then.
 */
export async function meetRemoteDrivers(room: NetworkRoom, dead: readonly EndpointRecord[]): Promise<void> {
  const replays = [...room.networks.values()]
    .filter(({ network, pools }) => pools.length > 0 && room.drivers.isRemote('ipam', network.ipam.driver || 'default'))
    .map((record) => untilDone(room, `address manager ${record.network.ipam.driver}`, () => room.addresses.replay(record)));
  await Promise.all(replays);
  await Promise.all(dead.map((endpoint) => untilDone(room, `network driver of ${endpoint.state.networkName}`, () => bury(room, endpoint))));
}

async function bury(room: NetworkRoom, { state }: EndpointRecord): Promise<void> {
  const record = room.networks.get(state.networkId);
  if (record) {
    const { driver } = await room.drivers.get('network', record.network.driver);
    await driver.leave(state.networkId, state.endpointId);
    await driver.deleteEndpoint(state.networkId, state.endpointId);
    // Managers in this process hear in their audit what is still held; this one has none.
    if (room.drivers.isRemote('ipam', record.network.ipam.driver || 'default'))
      for (const address of [state.ipAddress, state.globalIpv6Address]) await room.addresses.release(record, address);
  }
  room.store.removeEndpoint(state.endpointId);
}

async function untilDone(room: NetworkRoom, who: string, work: () => Promise<void>): Promise<void> {
  for (let wait = FIRST_WAIT; !room.closed; wait = Math.min(wait * 2, LONGEST_WAIT)) {
    try {
      return await work();
    } catch (error) {
      room.log.warn('a driver is still owed something and is asked again', { driver: who, error: messageOf(error) });
      await sleep(wait, undefined, { ref: false });
    }
  }
}
