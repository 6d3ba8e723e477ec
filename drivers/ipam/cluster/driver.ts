import type { ClusterStore } from '@gantry/core/contracts/cluster.js';
import { conflict, invalid, isKind, unavailable } from '@gantry/core/contracts/errors.js';
import type { IpamDriver, LeaseAudit, Pool, PoolRequest } from '@gantry/core/contracts/ipam.js';
import { AddressPool } from '../address-pool.js';
import { choosePool, type DefaultPool } from '../choose-pool.js';
import { formatAddress, formatRange, parseAddress, parseRange } from '../ranges.js';
import { drawUniqueLocal } from '../unique-local.js';

const SPACE = 'GlobalDefault';
const ADDRESS_TYPE = 'RequestAddressType';
const GATEWAY = 'com.docker.network.gateway';

/** Changes with every pool, so that of two engines that choose at the same time one chooses again. */
const EPOCH = 'ipam/epoch';
const POOLS = 'ipam/pools/';
const LEASES = 'ipam/leases/';
/** Of all pools for IPv6 without a subnet of their own, unless options say otherwise. */
const UNIQUE_LOCAL = 'ipam/unique-local';

/** How often an engine chooses again because another one was quicker. */
const ATTEMPTS = 50;

interface Lease {
  readonly member?: string;
  /** Held by the network, not by an engine. */
  readonly reserved?: boolean;
}

/**
 * Pools and addresses in the cluster's store. A pool and what is reserved in it stay until they are released; the address of an
 * endpoint is announced by its engine, and free again when that is gone.
 */
export class ClusterIpam implements IpamDriver, LeaseAudit {
  /** Keys of the addresses that this engine's endpoints have. */
  private readonly held = new Set<string>();
  /** Whether `held` has those of a former life. Until then an address of this engine in the store may be in use. */
  private audited = false;
  /** Addresses are chosen one after the other: the store cannot tell two endpoints of one engine apart. */
  private turn: Promise<unknown> = Promise.resolve();

  constructor(
    private readonly store: ClusterStore,
    private readonly defaults: readonly DefaultPool[],
  ) {}

  async defaultAddressSpaces(): Promise<{ local: string; global: string }> {
    return { local: SPACE, global: SPACE };
  }

