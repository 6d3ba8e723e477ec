import { isIP } from 'node:net';
import type { ClusterChange } from '@gantry/core/contracts/cluster.js';
import type { Remote } from './segment.js';

export const ENDPOINTS = 'overlay/endpoints/';

/** By address: of two hosts that both believe to have it, after one was cut off for long, the store lets one announce it. */
export const endpointKey = (networkId: string, address: string): string => `${ENDPOINTS}${networkId}/${address}`;

/** What one change means for the network that it is in. */
export interface RemoteChange {
  readonly networkId: string;
  readonly put: readonly Remote[];
  readonly drop: readonly Remote[];
}

/** The endpoints on other hosts, by network, as the cluster's store tells of them. */
export class Remotes {
  private readonly networks = new Map<string, Map<string, Remote>>();

  constructor(private readonly ownHost: string) {}

  in(networkId: string): Remote[] {
    return [...(this.networks.get(networkId)?.values() ?? [])];
  }

  /** Takes changes in and returns what the kernel must be told, network by network. */
  take(changes: readonly ClusterChange[]): RemoteChange[] {
    const told = new Map<string, { put: Map<string, Remote>; drop: Map<string, Remote> }>();
    for (const { key, value } of changes) {
      const [networkId = '', place = ''] = key.slice(ENDPOINTS.length).split('/');
      let network = this.networks.get(networkId);
      if (!network) this.networks.set(networkId, (network = new Map<string, Remote>()));
      let change = told.get(networkId);
      if (!change) told.set(networkId, (change = { put: new Map<string, Remote>(), drop: new Map<string, Remote>() }));
      const before = network.get(place);
      const now = value === undefined ? undefined : parseRemote(value);
      network.delete(place);
      if (before) change.drop.set(before.mac, before);
      if (now && now.host !== this.ownHost) network.set(place, now);
      // An address that moved is with another endpoint already, and must not be dropped with the one that had it.
      for (const mac of [before?.mac, now?.mac]) {
        const holder = [...network.values()].findLast((remote) => remote.mac === mac);
        if (holder) change.put.set(holder.mac, holder);
        else if (mac !== undefined) change.put.delete(mac);
      }
      if (network.size === 0) this.networks.delete(networkId);
    }
    return [...told].map(([networkId, { put, drop }]) => ({ networkId, put: [...put.values()], drop: [...drop.values()] }));
  }
}

/** Another engine wrote it; what is not as it must be is left out. */
function parseRemote(text: string): Remote | undefined {
  const { mac, addresses, host } = Object(JSON.parse(text)) as Record<string, unknown>;
  if (typeof mac !== 'string' || !/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/.test(mac)) return undefined;
  if (typeof host !== 'string' || isIP(host) === 0 || !Array.isArray(addresses)) return undefined;
  if (!addresses.every((address): address is string => typeof address === 'string' && isIP(address) !== 0)) return undefined;
  return { mac, addresses, host };
}
