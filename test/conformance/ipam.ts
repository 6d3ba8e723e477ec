import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { IpamDriver, LeaseAudit, PoolRequest } from '@gantry/core/contracts/ipam.js';
import type { Capability, DriverEnv, DriverManifest } from '@gantry/core/contracts/manifest.js';
import { host } from '@gantry/native/index.js';
import { silentLog } from '../fakes/settings.js';

const GATEWAY = { RequestAddressType: 'com.docker.network.gateway' };

/**
 * What every IPAM driver promises. `again` opens the driver anew over what the former one kept, as a restart does; a remote
 * driver that lives on by itself may give the same one.
 */
export function ipamConformance(manifest: DriverManifest<'ipam'>): void {
  const has = (capability: Capability): boolean => manifest.capabilities.includes(capability);

  describe(`IPAM driver ${manifest.name} keeps the contract`, () => {
    let root: string;
    let env: DriverEnv;
    let driver: IpamDriver;
    let space: string;

    beforeEach(async () => {
      root = mkdtempSync(join(tmpdir(), 'gantry-ipam-'));
      env = { root, runRoot: root, instance: 'ipamconf', options: {}, host, log: silentLog };
      driver = await manifest.open(env);
      space = (await driver.defaultAddressSpaces()).local;
    });

    afterEach(async () => {
      await driver.close();
      rmSync(root, { recursive: true, force: true });
    });

    const again = async (): Promise<void> => {
      await driver.close();
      driver = await manifest.open(env);
    };
    const request = (own: Partial<PoolRequest>): PoolRequest => ({ addressSpace: space, options: {}, v6: false, avoid: [], ...own });
    const pool = async (own: Partial<PoolRequest>): Promise<string> => (await driver.requestPool(request(own))).poolId;

    for (const [v6, subnet, first, last, outside] of [
      [false, '10.77.1.0/24', '10.77.1.1/24', '10.77.1.254', '10.77.2.1'],
      [true, 'fd77:1::/64', 'fd77:1::1/64', 'fd77:1::ffff', 'fd77:2::1'],
    ] as const) {
      describe(v6 ? 'for IPv6' : 'for IPv4', () => {
        it('gives the pool that was asked for in canonical form, and none that overlaps it', async () => {
          const given = await driver.requestPool(request({ pool: subnet, v6 }));
          expect(given.pool).toBe(subnet);
          await expect(driver.requestPool(request({ pool: subnet, v6 }))).rejects.toMatchObject({ kind: 'forbidden' });
          await driver.releasePool(given.poolId);
          await driver.releasePool(given.poolId);
          expect((await driver.requestPool(request({ pool: subnet, v6 }))).poolId).toBe(given.poolId);
        });

        it('gives the first address to the gateway, and no address twice', async () => {
          const id = await pool({ pool: subnet, v6 });
          expect(await driver.requestAddress(id, undefined, GATEWAY)).toBe(first);
          const given = new Set<string>([first]);
          for (let i = 0; i < 50; i++) given.add(await driver.requestAddress(id, undefined, {}));
          expect(given.size).toBe(51);
        });

        it('gives the address that was asked for where it is free and in the pool', async () => {
          const id = await pool({ pool: subnet, v6 });
          expect(await driver.requestAddress(id, last, {})).toBe(`${last}/${subnet.split('/')[1]}`);
          await expect(driver.requestAddress(id, last, {})).rejects.toMatchObject({ kind: 'forbidden' });
          await expect(driver.requestAddress(id, outside, {})).rejects.toMatchObject({ kind: 'invalid-parameter' });
          await driver.releaseAddress(id, last);
          await driver.releaseAddress(id, last);
          await driver.requestAddress(id, last, {});
        });

        it('keeps pools and leases over a restart', async () => {
          const id = await pool({ pool: subnet, v6 });
          await driver.requestAddress(id, last, {});
          await again();
          await expect(driver.requestAddress(id, last, {})).rejects.toMatchObject({ kind: 'forbidden' });
          await expect(driver.requestPool(request({ pool: subnet, v6 }))).rejects.toMatchObject({ kind: 'forbidden' });
        });

        it('chooses pools that overlap neither each other nor what is to be avoided', async () => {
          const one = await driver.requestPool(request({ v6 }));
          const two = await driver.requestPool(request({ v6 }));
          expect(two.pool).not.toBe(one.pool);
          await driver.releasePool(one.poolId);
          const three = await driver.requestPool(request({ v6, avoid: [one.pool] }));
          expect([one.pool, two.pool]).not.toContain(three.pool);
        });
      });
    }

    it('gives out addresses of a part of the pool only, and says when there is none left', async () => {
      const id = await pool({ pool: '10.77.1.0/24', subPool: '10.77.1.128/30' });
      const given = [];
      for (let i = 0; i < 4; i++) given.push(await driver.requestAddress(id, undefined, {}));
      expect(given.toSorted()).toEqual(['10.77.1.128/24', '10.77.1.129/24', '10.77.1.130/24', '10.77.1.131/24']);
      await expect(driver.requestAddress(id, undefined, {})).rejects.toMatchObject({ kind: 'unavailable' });
      await expect(driver.requestPool(request({ pool: '10.78.0.0/24', subPool: '10.79.0.0/26' }))).rejects.toMatchObject({
        kind: 'invalid-parameter',
      });
    });

    it.each(['10.0.0.0', '10.0.0.0/33', 'x/24', '10.0.0.0/24/8', '010.0.0.0/8', '10.1/16'])('refuses %s as a pool', async (text) => {
      await expect(driver.requestPool(request({ pool: text }))).rejects.toMatchObject({ kind: 'invalid-parameter' });
    });

    it.skipIf(!has('lease-audit'))('gives up what nobody holds, and takes what somebody does', async () => {
      const kept = await pool({ pool: '10.77.1.0/24' });
      const lost = await pool({ pool: '10.77.2.0/24' });
      await driver.requestAddress(kept, '10.77.1.9', {});
      await (driver as IpamDriver & LeaseAudit).audit(new Map([[kept, ['10.77.1.10']]]));
      await driver.requestAddress(kept, '10.77.1.9', {});
      await expect(driver.requestAddress(kept, '10.77.1.10', {})).rejects.toMatchObject({ kind: 'forbidden' });
      expect((await driver.requestPool(request({ pool: '10.77.2.0/24' }))).poolId).toBe(lost);
    });
  });
}
