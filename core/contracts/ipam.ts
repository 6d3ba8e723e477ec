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
  /** `forbidden` with `Pool overlaps with other one on this address space`; `unavailable` when none is left. */
  requestPool(request: PoolRequest): Promise<Pool>;
  /** Releasing what is absent succeeds. */
  releasePool(poolId: string): Promise<void>;
  /**
   * An address with prefix length (`172.17.0.2/16`): `address` if given and free, else the next one. `forbidden` with `Address already
   * in use` when taken, `invalid-parameter` when outside the pool, `unavailable` when the pool is full. With the option
   * `RequestAddressType` = `com.docker.network.gateway` and no address, the pool's first one if free.
   */
  requestAddress(poolId: string, address: string | undefined, options: Readonly<Record<string, string>>): Promise<string>;
  /** Releasing what is not leased succeeds. */
  releaseAddress(poolId: string, address: string): Promise<void>;
  close(): Promise<void>;
}

/** For drivers with the capability `lease-audit`. */
export interface LeaseAudit {
  /**
   * At daemon start: everything that the caller holds, by pool id. The driver gives up pools and addresses that are not
   * in it (a crash came between the lease and its record) and takes those that it does not have (a power cut took the lease).
   */
  audit(held: ReadonlyMap<string, readonly string[]>): Promise<void>;
}
