import { isKind } from '@gantry/core/contracts/errors.js';
import type { IpamDriver, Pool, PoolRequest } from '@gantry/core/contracts/ipam.js';
import type { Capability } from '@gantry/core/contracts/manifest.js';
import { misbehaved } from '../host/answers.js';
import { Unreached } from '../host/client.js';
import type { Plugin } from '../host/plugin.js';
import { overlaps } from './cidr.js';

/** Pools of the plugin's choice that were in the host's way before it is given up. */
const TRIES = 16;
const CIDR = /^[0-9a-fA-F:.]+\/\d{1,3}$/;

/** An address manager in another process. */
export class RemoteIpamDriver implements IpamDriver {
  constructor(private readonly plugin: Plugin) {}

  async defaultAddressSpaces(): Promise<{ local: string; global: string }> {
    const answer = await this.plugin.call('IpamDriver.GetDefaultAddressSpaces', undefined);
    return { local: answer.LocalDefaultAddressSpace ?? '', global: answer.GlobalDefaultAddressSpace ?? '' };
  }

  async requestPool(request: PoolRequest): Promise<Pool> {
    if (request.pool !== undefined || request.avoid.length === 0) return this.request(request);
    const passedOver: string[] = [];
    try {
      for (let tries = 0; tries < TRIES; tries++) {
        const found = await this.request(request);
        // A pool of everything is how drivers say that they do not care (DHCP).
        if (/^(0\.0\.0\.0|::)\/0$/.test(found.pool) || !request.avoid.some((other) => overlaps(found.pool, other))) return found;
        // Given back at once it would be offered again; one that is offered twice will be for ever.
        if (passedOver.includes(found.poolId)) break;
        passedOver.push(found.poolId);
      }
    } finally {
      for (const poolId of passedOver) await this.releasePool(poolId).catch(() => undefined);
    }
    throw misbehaved(this.plugin.name, 'IpamDriver.RequestPool', "every pool that it offers is in the way of this host's own networks");
  }

  async releasePool(poolId: string): Promise<void> {
    await this.release(() => this.plugin.call('IpamDriver.ReleasePool', { PoolID: poolId }));
  }

  async requestAddress(poolId: string, address: string | undefined, options: Readonly<Record<string, string>>): Promise<string> {
    const { Address } = await this.plugin.call('IpamDriver.RequestAddress', {
      PoolID: poolId,
      Address: address ?? '',
      Options: Object.keys(options).length > 0 ? { ...options } : null,
    });
    if (!Address) throw misbehaved(this.plugin.name, 'IpamDriver.RequestAddress', 'no address returned');
    if (!CIDR.test(Address))
      throw misbehaved(
        this.plugin.name,
        'IpamDriver.RequestAddress',
        `${JSON.stringify(Address.slice(0, 60))} is no address with prefix length`,
      );
    return Address;
  }

  async releaseAddress(poolId: string, address: string): Promise<void> {
    await this.release(() => this.plugin.call('IpamDriver.ReleaseAddress', { PoolID: poolId, Address: address }));
  }

  async close(): Promise<void> {}

  private async request({ addressSpace, pool, subPool, options, v6 }: PoolRequest): Promise<Pool> {
    const answer = await this.plugin.call('IpamDriver.RequestPool', {
      AddressSpace: addressSpace,
      Pool: pool ?? '',
      SubPool: subPool ?? '',
      Options: Object.keys(options).length > 0 ? { ...options } : null,
      V6: v6,
    });
    if (!answer.PoolID) throw misbehaved(this.plugin.name, 'IpamDriver.RequestPool', 'no PoolID');
    if (!CIDR.test(answer.Pool ?? ''))
      throw misbehaved(this.plugin.name, 'IpamDriver.RequestPool', `${JSON.stringify((answer.Pool ?? '').slice(0, 60))} is no CIDR`);
    return { poolId: answer.PoolID, pool: answer.Pool ?? '', data: answer.Data ?? {} };
  }

  private async release(act: () => Promise<unknown>): Promise<void> {
    try {
      await act();
    } catch (error) {
      if (error instanceof Unreached || !isKind(error, 'not-found')) throw error;
    }
  }
}

/** What the plugin wants to be asked; an error means nothing. */
export async function ipamCapabilities(plugin: Plugin): Promise<Capability[]> {
  try {
    const { RequiresMACAddress, RequiresRequestReplay } = await plugin.call('IpamDriver.GetCapabilities', undefined);
    return [...(RequiresMACAddress ? (['needs-mac'] as const) : []), ...(RequiresRequestReplay ? (['request-replay'] as const) : [])];
  } catch (error) {
    if (error instanceof Unreached) throw error;
    return [];
  }
}
