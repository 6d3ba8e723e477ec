import type {
  NftChain,
  NftElement,
  NftFamily,
  NftListing,
  NftRule,
  NftSet,
  NftTable,
  NftType,
  NftValue,
} from '@gantry/core/contracts/host-net.js';
import type { PublishedPort } from '@gantry/core/contracts/network.js';
import type { GatewayMode } from './options.js';

/** What the firewall must know of one network in one family. */
export interface FirewallNetwork {
  readonly bridge: string;
  /** CIDR. */
  readonly subnet: string;
  readonly internal: boolean;
  readonly icc: boolean;
  /** Containers reach outside under the host's address. */
  readonly masquerade: boolean;
  /** Under this address of the host; '' for that of the link by which they leave. */
  readonly sourceAddress: string;
  readonly mode: GatewayMode;
  /** Links from which published ports are reached at the containers' own addresses. */
  readonly trusted: readonly string[];
}

/** Ports of one endpoint in one family. */
export interface FirewallPorts {
  /** Without prefix length. */
  readonly address: string;
  /** They are reached there too, from links that the network trusts. */
  readonly direct: boolean;
  readonly ports: readonly PublishedPort[];
  /** Those that a process of the host serves. */
  readonly proxied: readonly PublishedPort[];
}

type SetName =
  | 'bridges'
  | 'internal'
  | 'inside'
  | 'subnets'
  | 'masquerade'
  | 'sources'
  | 'open'
  | 'routed'
  | 'routed-ports'
  | 'trusted'
  | 'direct-ports'
  | 'published'
  | 'published-any'
  | 'proxied'
  | 'proxied-any';
export type Elements = Partial<Record<SetName, readonly NftElement[]>>;

/** What differs between the families. */
interface FamilyTerms {
  readonly address: NftType;
  readonly everywhere: string;
  readonly loopback: string;
  readonly icmp: number;
  readonly redirect: number;
}

const terms: Record<NftFamily, FamilyTerms> = {
  ip: { address: 'ipv4', everywhere: '0.0.0.0', loopback: '127.0.0.0/8', icmp: 1, redirect: 5 },
  ip6: { address: 'ipv6', everywhere: '::', loopback: '::1/128', icmp: 58, redirect: 137 },
};

function setTypes(family: NftFamily): Record<SetName, Omit<NftSet, 'elements'>> {
  const { address } = terms[family];
  return {
    /** Every bridge of this daemon. */
    bridges: { name: 'bridges', key: ['ifname'] },
    /** Those of internal networks. */
    internal: { name: 'internal', key: ['ifname'] },
    /** A bridge paired with itself: whether its containers may talk through the host's IP layer. */
    inside: { name: 'inside', key: ['ifname', 'ifname'], data: 'verdict' },
    subnets: { name: 'subnets', key: [address], interval: true },
    /** Subnets whose packets leave under the host's address. */
    masquerade: { name: 'masquerade', key: [address], interval: true },
    /** Bridges whose packets leave under one address of the host's owner's choice. */
    sources: { name: 'sources', key: ['ifname'], data: [address] },
    /** Bridges whose containers are reached at every port. */
    open: { name: 'open', key: ['ifname'] },
    /** Bridges whose containers are reached at their own addresses. */
    routed: { name: 'routed', key: ['ifname'] },
    /** The ports of containers on those. */
    'routed-ports': { name: 'routed-ports', key: [address, 'protocol', 'port'] },
    /** A link of the host paired with a bridge that trusts it. */
    trusted: { name: 'trusted', key: ['ifname', 'ifname'] },
    /** The published ports of containers on such bridges, as the containers have them. */
    'direct-ports': { name: 'direct-ports', key: [address, 'protocol', 'port'] },
    /** Ports published on one address of the host. */
    published: { name: 'published', key: [address, 'protocol', 'port'], data: [address, 'port'] },
    /** Ports published on all of them. */
    'published-any': { name: 'published-any', key: ['protocol', 'port'], data: [address, 'port'] },
    /** The same of those that a process of the host serves. */
    proxied: { name: 'proxied', key: [address, 'protocol', 'port'] },
    'proxied-any': { name: 'proxied-any', key: ['protocol', 'port'] },
  };
}

const types: Record<NftFamily, Record<SetName, Omit<NftSet, 'elements'>>> = { ip: setTypes('ip'), ip6: setTypes('ip6') };
const setNames = Object.keys(types.ip) as SetName[];

