import type { NftElement, NftListing, NftRule, NftSet, NftTable, NftValue } from '@gantry/core/contracts/host-net.js';
import type { PublishedPort } from '@gantry/core/contracts/network.js';

/** What the firewall must know of one network. */
export interface FirewallNetwork {
  readonly bridge: string;
  /** CIDR. */
  readonly subnet: string;
  readonly internal: boolean;
  readonly icc: boolean;
  readonly masquerade: boolean;
}

/** Ports of one endpoint. */
export interface FirewallPorts {
  /** Without prefix length. */
  readonly address: string;
  readonly ports: readonly PublishedPort[];
}

type SetName = 'bridges' | 'internal' | 'inside' | 'subnets' | 'masquerade' | 'published' | 'published-any';
export type Elements = Partial<Record<SetName, readonly NftElement[]>>;

const EVERYWHERE = '0.0.0.0';
const ICMP = 1;
const ICMP_REDIRECT = 5;

const setTypes: Record<SetName, Omit<NftSet, 'elements'>> = {
  /** Every bridge of this daemon. */
  bridges: { name: 'bridges', key: ['ifname'] },
  /** Those of internal networks. */
  internal: { name: 'internal', key: ['ifname'] },
  /** A bridge paired with itself: whether its containers may talk through the host's IP layer. */
  inside: { name: 'inside', key: ['ifname', 'ifname'], data: 'verdict' },
  subnets: { name: 'subnets', key: ['ipv4'], interval: true },
  masquerade: { name: 'masquerade', key: ['ipv4'], interval: true },
  /** Ports published on one address of the host. */
  published: { name: 'published', key: ['ipv4', 'protocol', 'port'], data: ['ipv4', 'port'] },
  /** Ports published on all of them. */
  'published-any': { name: 'published-any', key: ['protocol', 'port'], data: ['ipv4', 'port'] },
};

const setNames = Object.keys(setTypes) as SetName[];

export function networkElements(network: FirewallNetwork): Elements {
  return {
    bridges: [{ key: [network.bridge] }],
    ...(network.internal && { internal: [{ key: [network.bridge] }] }),
    inside: [{ key: [network.bridge, network.bridge], data: { verdict: network.icc ? 'accept' : 'drop' } }],
    subnets: [{ key: [network.subnet] }],
    ...(network.masquerade && !network.internal && { masquerade: [{ key: [network.subnet] }] }),
  };
}

export function portElements({ address, ports }: FirewallPorts): Elements {
  const published: NftElement[] = [];
  const anywhere: NftElement[] = [];
  for (const port of ports) {
    const data: NftValue[] = [address, port.containerPort];
    if (port.hostIp === EVERYWHERE) anywhere.push({ key: [port.protocol, port.hostPort], data });
    else published.push({ key: [port.hostIp, port.protocol, port.hostPort], data });
  }
  return { published, 'published-any': anywhere };
}

/** The sets of `elements` that are not empty, as a command wants them. */
export const setsOf = (elements: Elements): NftSet[] =>
  setNames.flatMap((name) => {
    const list = elements[name];
    return list?.length ? [{ ...setTypes[name], elements: list }] : [];
  });

const rule = (comment: string, ...expressions: NftRule['expressions']): NftRule => ({ comment, expressions });
const accept = { type: 'verdict', verdict: 'accept' } as const;
const drop = { type: 'verdict', verdict: 'drop' } as const;
const giveBack = { type: 'verdict', verdict: 'return' } as const;

/**
 * The whole table, a pure function of the records. The rules are the same for one network or a thousand: all that varies
 * lies in sets, so a change is a few elements and a packet's cost stays flat.
 *
 * What another table drops stays dropped: an `accept` ends only this table's chain. Where a firewall of the host has a
 * FORWARD policy of drop (Docker's iptables rules set one), its owner must let the bridges through.
 */
