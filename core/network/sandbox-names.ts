import { BlockList } from 'node:net';
import type { NameView } from './dns-answers.js';
import type { NameTable } from './names.js';
import type { Network } from './networks.js';
import type { Sandbox } from './sandbox.js';

/** What the containers of one sandbox's networks are called, as seen from that sandbox: their names there, and its own links. */
export class SandboxNames implements NameView {
  /** Where a list of addresses starts this time, so that clients that take the first one spread over all. */
  private turn = 0;

  constructor(
    private readonly sandbox: Sandbox,
    private readonly table: NameTable,
    private readonly networkOf: (id: string) => Network | undefined,
  ) {}

  addresses(name: string): readonly string[] | undefined {
    const lower = name.toLowerCase();
    for (const { state } of this.sandbox.endpoints) {
      const suffix = `.${state.networkName.toLowerCase()}`;
      const bare = lower.endsWith(suffix) ? lower.slice(0, -suffix.length) : lower;
      const found = this.within(state.networkId, bare, state.links);
      if (found.length > 0) return this.rotated(found);
    }
    return undefined;
  }

  owner(address: string): string | undefined | null {
    for (const { state } of this.sandbox.endpoints) {
      const owner = this.table.owner(state.networkId, address);
      if (owner) return `${owner.containerName}.${state.networkName}`;
      const network = this.networkOf(state.networkId);
      if (network && contains(network, address)) return null;
    }
    return undefined;
  }

  private within(networkId: string, name: string, links: readonly string[]): string[] {
    for (const link of links) {
      const [target = '', alias = target] = link.split(':');
      if (alias.toLowerCase() !== name) continue;
      const found = this.table.addresses(networkId, target.replace(/^\//, ''));
      if (found.length > 0) return found;
    }
    return this.table.addresses(networkId, name);
  }

  private rotated(addresses: readonly string[]): readonly string[] {
    if (addresses.length < 2) return addresses;
    const start = this.turn++ % addresses.length;
    return [...addresses.slice(start), ...addresses.slice(0, start)];
  }
}

function contains(network: Network, address: string): boolean {
  const list = new BlockList();
  for (const { pool } of network.ipv4) {
    const [base = '', prefix = '32'] = pool.split('/');
    list.addSubnet(base, Number(prefix));
  }
  // Octets above 255 make no address.
  return address.split('.').every((octet) => Number(octet) <= 255) && list.check(address);
}