export function networkElements(network: FirewallNetwork): Elements {
  const { bridge, subnet, internal, icc, mode, trusted } = network;
  const own: NftElement[] = [{ key: [bridge] }];
  const outside = !internal && mode !== 'routed' && network.masquerade;
  return {
    bridges: own,
    ...(internal && { internal: own }),
    inside: [{ key: [bridge, bridge], data: { verdict: icc ? 'accept' : 'drop' } }],
    subnets: [{ key: [subnet] }],
    ...(outside &&
      (network.sourceAddress ? { sources: [{ key: [bridge], data: [network.sourceAddress] }] } : { masquerade: [{ key: [subnet] }] })),
    ...(!internal && mode === 'nat-unprotected' && { open: own }),
    ...(!internal && mode === 'routed' && { routed: own }),
    ...(!internal && trusted.length > 0 && { trusted: trusted.map((link) => ({ key: [link, bridge] })) }),
  };
}

/** A port without a host's port is one of a routed network: it is reached at the container's address. */
export function portElements({ address, ports, direct, proxied }: FirewallPorts): Elements {
  const translated = ports.filter(({ hostPort }) => hostPort !== 0);
  const everywhere = ({ hostIp }: PublishedPort): boolean => isEverywhere(hostIp);
  const onOne = ({ hostIp }: PublishedPort): boolean => !isEverywhere(hostIp);
  const one = ({ hostIp, protocol, hostPort }: PublishedPort): NftValue[] => [hostIp, protocol, hostPort];
  const any = ({ protocol, hostPort }: PublishedPort): NftValue[] => [protocol, hostPort];
  const to = ({ containerPort }: PublishedPort): NftValue[] => [address, containerPort];
  return {
    published: translated.filter(onOne).map((port) => ({ key: one(port), data: to(port) })),
    'published-any': translated.filter(everywhere).map((port) => ({ key: any(port), data: to(port) })),
    'routed-ports': ports
      .filter(({ hostPort }) => hostPort === 0)
      .map(({ protocol, containerPort }) => ({ key: [address, protocol, containerPort] })),
    ...(direct && { 'direct-ports': directPorts(address, ports) }),
    proxied: proxied.filter(onOne).map((port) => ({ key: one(port) })),
    'proxied-any': proxied.filter(everywhere).map((port) => ({ key: any(port) })),
  };
}

/** A port that is published twice is one. */
function directPorts(address: string, ports: readonly PublishedPort[]): NftElement[] {
  const distinct = new Map(ports.map(({ protocol, containerPort }) => [`${protocol} ${containerPort}`, { protocol, containerPort }]));
  return [...distinct.values()].map(({ protocol, containerPort }) => ({ key: [address, protocol, containerPort] }));
}

export const isEverywhere = (hostIp: string): boolean => hostIp === terms.ip.everywhere || hostIp === terms.ip6.everywhere;

/** The sets of `elements` that are not empty, as a command wants them. */
export const setsOf = (family: NftFamily, elements: Elements): NftSet[] =>
  setNames.flatMap((name) => {
    const list = elements[name];
    return list?.length ? [{ ...types[family][name], elements: list }] : [];
  });

const rule = (comment: string, ...expressions: NftRule['expressions']): NftRule => ({ comment, expressions });
const accept = { type: 'verdict', verdict: 'accept' } as const;
const drop = { type: 'verdict', verdict: 'drop' } as const;
const giveBack = { type: 'verdict', verdict: 'return' } as const;

/**
 * The whole table of one family, a pure function of the records. The rules are the same for one network or a thousand: all that
 * varies lies in sets, so a change is a few elements and a packet's cost stays flat.
 *
 * What another table drops stays dropped: an `accept` ends only this table's chain. Where a firewall of the host has a
 * FORWARD policy of drop (Docker's iptables rules set one), its owner must let the bridges through.
 */
