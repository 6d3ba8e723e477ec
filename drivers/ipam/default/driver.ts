import { EngineError, invalid } from '@gantry/core/contracts/errors.js';
import type { IpamDriver, LeaseAudit, Pool, PoolRequest } from '@gantry/core/contracts/ipam.js';
import type { LeaseStore } from './lease-store.js';
import { AddressPool } from '../address-pool.js';
import { type DefaultPool, choosePool } from '../choose-pool.js';
import { formatRange, parseAddress, parseRange } from '../ranges.js';

const LOCAL = 'LocalDefault';
const GLOBAL = 'GlobalDefault';
const ADDRESS_TYPE = 'RequestAddressType';
const GATEWAY = 'com.docker.network.gateway';

/** Docker's choice: fifteen networks of 65534 addresses, then sixteen of 4094. */
export const dockerPools: readonly DefaultPool[] = [
  ...Array.from({ length: 15 }, (_, i) => ({ base: parseRange(`172.${17 + i}.0.0/16`), size: 16 })),
  { base: parseRange('192.168.0.0/16'), size: 20 },
];

/** Pools and addresses from memory, each change written through to {@link LeaseStore} before it is answered. */
export class DefaultIpam implements IpamDriver, LeaseAudit {
  private readonly pools = new Map<string, AddressPool>();

  constructor(
    private readonly store: LeaseStore,
    private readonly defaults: readonly DefaultPool[],
  ) {}

  load(): void {
    for (const stored of this.store.load()) {
      const pool = AddressPool.fromId(stored.id);
      for (const address of stored.leases) pool.lease(BigInt(address));
      this.pools.set(stored.id, pool);
    }
  }

  async defaultAddressSpaces(): Promise<{ local: string; global: string }> {
    return { local: LOCAL, global: GLOBAL };
  }

  async requestPool(request: PoolRequest): Promise<Pool> {
    const unknown = Object.keys(request.options)[0];
    if (unknown !== undefined) throw invalid(`unknown option of the default IPAM driver: ${unknown}`);
    const space = request.addressSpace || LOCAL;
    if (space !== LOCAL && space !== GLOBAL) throw invalid(`unknown address space: ${space}`);
    const taken = [...this.pools.values()].filter((pool) => pool.addressSpace === space).map((pool) => pool.range);
    const pool = new AddressPool(space, ...choosePool(request, taken, this.defaults));
    this.store.addPool(pool.id);
    this.pools.set(pool.id, pool);
    return { poolId: pool.id, pool: formatRange(pool.range), data: {} };
  }

  async releasePool(poolId: string): Promise<void> {
    this.store.removePool(poolId);
    this.pools.delete(poolId);
  }

  async requestAddress(poolId: string, address: string | undefined, options: Readonly<Record<string, string>>): Promise<string> {
    const pool = this.pools.get(poolId);
    if (!pool) throw new EngineError('not-found', `no such address pool: ${poolId}`);
    const value = pool.choose(address, options[ADDRESS_TYPE] === GATEWAY);
    this.store.addLease(poolId, value);
    pool.lease(value);
    if (!address) pool.advance(value);
    return pool.format(value);
  }

  async releaseAddress(poolId: string, address: string): Promise<void> {
    const pool = this.pools.get(poolId);
    if (!pool) return;
    const { value } = parseAddress(address.split('/')[0] ?? '');
    this.store.removeLease(poolId, value);
    pool.release(value);
  }

  async audit(held: ReadonlyMap<string, readonly string[]>): Promise<void> {
    for (const id of this.pools.keys()) if (!held.has(id)) await this.releasePool(id);
    for (const [id, addresses] of held) {
      let pool = this.pools.get(id);
      if (!pool) {
        pool = AddressPool.fromId(id);
        this.store.addPool(id);
        this.pools.set(id, pool);
      }
      const wanted = new Set(addresses.map((address) => parseAddress(address.split('/')[0] ?? '').value));
      for (const value of pool.leases) {
        if (wanted.has(value)) continue;
        this.store.removeLease(id, value);
        pool.release(value);
      }
      for (const value of wanted) {
        if (pool.leases.has(value)) continue;
        this.store.addLease(id, value);
        pool.lease(value);
      }
    }
  }

  async close(): Promise<void> {
    this.store.close();
  }
}
