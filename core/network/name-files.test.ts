import { describe, expect, it } from 'vitest';
import { hostsFile, parseExtraHost, resolvConfFile } from './name-files.js';
import type { EndpointRecord, SandboxRecord } from './network-store.js';
import { parseResolvConf } from './resolv-conf.js';

const sandbox = (own: Partial<SandboxRecord> = {}): SandboxRecord => ({
  containerId: 'c'.repeat(64),
  mode: 'private',
  dns: { servers: [], search: [], options: [] },
  extraHosts: [],
  ...own,
});
const endpoint = (ipAddress: string, own: Partial<EndpointRecord> = {}): EndpointRecord =>
  ({ hostname: 'box', domainname: '', state: { ipAddress }, ...own }) as EndpointRecord;
const host = parseResolvConf('nameserver 192.0.2.53 # office\nnameserver fe80::1%eth0\nsearch corp.example\noptions edns0\n');

describe('/etc/hosts', () => {
  it('has loopback, extra hosts, links and the own name, in this order', () => {
    const text = hostsFile(
      sandbox({ extraHosts: ['db:192.0.2.7', 'host.docker.internal:host-gateway', 'six=[fd00::1]'] }),
      [endpoint('10.213.0.2', { domainname: 'example.org' })],
      [{ address: '10.213.0.9', names: ['cache', 'redis'] }],
      '10.213.0.1',
    );
    expect(text.split('\n').slice(6)).toEqual([
      '192.0.2.7\tdb',
      '10.213.0.1\thost.docker.internal',
      'fd00::1\tsix',
      '10.213.0.9\tcache redis',
      '10.213.0.2\tbox.example.org box',
      '',
    ]);
  });

  it('lets no text add a line', () => {
    for (const bad of ['a:1.2.3.4\n6.6.6.6 evil', 'a b:1.2.3.4', ':1.2.3.4', 'a:', 'a', 'x:1.2.3.4 y'])
      expect(() => parseExtraHost(bad, ''), bad).toThrow(/invalid extra host/);
    expect(() => parseExtraHost('h:host-gateway', '')).toThrow(/host-gateway/);
    const hostile = endpoint('10.213.0.2', { hostname: 'x\n6.6.6.6 bank' });
    expect(hostsFile(sandbox(), [hostile], [], '')).not.toContain('bank');
  });
});

describe('/etc/resolv.conf', () => {
  it('is the host’s without what a container cannot use', () => {
    expect(resolvConfFile(sandbox(), host, false)).toBe('nameserver 192.0.2.53\nsearch corp.example\noptions edns0\n');
  });

  it('names the embedded server where there is one', () => {
    expect(resolvConfFile(sandbox(), host, true)).toBe('nameserver 127.0.0.11\nsearch corp.example\noptions edns0 ndots:0\n');
  });

  it('follows what the user asked for', () => {
    const dns = { servers: ['9.9.9.9'], search: ['.'], options: ['ndots:2', 'bad\noption'] };
    expect(resolvConfFile(sandbox({ dns }), host, false)).toBe('nameserver 9.9.9.9\noptions ndots:2\n');
    expect(resolvConfFile(sandbox({ dns }), host, true)).toBe('nameserver 127.0.0.11\noptions ndots:2\n');
  });
});
