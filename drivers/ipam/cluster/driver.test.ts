import { beforeEach, describe, expect, it } from 'vitest';
import type { IpamDriver, PoolRequest } from '@gantry/core/contracts/ipam.js';
import { host } from '@gantry/native/index.js';
import { MemoryCluster } from '@gantry/test/fakes/cluster.js';
import { silentLog } from '@gantry/test/fakes/settings.js';
import { parseRange } from '../ranges.js';
import { ClusterIpam } from './driver.js';
import { clusterIpam } from './manifest.js';

const ask = (own: Partial<PoolRequest> = {}): PoolRequest => ({ addressSpace: 'GlobalDefault', options: {}, v6: false, avoid: [], ...own });
const GATEWAY = { RequestAddressType: 'com.docker.network.gateway' };

describe('addresses of the cluster', () => {
  let cluster: MemoryCluster;
  let one: ClusterIpam;
  let two: ClusterIpam;
  const open = async (name: string): Promise<ClusterIpam> => {
    const ipam = new ClusterIpam(cluster.member(name, '192.0.2.1'), [{ base: parseRange('10.0.0.0/8'), size: 24 }]);
    await ipam.audit(new Map());
    return ipam;
  };
  const poolFor = async (ipam: IpamDriver, pool?: string): Promise<string> => (await ipam.requestPool(ask(pool ? { pool } : {}))).poolId;

  beforeEach(async () => {
    cluster = new MemoryCluster();
    one = await open('one');
    two = await open('two');
  });

  it('come from pools that no two engines choose', async () => {
    const pools = await Promise.all(Array.from({ length: 10 }, (_, i) => poolFor(i % 2 === 0 ? one : two)));
    expect(new Set(pools).size).toBe(10);
    expect(pools[0]).toBe('GlobalDefault/10.0.0.0/24');
    await expect(poolFor(two, '10.0.0.128/25')).rejects.toMatchObject({
      kind: 'forbidden',
      message: /Pool overlaps with other one on this address space/,
    });
    await one.releasePool('GlobalDefault/10.0.0.0/24');
    expect(await poolFor(two, '10.0.0.128/25')).toBe('GlobalDefault/10.0.0.128/25');
  });

  it('of IPv6 come from one prefix that the cluster has drawn, or from the one that options name', async () => {
    const six = async (ipam: IpamDriver): Promise<string> => (await ipam.requestPool(ask({ v6: true }))).pool;
    const pools = await Promise.all([six(one), six(two), six(one)]);
    expect(new Set(pools).size).toBe(3);
    expect(new Set(pools.map((pool) => pool.split(':').slice(0, 3).join(':'))).size).toBe(1);
    for (const pool of pools) expect(pool).toMatch(/^fd[0-9a-f]{2}:.*\/64$/);
    const env = { root: '/nonexistent', runRoot: '/nonexistent', instance: 'x', host, log: silentLog };
    const named = await clusterIpam.open({
      ...env,
      cluster: cluster.member('three', '192.0.2.3'),
      options: { base6: 'fd12::/32', size6: '48' },
    });
    expect(await six(named)).toBe('fd12::/48');
    for (const options of [{ base6: '10.0.0.0/8' }, { size6: '64' }, { base6: 'fd12::/32', size6: '20' }, { base: 'fd12::/32' }])
      await expect(clusterIpam.open({ ...env, cluster: cluster.member('four', '192.0.2.4'), options })).rejects.toMatchObject({
        kind: 'invalid-parameter',
      });
    const pool = (await one.requestPool(ask({ v6: true, pool: 'fd00:77::/64' }))).poolId;
    expect(await one.requestAddress(pool, undefined, GATEWAY)).toBe('fd00:77::1/64');
    expect(await two.requestAddress(pool, undefined, {})).toBe('fd00:77::2/64');
    await expect(one.requestAddress(pool, 'FD00:77:0::2', {})).rejects.toMatchObject({
      kind: 'forbidden',
      message: 'Address already in use',
    });
  });

  it('are given once, to whichever engine asks first', async () => {
    const pool = await poolFor(one, '10.9.0.0/24');
    expect(await one.requestAddress(pool, undefined, GATEWAY)).toBe('10.9.0.1/24');
    const given = await Promise.all(Array.from({ length: 40 }, (_, i) => (i % 2 === 0 ? one : two).requestAddress(pool, undefined, {})));
    expect(new Set(given).size).toBe(40);
    expect(given).not.toContain('10.9.0.1/24');
    await expect(two.requestAddress(pool, given[0]?.split('/')[0], {})).rejects.toMatchObject({
      kind: 'forbidden',
      message: 'Address already in use',
    });
    await expect(two.requestAddress(pool, '10.8.0.1', {})).rejects.toMatchObject({ kind: 'invalid-parameter' });
    await one.releaseAddress(pool, given[0] ?? '');
    expect(await two.requestAddress(pool, given[0]?.split('/')[0], {})).toBe(given[0]);
  });

  it('end with their pool, and with the engine’s own mistakes', async () => {
    const pool = await poolFor(one, '10.9.0.0/30');
    await one.requestAddress(pool, undefined, GATEWAY);
    await two.requestAddress(pool, undefined, {});
    await expect(one.requestAddress(pool, undefined, {})).rejects.toMatchObject({ kind: 'unavailable', message: /no available addresses/ });
    await one.releasePool(pool);
    await expect(two.requestAddress(pool, undefined, {})).rejects.toMatchObject({ kind: 'conflict', message: /its network was removed/ });
  });

  it('of a former life are kept where they are in use, and free where not', async () => {
    const kept = await poolFor(one, '10.9.0.0/24');
    const orphan = await poolFor(one, '10.10.0.0/24');
    const others = await poolFor(two, '10.11.0.0/24');
    const [live, dead] = [await one.requestAddress(kept, undefined, {}), await one.requestAddress(kept, undefined, {})];
    const again = new ClusterIpam(cluster.member('one', '192.0.2.1'), []);
    // Nobody knows yet which of them is in use.
    await expect(again.requestAddress(kept, live.split('/')[0], {})).rejects.toMatchObject({ kind: 'forbidden' });
    await again.audit(new Map([[kept, [live.split('/')[0] ?? '']]]));
    await expect(again.requestAddress(kept, live.split('/')[0], {})).rejects.toMatchObject({ kind: 'forbidden' });
    expect(await again.requestAddress(kept, dead.split('/')[0], {})).toBe(dead);
    expect(await poolFor(two, '10.10.0.0/25')).toBe(orphan.replace('/24', '/25'));
    await expect(poolFor(two, others.slice('GlobalDefault/'.length))).rejects.toMatchObject({ kind: 'forbidden' });
  });
});
