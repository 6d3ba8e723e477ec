import type { Maybe, Part } from './handlers.js';

export interface PoolRequest {
  readonly addressSpace: string;
  /** CIDR; the plugin chooses when absent. */
  readonly pool?: string;
  readonly subPool?: string;
  readonly options: Readonly<Record<string, string>>;
  readonly v6: boolean;
}

/** What the author of an address manager writes. What was given stays given, over restarts; releasing what is free succeeds. */
export interface IpamPlugin {
  /** The engine tells the MAC of the endpoint with each request for an address. */
  readonly requiresMac?: boolean;
  /** The engine asks for its pools and gateways again when it starts. */
  readonly requiresReplay?: boolean;
  defaultAddressSpaces(): Maybe<{ local: string; global: string }>;
  requestPool(request: PoolRequest): Maybe<{ poolId: string; pool: string; data?: Readonly<Record<string, string>> }>;
  releasePool(poolId: string): Maybe<void>;
  /** With prefix length. */
  requestAddress(poolId: string, address: string | undefined, options: Readonly<Record<string, string>>): Maybe<string>;
  releaseAddress(poolId: string, address: string): Maybe<void>;
}

export function ipamPart(plugin: IpamPlugin): Part {
  return {
    kind: 'IpamDriver',
    json: {
      'IpamDriver.GetCapabilities': async () => ({
        RequiresMACAddress: plugin.requiresMac ?? false,
        RequiresRequestReplay: plugin.requiresReplay ?? false,
      }),
      'IpamDriver.GetDefaultAddressSpaces': async () => {
        const { local, global } = await plugin.defaultAddressSpaces();
        return { LocalDefaultAddressSpace: local, GlobalDefaultAddressSpace: global };
      },
      'IpamDriver.RequestPool': async ({ AddressSpace, Pool, SubPool, Options, V6 }) => {
        const { poolId, pool, data } = await plugin.requestPool({
          addressSpace: AddressSpace,
          ...(Pool && { pool: Pool }),
          ...(SubPool && { subPool: SubPool }),
          options: Options ?? {},
          v6: V6,
        });
        return { PoolID: poolId, Pool: pool, Data: { ...data } };
      },
      'IpamDriver.ReleasePool': async ({ PoolID }) => {
        await plugin.releasePool(PoolID);
        return {};
      },
      'IpamDriver.RequestAddress': async ({ PoolID, Address, Options }) => ({
        Address: await plugin.requestAddress(PoolID, Address || undefined, Options ?? {}),
        Data: {},
      }),
      'IpamDriver.ReleaseAddress': async ({ PoolID, Address }) => {
        await plugin.releaseAddress(PoolID, Address);
        return {};
      },
    },
  };
}
