import { describe, expect, it } from 'vitest';
import { parseCluster } from './cluster-settings.js';

describe('the cluster’s flags', () => {
  it('have Docker’s names and forms', () => {
    expect(parseCluster('', '', {})).toBeUndefined();
    expect(parseCluster('etcd://a.example:2380,10.0.0.2/some/where/', 'eth0:2376', {})).toMatchObject({
      endpoints: ['a.example:2380', '10.0.0.2:2379'],
      prefix: '/some/where/',
      advertise: 'eth0',
      heartbeatSeconds: 20,
      ttlSeconds: 60,
    });
    expect(parseCluster('etcd://[fd00::1]', '[fd00::2]:2376', { 'kv.path': 'x', 'overlay.port': '5' })).toMatchObject({
      endpoints: ['[fd00::1]:2379'],
      prefix: '/x/',
      advertise: 'fd00::2',
      driverOptions: { 'overlay.port': '5' },
    });
  });

  it.each([
    ['consul://a', 'eth0', {}, 'it is etcd://HOST:PORT'],
    ['etcd://a:99999', 'eth0', {}, 'invalid host in cluster-store'],
    ['etcd://a b', 'eth0', {}, 'invalid host in cluster-store'],
    ['etcd://a', '', {}, 'needs cluster-advertise'],
    ['', 'eth0', {}, 'need a cluster-store'],
    ['etcd://a', 'eth0; reboot', {}, 'invalid cluster-advertise'],
    ['etcd://a', 'eth0', { mystery: '1' }, 'unknown option in cluster-store-opts: mystery'],
    ['etcd://a', 'eth0', { 'kv.certfile': 'x', 'kv.keyfile': 'y' }, 'need kv.cacertfile'],
    ['etcd://a', 'eth0', { 'kv.cacertfile': 'x', 'kv.certfile': 'y' }, 'given together'],
    ['etcd://a', 'eth0', { 'kv.username': 'x' }, 'given together'],
    ['etcd://a', 'eth0', { 'discovery.ttl': '10' }, 'longer than discovery.heartbeat'],
    ['etcd://a', 'eth0', { 'discovery.ttl': '-1' }, 'invalid discovery.ttl'],
  ])('are refused: %s %s %o', (store, advertise, options, message) => {
    expect(() => parseCluster(store, advertise, options)).toThrow(message);
  });
});
