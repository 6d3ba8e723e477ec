import { createHash } from 'node:crypto';

/** Every name that the driver gives in the kernel; each follows from ids, so that what a crash left behind can be found. */
export class Names {
  constructor(private readonly instance: string) {}

  /** Of the nftables table in each family. */
  get table(): string {
    return `gantry-${this.instance}`;
  }

  bridge(networkId: string): string {
    return `br-${networkId.slice(0, 12)}`;
  }

  /** The end of an endpoint's pair that is a port of the bridge. Salted: another daemon may know the same ids from a copied data root. */
  veth(endpointId: string): string {
    return `veth${this.hash(endpointId).slice(0, 11)}`;
  }

  /** The other end's name until the engine gives it its own. */
  peer(endpointId: string): string {
    return `gp${this.hash(endpointId).slice(0, 12)}`;
  }

  /** Written on every link; the only thing that says a link is ours. */
  alias(id: string): string {
    return `gantry-${this.instance}:${id}`;
  }

  /** The id in an alias of ours, else undefined. */
  idOf(alias: string): string | undefined {
    const prefix = this.alias('');
    return alias.startsWith(prefix) ? alias.slice(prefix.length) : undefined;
  }

  /** A bridge's own address stays the same over restarts, so neighbours need not learn it again. */
  bridgeMac(networkId: string): string {
    return `02:42:${this.hash(networkId).slice(0, 8).match(/../g)?.join(':')}`;
  }

  private hash(id: string): string {
    return createHash('sha256').update(`${this.instance}/${id}`).digest('hex');
  }
}

/**
 * Follows from the IPv4 address where there is one: whoever gets the address next has the same, so no neighbour's cache is wrong.
 */
export const endpointMac = (address: string, endpointId: string): string =>
  address === ''
    ? `02:42:${endpointId.slice(0, 8).match(/../g)?.join(':')}`
    : `02:42:${address
        .split('.')
        .map((part) => Number(part).toString(16).padStart(2, '0'))
        .join(':')}`;
