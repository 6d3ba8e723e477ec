import { describe, expect, it } from 'vitest';
import type { ClusterChange } from '@gantry/core/contracts/cluster.js';
import { host } from '@gantry/native/index.js';
import { silentLog } from '@gantry/test/fakes/settings.js';
import { associate, blockingPolicies, peerPolicies } from './associations.js';
import { innerMtu } from './mtu.js';
import { overlayNetwork } from './manifest.js';
import { parseOptions, parseSettings } from './options.js';
import { Remotes } from './remotes.js';

describe('the options of an overlay network', () => {
  it('have Docker’s words', () => {
    expect(parseOptions({ encrypted: '', 'com.docker.network.driver.overlay.vxlanid_list': '4097' })).toEqual({
      vni: 4097,
      mtu: 0,
      encrypted: true,
    });
    expect(parseOptions({ encrypted: 'false', 'com.docker.network.driver.mtu': '1400' })).toMatchObject({ encrypted: false, mtu: 1400 });
    for (const bad of [{ encrypted: 'maybe' }, { mystery: '' }, { 'com.docker.network.driver.overlay.vxlanid_list': '4096,4097' }])
      expect(() => parseOptions(bad)).toThrow(/invalid|unknown/);
  });

  it('of all of them are the cluster’s', () => {
    expect(parseSettings({ 'ip-forward': 'true' })).toEqual({ port: 4789, securePort: 4788, rotationSeconds: 43_200 });
    expect(() => parseSettings({ port: '4788' })).toThrow('must differ');
    expect(() => parseSettings({ 'key-rotation': '2' })).toThrow('at least 60 seconds');
    expect(() => parseSettings({ color: 'red' })).toThrow('unknown option of the overlay driver: overlay.color');
  });
});

it('an overlay network says what it needs', async () => {
  const env = { root: '/nonexistent', runRoot: '/nonexistent', instance: 'x', options: {}, host, log: silentLog };
  expect(await overlayNetwork.probe(env)).toEqual({ ok: false, reason: 'it needs a cluster store (gantryd --cluster-store)' });
});

describe('the largest packet inside', () => {
  it('leaves room for what is put around it', () => {
    expect(innerMtu(1500, false, false)).toBe(1450);
    expect(innerMtu(1500, true, false)).toBe(1430);
    // 20 + 8 + 8 + (8 + 8 + 14 + 1416 + 2) + 16 = 1500
    expect(innerMtu(1500, false, true)).toBe(1416);
    for (let mtu = 1400; mtu < 1410; mtu++) {
      const inner = innerMtu(mtu, false, true);
      const padded = Math.ceil((8 + 8 + 14 + inner + 2) / 4) * 4;
      expect(20 + 8 + 8 + padded + 16).toBeLessThanOrEqual(mtu);
    }
  });
});

describe('endpoints on other hosts', () => {
  const endpoint = (mac: string, at: string, addresses = ['10.0.0.2']): string => JSON.stringify({ mac, addresses, host: at });
  const change = (id: string, value: string | undefined): ClusterChange => ({ key: `overlay/endpoints/n/${id}`, value });
  const mac = '02:42:0a:00:00:02';

  it('are put, changed and dropped, and own ones are nobody’s business', () => {
    const remotes = new Remotes('192.0.2.1');
    expect(remotes.take([change('a', endpoint(mac, '192.0.2.1'))])).toEqual([{ networkId: 'n', put: [], drop: [] }]);
    const [put] = remotes.take([change('a', endpoint(mac, '192.0.2.2'))]);
    expect(put?.put).toEqual([{ mac, addresses: ['10.0.0.2'], host: '192.0.2.2' }]);
    expect(remotes.in('n')).toHaveLength(1);
    const [dropped] = remotes.take([change('a', undefined)]);
    expect(dropped).toMatchObject({ put: [], drop: [{ mac }] });
    expect(remotes.in('n')).toEqual([]);
  });

  it('that take over an address keep it when its former owner is told of as gone', () => {
    const remotes = new Remotes('192.0.2.1');
    remotes.take([change('old', endpoint(mac, '192.0.2.2'))]);
    remotes.take([change('new', endpoint(mac, '192.0.2.3'))]);
    const [last] = remotes.take([change('old', undefined)]);
    // Dropped first and put again afterwards.
    expect(last?.drop).toMatchObject([{ host: '192.0.2.2' }]);
    expect(last?.put).toMatchObject([{ host: '192.0.2.3' }]);
  });

  it('are left out when they are not as they must be', () => {
    const remotes = new Remotes('192.0.2.1');
    for (const bad of [endpoint('02:42', '192.0.2.2'), endpoint(mac, 'evil'), endpoint(mac, '192.0.2.2', ['x; reboot']), '{}', '[]', '1'])
      remotes.take([change('a', bad)]);
    expect(remotes.in('n')).toEqual([]);
  });
});

describe('encryption between two hosts', () => {
  const keys = [{ id: 'k', secret: Buffer.alloc(32, 7).toString('base64'), created: 0 }];
  const epoch = { id: 'e', key: 'k' };

  it('has a key of its own in each direction and epoch, which both sides find', () => {
    const there = associate('192.0.2.1', '192.0.2.2', epoch, keys);
    expect(there).toEqual(associate('192.0.2.1', '192.0.2.2', epoch, keys));
    const back = associate('192.0.2.2', '192.0.2.1', epoch, keys);
    const next = associate('192.0.2.1', '192.0.2.2', { ...epoch, id: 'f' }, keys);
    expect(new Set([there, back, next].map((one) => one?.key.toString('hex'))).size).toBe(3);
    expect(new Set([there, back, next].map((one) => one?.spi)).size).toBe(3);
    expect(there?.key).toHaveLength(36);
    expect(associate('192.0.2.1', '192.0.2.2', { id: 'e', key: 'unknown' }, keys)).toBeUndefined();
  });

  it('drops what is not for a peer', () => {
    const [out, into] = blockingPolicies('192.0.2.1');
    expect(out).toMatchObject({ direction: 'out', source: '192.0.2.1/32', destination: '0.0.0.0/0', block: true });
    expect(into).toMatchObject({ direction: 'in', source: '0.0.0.0/0', destination: '192.0.2.1/32', block: true });
    expect(blockingPolicies('2001:db8::1')[0]).toMatchObject({ source: '2001:db8::1/128', destination: '::/0' });
    for (const policy of peerPolicies('192.0.2.1', '192.0.2.2', 7)) expect(policy.priority).toBeLessThan(out?.priority ?? 0);
  });
});
