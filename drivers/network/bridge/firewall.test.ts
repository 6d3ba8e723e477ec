import { describe, expect, it } from 'vitest';
import { type FirewallNetwork, firewallTable, listingOf, networkElements, portElements, sameListing, setsOf } from './firewall.js';

const plain = { sourceAddress: '', mode: 'nat', trusted: [] } as const;
const red: FirewallNetwork = { bridge: 'br-red', subnet: '10.213.1.0/24', internal: false, icc: true, masquerade: true, ...plain };
const closed: FirewallNetwork = { bridge: 'br-closed', subnet: '10.213.2.0/24', internal: true, icc: true, masquerade: true, ...plain };
const quiet: FirewallNetwork = { bridge: 'br-quiet', subnet: '10.213.3.0/24', internal: false, icc: false, masquerade: false, ...plain };
const web = {
  address: '10.213.1.2',
  direct: false,
  proxied: [],
  ports: [
    { protocol: 'tcp', containerPort: 80, hostIp: '0.0.0.0', hostPort: 8080 },
    { protocol: 'udp', containerPort: 53, hostIp: '127.0.0.1', hostPort: 5353 },
  ],
} as const;

describe('the firewall of bridge networks', () => {
  it('has the same rules for no network as for many', () => {
    const none = listingOf(firewallTable('ip', 't', [], []));
    const many = listingOf(firewallTable('ip', 't', [red, closed, quiet], [web]));
    expect(none.chains).toEqual(many.chains);
    expect(Object.values(none.sets).flat()).toEqual([]);
  });

  it('says what each network may', () => {
    expect(listingOf(firewallTable('ip', 't', [red, closed, quiet], [])).sets).toMatchObject({
      bridges: ['br-closed', 'br-quiet', 'br-red'],
      internal: ['br-closed'],
      inside: ['br-closed . br-closed : accept', 'br-quiet . br-quiet : drop', 'br-red . br-red : accept'],
      subnets: ['10.213.1.0/24', '10.213.2.0/24', '10.213.3.0/24'],
      masquerade: ['10.213.1.0/24'],
    });
  });

  it('keeps ports of one address apart from those of all', () => {
    expect(listingOf(firewallTable('ip', 't', [red], [web])).sets).toMatchObject({
      'published-any': ['tcp . 8080 : 10.213.1.2 . 80'],
      published: ['127.0.0.1 . udp . 5353 : 10.213.1.2 . 53'],
    });
  });

  it('opens what is published to links that a network trusts, and to no other', () => {
    const trusting = { ...red, trusted: ['eth1'] };
    expect(listingOf(firewallTable('ip', 't', [trusting, quiet], [{ ...web, direct: true }])).sets).toMatchObject({
      trusted: ['eth1 . br-red'],
      'direct-ports': ['10.213.1.2 . tcp . 80', '10.213.1.2 . udp . 53'],
    });
  });

  it('changes by exactly the elements that the whole table has of a network or an endpoint', () => {
    const total = setsOf('ip', networkElements(quiet)).length + setsOf('ip', portElements(web)).length;
    expect(total).toBe(5);
    const before = listingOf(firewallTable('ip', 't', [red], []));
    const after = listingOf(firewallTable('ip', 't', [red], [web]));
    for (const { name, elements } of setsOf('ip', portElements(web)))
      expect(after.sets[name]?.length).toBe((before.sets[name]?.length ?? 0) + elements.length);
  });

  it('drops what is private before it opens what is public', () => {
    const chains = listingOf(firewallTable('ip', 't', [red], [web])).chains;
    const filter = chains['filter'] ?? [];
    expect(filter.indexOf('out of an internal network')).toBeLessThan(filter.indexOf('published ports'));
    expect(filter.at(-1)).toBe('into a network');
    expect(chains['prerouting']?.[0]).toBe('internal networks reach no published port');
  });

  it('sees any difference from what the kernel says', () => {
    const listing = listingOf(firewallTable('ip', 't', [red], [web]));
    expect(sameListing(listing, structuredClone(listing))).toBe(true);
    expect(sameListing(listing, { ...listing, chains: { ...listing.chains, filter: [] } })).toBe(false);
    expect(sameListing(listing, { ...listing, sets: { ...listing.sets, bridges: ['br-red', 'br-x'] } })).toBe(false);
  });

  it('lets a routed network be reached at its ports, an unprotected one at all', () => {
    const routed: FirewallNetwork = { ...red, subnet: 'fd00:1::/64', mode: 'routed' };
    const open: FirewallNetwork = { ...red, bridge: 'br-open', subnet: 'fd00:2::/64', mode: 'nat-unprotected' };
    const port = { protocol: 'tcp', containerPort: 80, hostIp: '::', hostPort: 0 } as const;
    const { sets } = listingOf(
      firewallTable('ip6', 't', [routed, open], [{ address: 'fd00:1::2', direct: false, proxied: [], ports: [port] }]),
    );
    expect(sets).toMatchObject({
      routed: ['br-red'],
      'routed-ports': ['fd00:1::2 . tcp . 80'],
      open: ['br-open'],
      masquerade: ['fd00:2::/64'],
      'published-any': [],
    });
  });

  it('sends from one address of the host where its owner chose one', () => {
    const { sets } = listingOf(firewallTable('ip', 't', [{ ...red, sourceAddress: '192.0.2.7' }], []));
    expect(sets).toMatchObject({ sources: ['br-red : 192.0.2.7'], masquerade: [] });
  });
});