  async requestPool(request: PoolRequest): Promise<Pool> {
    const unknown = Object.keys(request.options)[0];
    if (unknown !== undefined) throw invalid(`unknown option of the cluster IPAM driver: ${unknown}`);
    const defaults =
      request.v6 && !request.pool && !this.defaults.some(({ base }) => base.v6)
        ? [{ base: parseRange(await this.uniqueLocal()), size: 64 }]
        : this.defaults;
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const epoch = await this.store.get(EPOCH);
      const taken = [...(await this.store.list(POOLS)).keys()].map((key) => AddressPool.fromId(key.slice(POOLS.length)).range);
      const pool = new AddressPool(SPACE, ...choosePool(request, taken, defaults));
      const done = await this.store.commit(
        [epoch ? { key: EPOCH, revision: epoch.revision } : { key: EPOCH, is: 'absent' }],
        [
          { op: 'put', key: EPOCH, value: this.store.member },
          { op: 'put', key: POOLS + pool.id, value: JSON.stringify({ member: this.store.member }) },
        ],
      );
      if (done) return { poolId: pool.id, pool: formatRange(pool.range), data: {} };
    }
    throw unavailable('too many engines choose address pools at the same time');
  }

  /** With everything in it. */
  async releasePool(poolId: string): Promise<void> {
    await this.store.commit(
      [],
      [
        { op: 'delete', key: POOLS + poolId },
        { op: 'delete-prefix', prefix: `${LEASES}${poolId}/` },
      ],
    );
    for (const key of this.held) if (key.startsWith(`${LEASES}${poolId}/`)) this.forget(key);
  }

  requestAddress(poolId: string, address: string | undefined, options: Readonly<Record<string, string>>): Promise<string> {
    const mine = this.turn.then(() => this.choose(poolId, address, options));
    this.turn = mine.catch(() => undefined);
    return mine;
  }

  async releaseAddress(poolId: string, address: string): Promise<void> {
    const { v6, value } = parseAddress(address.split('/')[0] ?? '');
    const key = `${LEASES}${poolId}/${formatAddress(v6, value)}`;
    if (this.held.has(key)) this.forget(key);
  }

  /** `held`: of all networks that there are, as the store knows them. */
  async audit(held: ReadonlyMap<string, readonly string[]>): Promise<void> {
    const leases = this.store.entries(LEASES);
    for (const [poolId, addresses] of held)
      for (const address of addresses) {
        const key = `${LEASES}${poolId}/${address}`;
        if (this.held.has(key) || leaseOf(leases.get(key))?.reserved) continue;
        this.held.add(key);
        this.store.announceAgain(key, {});
      }
    this.audited = true;
    // What was allocated for a network that never came to be; those of other engines may still become one.
    for (const [key, text] of this.store.entries(POOLS)) {
      const poolId = key.slice(POOLS.length);
      if (!held.has(poolId) && leaseOf(text)?.member === this.store.member) await this.releasePool(poolId);
    }
  }

  async close(): Promise<void> {}

  /** A unique local /48 (RFC 4193), drawn by whichever engine needs it first, and the cluster's from then on. */
  private async uniqueLocal(): Promise<string> {
    const kept = await this.store.get(UNIQUE_LOCAL);
    if (kept) return kept.value;
    await this.store.commit([{ key: UNIQUE_LOCAL, is: 'absent' }], [{ op: 'put', key: UNIQUE_LOCAL, value: drawUniqueLocal() }]);
    return this.uniqueLocal();
  }

  private async choose(poolId: string, address: string | undefined, options: Readonly<Record<string, string>>): Promise<string> {
    const type = options[ADDRESS_TYPE];
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const pool = await this.read(poolId);
      const value = pool.choose(address, type === GATEWAY);
      const key = `${LEASES}${poolId}/${formatAddress(pool.range.v6, value)}`;
      if (await this.take(key, poolId, type !== undefined)) return pool.format(value);
    }
    throw unavailable(`too many engines choose addresses in pool ${poolId} at the same time`);
  }

  /** The pool as the store has it now; the search for a free address goes on after the one that was given out last. */
  private async read(poolId: string): Promise<AddressPool> {
    const pool = AddressPool.fromId(poolId);
    const prefix = `${LEASES}${poolId}/`;
    for (const [key, text] of await this.store.list(prefix)) {
      const { value } = parseAddress(key.slice(prefix.length));
      const lease = leaseOf(text);
      // A removal that is on its way.
      if (this.audited && lease?.member === this.store.member && !lease.reserved && !this.held.has(key)) continue;
      pool.lease(value);
      if (!lease?.reserved) pool.advance(value);
    }
    return pool;
  }

  /** Whether it was free. */
  private async take(key: string, poolId: string, reserved: boolean): Promise<boolean> {
    const exists = { key: POOLS + poolId, is: 'present' } as const;
    if (reserved) {
      const value = JSON.stringify({ member: this.store.member, reserved } satisfies Lease);
      return this.store.commit([exists, { key, is: 'absent' }], [{ op: 'put', key, value }]);
    }
    try {
      await this.store.announce(key, {}, [exists]);
    } catch (error) {
      if (isKind(error, 'conflict')) return false;
      if (isKind(error, 'not-found')) throw conflict(`address pool ${poolId} is gone: its network was removed`, error);
      throw error;
    }
    this.held.add(key);
    return true;
  }

  private forget(key: string): void {
    this.held.delete(key);
    this.store.withdraw(key);
  }
}

function leaseOf(text: string | undefined): Lease | undefined {
  return text === undefined ? undefined : (JSON.parse(text) as Lease);
}