export function firewallTable(
  family: NftFamily,
  name: string,
  networks: readonly FirewallNetwork[],
  ports: readonly FirewallPorts[],
): NftTable {
  const all: Record<string, NftElement[]> = {};
  for (const elements of [...networks.map(networkElements), ...ports.map(portElements)])
    for (const set of setNames) (all[set] ??= []).push(...(elements[set] ?? []));
  const { loopback, icmp, redirect } = terms[family];
  // IPv6 has no route_localnet: an answer for ::1 from another link is never delivered. And no packet from a link-local address is
  // ever forwarded. Both go to the proxy's sockets, or are refused, which is better than silence for a client that has other addresses.
  const notTranslated =
    family === 'ip6'
      ? [
          rule('the IPv6 loopback is not translated', { type: 'match', field: 'daddr', value: loopback }, giveBack),
          rule('link-local senders are not translated', { type: 'match', field: 'saddr', value: 'fe80::/10' }, giveBack),
        ]
      : [];
  return {
    name,
    family,
    sets: setNames.map((set) => ({ ...types[family][set], elements: all[set] ?? [] })),
    chains: [
      { name: 'publish', rules: publishRules },
      { name: 'filter', rules: filterRules(icmp) },
      {
        name: 'raw-prerouting',
        base: { type: 'filter', hook: 'prerouting', priority: -300 },
        rules: [
          // route_localnet on the bridges lets published ports answer on 127.0.0.1, and would let containers, and a neighbour
          // on a link where someone else turned it on, reach what listens on the host's loopback.
          rule(
            'loopback addresses come from loopback only',
            { type: 'match', field: 'iifname', value: 'lo', not: true },
            { type: 'match', field: 'daddr', value: loopback },
            drop,
          ),
        ],
      },
      {
        name: 'prerouting',
        base: { type: 'nat', hook: 'prerouting', priority: -100 },
        rules: [
          rule('internal networks reach no published port', { type: 'in', fields: ['iifname'], set: 'internal' }, giveBack),
          ...notTranslated,
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
          ...notTranslated,
          rule(
            'from this host to itself',
            { type: 'match', field: 'fib-daddr-type', value: 'local' },
            { type: 'verdict', verdict: 'jump', chain: 'publish' },
          ),
        ],
      },
      // The proxy's sockets are the host's, and what is internal would reach them as it reaches the host.
      ...(family === 'ip6' ? [inputChain] : []),
      {
        name: 'filter-output',
        base: { type: 'filter', hook: 'output', priority: 0 },
        rules: [
          // A container that reaches another through a published port would be told to send to it directly, where the
          // address that it uses is not known.
          rule(
            'no redirects to containers',
            { type: 'in', fields: ['oifname'], set: 'bridges' },
            { type: 'match', field: 'protocol', value: icmp },
            { type: 'match', field: 'icmp-type', value: redirect },
            drop,
          ),
        ],
      },
      { name: 'postrouting', base: { type: 'nat', hook: 'postrouting', priority: 100 }, rules: postroutingRules(loopback) },
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

const inputChain: NftChain = {
  name: 'input',
  base: { type: 'filter', hook: 'input', priority: 0 },
  rules: [
    rule(
      'internal networks reach no port that the proxy publishes on one address',
      { type: 'in', fields: ['iifname'], set: 'internal' },
      { type: 'in', fields: ['daddr', 'protocol', 'dport'], set: 'proxied' },
      { type: 'counter' },
      drop,
    ),
    rule(
      'nor one that it publishes on all',
      { type: 'in', fields: ['iifname'], set: 'internal' },
      { type: 'in', fields: ['protocol', 'dport'], set: 'proxied-any' },
      { type: 'counter' },
      drop,
    ),
  ],
};

const publishRules: readonly NftRule[] = [
  rule('published on one address', { type: 'dnat-map', fields: ['daddr', 'protocol', 'dport'], map: 'published' }),
  rule('published everywhere', { type: 'dnat-map', fields: ['protocol', 'dport'], map: 'published-any' }),
];

const filterRules = (icmp: number): readonly NftRule[] => [
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
  rule('ports of routed networks', { type: 'in', fields: ['daddr', 'protocol', 'dport'], set: 'routed-ports' }, accept),
  // Who routes to an address must be able to find out whether it is there and how large a packet may be.
  rule(
    'ICMP to routed networks',
    { type: 'in', fields: ['oifname'], set: 'routed' },
    { type: 'match', field: 'protocol', value: icmp },
    accept,
  ),
  rule(
    'published ports from trusted links',
    { type: 'in', fields: ['iifname', 'oifname'], set: 'trusted' },
    { type: 'in', fields: ['daddr', 'protocol', 'dport'], set: 'direct-ports' },
    accept,
  ),
  rule('into an unprotected network', { type: 'in', fields: ['oifname'], set: 'open' }, accept),
  // From another network or from outside straight to a container's address.
  rule('into a network', { type: 'in', fields: ['oifname'], set: 'bridges' }, { type: 'counter' }, drop),
];

const postroutingRules = (loopback: string): readonly NftRule[] => [
  // A container could not answer a loopback address.
  rule(
    'loopback to a published port',
    { type: 'in', fields: ['oifname'], set: 'bridges' },
    { type: 'match', field: 'saddr', value: loopback },
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
    'container to outside under one address',
    { type: 'in', fields: ['oifname'], set: 'bridges', not: true },
    { type: 'snat-map', fields: ['iifname'], map: 'sources' },
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
