import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { PoolRequest } from '@gantry/core/contracts/ipam.js';
import { DefaultIpam, dockerPools } from './driver.js';
import { LeaseStore } from './lease-store.js';
import { parsePools } from './manifest.js';
import { formatAddress, parseAddress, parseRange } from '../ranges.js';

const request = (own: Partial<PoolRequest> = {}): PoolRequest => ({ addressSpace: '', options: {}, v6: false, avoid: [], ...own });

describe('the default IPAM driver', () => {
  let folder: string;
  let ipam: DefaultIpam;
  const open = (): DefaultIpam => {
    const driver = new DefaultIpam(LeaseStore.open(join(folder, 'leases.db')), dockerPools);
    driver.load();
    return driver;
  };
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'gantry-ipam-'));
    ipam = open();
  });
  afterEach(async () => {
    await ipam.close();
    rmSync(folder, { recursive: true });
  });
  const pool = async (cidr: string, subPool?: string): Promise<string> =>
    (await ipam.requestPool(request({ pool: cidr, ...(subPool !== undefined && { subPool }) }))).poolId;
  const next = (id: string, address?: string): Promise<string> => ipam.requestAddress(id, address, {});

  it('gives pools in the usual order and goes around the host', async () => {
    const avoid = ['172.17.4.0/24', '172.18.0.1/32', '10.0.0.0/8'];
    expect((await ipam.requestPool(request({ avoid }))).pool).toBe('172.19.0.0/16');
    expect((await ipam.requestPool(request({ avoid }))).pool).toBe('172.20.0.0/16');
    expect((await ipam.requestPool(request({ avoid: ['172.16.0.0/12'] }))).pool).toBe('192.168.0.0/20');
  });

  it('has thirty-one pools and then says so', async () => {
    for (let i = 0; i < 31; i++) await ipam.requestPool(request());
    await expect(ipam.requestPool(request())).rejects.toMatchObject({
      kind: 'unavailable',
      message: expect.stringMatching(/^all predefined address pools have been fully subnetted: in the way are \d/) as unknown,
    });
  });

  it('refuses a pool that overlaps another in Docker words, and not in another address space', async () => {
    await pool('10.213.0.0/16');
    for (const other of ['10.213.4.0/24', '10.0.0.0/8', '10.213.0.0/16'])
      await expect(pool(other)).rejects.toMatchObject({
        kind: 'forbidden',
        message: expect.stringMatching(/^invalid pool request: Pool overlaps with other one on this address space: /) as unknown,
      });
    await ipam.requestPool(request({ pool: '10.213.0.0/16', addressSpace: 'GlobalDefault' }));
  });

  it('takes the first address for the gateway and goes on behind it', async () => {
    const id = await pool('10.213.0.0/24');
    expect(await ipam.requestAddress(id, undefined, { RequestAddressType: 'com.docker.network.gateway' })).toBe('10.213.0.1/24');
    expect(await next(id)).toBe('10.213.0.2/24');
  });

  it('does not give a released address again before the others', async () => {
    const id = await pool('10.213.0.0/29');
    const given = [await next(id), await next(id)];
    await ipam.releaseAddress(id, given[1] ?? '');
    expect([await next(id), await next(id), await next(id), await next(id)]).toEqual([
      '10.213.0.3/29',
      '10.213.0.4/29',
      '10.213.0.5/29',
      '10.213.0.6/29',
    ]);
    expect(await next(id)).toBe('10.213.0.2/29');
    await expect(next(id)).rejects.toMatchObject({ kind: 'unavailable' });
  });

  it('gives from the sub-pool, and takes a wished address from the whole pool', async () => {
    const id = await pool('10.213.0.0/16', '10.213.5.0/30');
    const given = [await next(id), await next(id), await next(id), await next(id)];
    expect(given).toEqual(['10.213.5.0/16', '10.213.5.1/16', '10.213.5.2/16', '10.213.5.3/16']);
    await expect(next(id)).rejects.toMatchObject({ kind: 'unavailable' });
    expect(await next(id, '10.213.9.9')).toBe('10.213.9.9/16');
  });

  it('refuses a wished address that is taken, outside, or no host', async () => {
    const id = await pool('10.213.0.0/24');
    await next(id, '10.213.0.9');
    await expect(next(id, '10.213.0.9')).rejects.toMatchObject({ kind: 'forbidden', message: 'Address already in use' });
    for (const address of ['10.214.0.1', '10.213.0.0', '10.213.0.255', '10.213.0.256', '10.213.1', 'fd00::1', 'x'])
      await expect(next(id, address)).rejects.toMatchObject({ kind: 'invalid-parameter' });
  });

  it('still knows pools and leases after the process was killed', async () => {
    const id = await pool('10.213.0.0/24', '10.213.0.64/26');
    const given = await next(id);
    const second = new DefaultIpam(LeaseStore.open(join(folder, 'copy.db')), dockerPools);
    await second.close();
    await ipam.close();
    ipam = open();
    await expect(next(id, given.split('/')[0])).rejects.toMatchObject({ kind: 'forbidden' });
    await expect(pool('10.213.0.0/24')).rejects.toMatchObject({ kind: 'forbidden' });
  });

  it('comes into line with what the engine holds', async () => {
    const kept = await pool('10.213.0.0/24');
    const orphan = await pool('10.214.0.0/24');
    await next(kept, '10.213.0.7');
    await ipam.audit(new Map([[kept, ['10.213.0.8']]]));
    expect(await next(kept, '10.213.0.7')).toBe('10.213.0.7/24');
    await expect(next(kept, '10.213.0.8')).rejects.toMatchObject({ kind: 'forbidden' });
    await expect(next(orphan)).rejects.toMatchObject({ kind: 'not-found' });
    await ipam.audit(new Map([['LocalDefault/10.215.0.0/24', ['10.215.0.2']]]));
    await expect(next('LocalDefault/10.215.0.0/24', '10.215.0.2')).rejects.toMatchObject({ kind: 'forbidden' });
  });

  it('releases what is not there', async () => {
    await ipam.releaseAddress('LocalDefault/10.213.0.0/24', '10.213.0.1');
    await ipam.releasePool('LocalDefault/10.213.0.0/24');
  });

  it('never gives an address twice, nor one that is not in the range, whatever the order of calls', async () => {
    const step = fc.oneof({ weight: 3, arbitrary: fc.constant(-1) }, fc.nat(20));
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 24, max: 31 }), fc.array(step, { maxLength: 60 }), async (prefix, steps) => {
        const id = await pool(`10.213.0.0/${prefix}`);
        const held: string[] = [];
        for (const what of steps) {
          if (what >= 0) {
            const [gone] = held.splice(what % Math.max(1, held.length), 1);
            if (gone) await ipam.releaseAddress(id, gone);
            continue;
          }
          const size = 2 ** (32 - prefix) - (prefix < 31 ? 2 : 0);
          if (held.length >= size) {
            await expect(next(id)).rejects.toMatchObject({ kind: 'unavailable' });
            continue;
          }
          const given = await next(id);
          expect(held).not.toContain(given);
          const last = Number(given.split('/')[0]?.split('.')[3]);
          expect(last).toBeGreaterThanOrEqual(prefix < 31 ? 1 : 0);
          expect(last).toBeLessThan(2 ** (32 - prefix) - (prefix < 31 ? 1 : 0));
          held.push(given);
        }
        await ipam.releasePool(id);
      }),
      { numRuns: 40 },
    );
  });

  it('reads back every address that it writes', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: (1n << 32n) - 1n }), fc.bigInt({ min: 0n, max: (1n << 128n) - 1n }), (v4, v6) => {
        expect(parseAddress(formatAddress(false, v4))).toEqual({ v6: false, value: v4 });
        expect(parseAddress(formatAddress(true, v6))).toEqual({ v6: true, value: v6 });
      }),
    );
  });

  it('refuses texts that are no CIDR', () => {
    for (const text of ['', '10.0.0.0', '10.0.0.0/33', '10.0.0.0/8/8', '10.0/8', '10.0.0.0/-1', '10.0.0.0/8 ', '::/129', 'fe80::1%eth0/64'])
      expect(() => parseRange(text), text).toThrow(/invalid/);
  });

  it('reads the default pools of daemon.json', () => {
    expect(parsePools('[{"base":"10.10.0.0/16","size":24}]')[0]).toMatchObject({ size: 24 });
    expect(parsePools('')).toBe(dockerPools);
    for (const bad of ['{', '{}', '[{"base":"10.0.0.0/8"}]', '[{"base":"10.0.0.0/8","size":4}]', '[{"base":"x","size":24}]'])
      expect(() => parsePools(bad), bad).toThrow(/invalid/);
  });
});
