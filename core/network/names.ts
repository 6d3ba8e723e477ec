import type { EndpointRecord } from './network-store.js';

/** Addresses by name and names by address, network by network. What the embedded DNS server answers from. */
export class NameTable {
  /** Network id to lower-case name to the endpoints that carry it. */
  private readonly byName = new Map<string, Map<string, EndpointRecord[]>>();
  private readonly byAddress = new Map<string, Map<string, EndpointRecord>>();

  add(record: EndpointRecord): void {
    const { networkId, dnsNames, ipAddress } = record.state;
    if (!ipAddress) return;
    const names = entry(this.byName, networkId, () => new Map<string, EndpointRecord[]>());
    for (const name of new Set(dnsNames.map((each) => each.toLowerCase()))) entry(names, name, () => []).push(record);
    entry(this.byAddress, networkId, () => new Map<string, EndpointRecord>()).set(ipAddress, record);
  }

  remove(record: EndpointRecord): void {
    const { networkId, endpointId, ipAddress, dnsNames } = record.state;
    const names = this.byName.get(networkId);
    for (const name of new Set(dnsNames.map((each) => each.toLowerCase()))) {
      const rest = (names?.get(name) ?? []).filter(({ state }) => state.endpointId !== endpointId);
      if (rest.length === 0) names?.delete(name);
      else names?.set(name, rest);
    }
    if (names?.size === 0) this.byName.delete(networkId);
    const addresses = this.byAddress.get(networkId);
    if (addresses?.get(ipAddress)?.state.endpointId === endpointId) addresses.delete(ipAddress);
    if (addresses?.size === 0) this.byAddress.delete(networkId);
  }

  /** IPv4 addresses of a name in one network. */
  addresses(networkId: string, name: string): string[] {
    return (this.byName.get(networkId)?.get(name.toLowerCase()) ?? []).map(({ state }) => state.ipAddress);
  }

  /** Whose address it is. */
  owner(networkId: string, address: string): EndpointRecord | undefined {
    return this.byAddress.get(networkId)?.get(address);
  }
}

function entry<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  let value = map.get(key);
  if (value === undefined) {
    value = make();
    map.set(key, value);
  }
  return value;
}
