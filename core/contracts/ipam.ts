export interface PoolRequest {
  readonly addressSpace: string;
  /** CIDR; the driver chooses one that is free when absent. */
  readonly pool?: string;
  /** CIDR within `pool` from which addresses are given out. */
  readonly subPool?: string;
  readonly options: Readonly<Record<string, string>>;
  readonly v6: boolean;
  /** CIDRs that a chosen pool must not overlap: the host's routes and name servers. */
  readonly avoid: readonly string[];
}

export interface Pool {
  /** Names the pool in later calls; follows from its content, so that recovery finds it. */
  readonly poolId: string;
  /** CIDR in canonical form. */
  readonly pool: string;
  readonly data: Readonly<Record<string, string>>;
}

/**
 * An IPAM driver gives out pools and addresses. Leases are the driver's to keep on disk: an address given is
 * given until it is released, over restarts. Verbs follow Docker's IpamDriver plugin protocol.
 */
export interface IpamDriver {
  defaultAddressSpaces(): Promise<{ local: string; global: string }>;
  /** `forbidden` when it overlaps a pool that is in use, naming it; `unavailable` when none is left. */
  requestPool(request: PoolRequest): Promise<Pool>;
  /** Releasing what is absent succeeds. */
  releasePool(poolId: string): Promise<void>;
  /** An address with prefix length (`172.17.0.2/16`): `address` if given and free, else the next one. `conflict` when taken, `unavailable` when the pool is full. */
  requestAddress(poolId: string, address: string | undefined, options: Readonly<Record<string, string>>): Promise<string>;
  /** Releasing what is not leased succeeds. */
  releaseAddress(poolId: string, address: string): Promise<void>;
  close(): Promise<void>;
}