export function firewallTable(name: string, networks: readonly FirewallNetwork[], ports: readonly FirewallPorts[]): NftTable {
  const all: Record<string, NftElement[]> = {};
  for (const elements of [...networks.map(networkElements), ...ports.map(portElements)])
    for (const set of setNames) (all[set] ??= []).push(...(elements[set] ?? []));
  return {
    name,
    sets: setNames.map((set) => ({ ...setTypes[set], elements: all[set] ?? [] })),
    chains: [
      { name: 'publish', rules: publishRules },
      { name: 'filter', rules: filterRules },
      {
        name: 'raw-prerouting',
        base: { type: 'filter', hook: 'prerouting', priority: -300 },
        rules: [
          // route_localnet on the bridges lets published ports answer on 127.0.0.1, and would let containers, and a neighbour
          // on a link where someone else turned it on, reach what listens on the host's loopback.
          rule(
            'loopback addresses come from loopback only',
            { type: 'match', field: 'iifname', value: 'lo', not: true },
            { type: 'match', field: 'daddr', value: '127.0.0.0/8' },
            drop,
          ),
        ],
      },
      {
        name: 'prerouting',
        base: { type: 'nat', hook: 'prerouting', priority: -100 },
        rules: [
          rule('internal networks reach no published port', { type: 'in', fields: ['iifname'], set: 'internal' }, giveBack),
          rule(
            'to this host',
            { type: 'match', field: 'fib-daddr-type', value: 'local' },
            { type: 'verdict', verdict: 'jump', chain: 'publish' },
          ),
        ],
      },
      {
        name: 'output',
        base: { type: 'nat', hook: 'output', priority: -100 },
        rules: [
          rule(
            'from this host to itself',
            { type: 'match', field: 'fib-daddr-type', value: 'local' },
            { type: 'verdict', verdict: 'jump', chain: 'publish' },
          ),
        ],
      },
      {
        name: 'filter-output',
        base: { type: 'filter', hook: 'output', priority: 0 },
        rules: [
          // A container that reaches another through a published port would be told to send to it directly, where the
          // address that it uses is not known.
          rule(
            'no redirects to containers',
            { type: 'in', fields: ['oifname'], set: 'bridges' },
            { type: 'match', field: 'protocol', value: ICMP },
            { type: 'match', field: 'icmp-type', value: ICMP_REDIRECT },
            drop,
          ),
        ],
      },
      { name: 'postrouting', base: { type: 'nat', hook: 'postrouting', priority: 100 }, rules: postroutingRules },
      {
        name: 'forward',
        base: { type: 'filter', hook: 'forward', priority: 0 },
        rules: [
          rule(
            'from a container',
            { type: 'in', fields: ['iifname'], set: 'bridges' },
            { type: 'verdict', verdict: 'goto', chain: 'filter' },
          ),
          rule(
            'to a container',
            { type: 'in', fields: ['oifname'], set: 'bridges' },
            { type: 'verdict', verdict: 'goto', chain: 'filter' },
          ),
        ],
      },
    ],
  };
}

const publishRules: readonly NftRule[] = [
  rule('published on one address', { type: 'dnat-map', fields: ['daddr', 'protocol', 'dport'], map: 'published' }),
  rule('published everywhere', { type: 'dnat-map', fields: ['protocol', 'dport'], map: 'published-any' }),
];

const filterRules: readonly NftRule[] = [
  rule('answers', { type: 'match', field: 'ct-state', value: 'established,related' }, accept),
  rule(
    'within an internal network',
    { type: 'in', fields: ['iifname'], set: 'internal' },
    { type: 'verdict-map', fields: ['iifname', 'oifname'], map: 'inside' },
  ),
  rule('out of an internal network', { type: 'in', fields: ['iifname'], set: 'internal' }, { type: 'counter' }, drop),
  rule('into an internal network', { type: 'in', fields: ['oifname'], set: 'internal' }, { type: 'counter' }, drop),
  rule(
    'published ports',
    { type: 'match', field: 'ct-status', value: 'dnat' },
    { type: 'in', fields: ['oifname'], set: 'bridges' },
    accept,
  ),
  rule('within a network', { type: 'verdict-map', fields: ['iifname', 'oifname'], map: 'inside' }),
  // From another network or from outside straight to a container's address.
  rule('into a network', { type: 'in', fields: ['oifname'], set: 'bridges' }, { type: 'counter' }, drop),
];

const postroutingRules: readonly NftRule[] = [
  // A container could not answer 127.0.0.1.
  rule(
    'loopback to a published port',
    { type: 'in', fields: ['oifname'], set: 'bridges' },
    { type: 'match', field: 'saddr', value: '127.0.0.0/8' },
    { type: 'masquerade' },
  ),
  // Both may be on one bridge, where the answer would go straight back and meet a stranger's connection.
  rule(
    'container to a published port',
    { type: 'in', fields: ['oifname'], set: 'bridges' },
    { type: 'match', field: 'ct-status', value: 'dnat' },
    { type: 'in', fields: ['saddr'], set: 'subnets' },
    { type: 'masquerade' },
  ),
  rule(
    'container to outside',
    { type: 'in', fields: ['oifname'], set: 'bridges', not: true },
    { type: 'in', fields: ['saddr'], set: 'masquerade' },
    { type: 'masquerade' },
  ),
];

/** The listing that the kernel gives of exactly this table. */
export function listingOf(table: NftTable): NftListing {
  const sets: Record<string, string[]> = {};
  for (const set of table.sets) sets[set.name] = set.elements.map(elementText).toSorted();
  const chains: Record<string, string[]> = {};
  for (const chain of table.chains) chains[chain.name] = chain.rules.map((entry) => entry.comment);
  return { sets, chains };
}

function elementText(element: NftElement): string {
  const key = element.key.join(' . ');
  if (!element.data) return key;
  if (!('verdict' in element.data)) return `${key} : ${element.data.join(' . ')}`;
  return `${key} : ${element.data.verdict}${'chain' in element.data ? ` ${element.data.chain}` : ''}`;
}

export function sameListing(a: NftListing, b: NftListing): boolean {
  const flat = (lists: Readonly<Record<string, readonly string[]>>): string =>
    JSON.stringify(Object.entries(lists).toSorted(([x], [y]) => (x < y ? -1 : 1)));
  return flat(a.sets) === flat(b.sets) && flat(a.chains) === flat(b.chains);
}
