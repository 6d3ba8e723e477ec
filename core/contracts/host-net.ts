/** A link as rtnetlink tells it. */
export interface Link {
  readonly index: number;
  readonly name: string;
  /** `bridge`, `veth`, … ; '' for a physical one. */
  readonly kind: string;
  /** What its maker wrote on it (`ip link … alias`). */
  readonly alias: string;
  readonly mac: string;
  readonly mtu: number;
  readonly up: boolean;
  /** Index of the bridge that it is a port of; 0 for none. */
  readonly master: number;
  /** With prefix length. */
  readonly addresses: readonly string[];
}

export interface LinkCounters {
  readonly rxBytes: number;
  readonly rxPackets: number;
  readonly rxErrors: number;
  readonly rxDropped: number;
  readonly txBytes: number;
  readonly txPackets: number;
  readonly txErrors: number;
  readonly txDropped: number;
}

/** An entry that was added, not learned: of a link's neighbours, or of where it (or its bridge) forwards frames to. */
export interface Neighbour {
  readonly mac: string;
  /** '' for a forwarding entry. */
  readonly address: string;
  /** Of a vxlan's forwarding entry the host; of a bridge's, ''. */
  readonly destination: string;
}

/** A unicast route of the main table. */
export interface HostRoute {
  /** CIDR; a default route is `0.0.0.0/0` or `::/0`. */
  readonly destination: string;
  /** '' for on-link. */
  readonly gateway: string;
  readonly link: string;
}

/** What a new link gets, or an existing one is changed to; absent members stay as they are. */
export interface LinkSettings {
  readonly mac?: string;
  readonly mtu?: number;
  readonly up?: boolean;
  /** Name of the bridge to become a port of; '' for none. */
  readonly master?: string;
  readonly alias?: string;
  /** A bridge port that does not talk to other isolated ports. */
  readonly isolated?: boolean;
  /** A bridge port whose frames may leave where they came in. */
  readonly hairpin?: boolean;
  /** A bridge port where the bridge takes the places of addresses from frames. */
  readonly learning?: boolean;
}

/**
 * A link on top of `parent`, or the end of a tunnel. `namespace`: where it is born, down and without alias; absent for the namespace of
 * the steps. `EOPNOTSUPP` when the kernel has no such links.
 */
export type VirtualLink = {
  readonly op: 'add-virtual';
  readonly name: string;
  readonly namespace?: string;
} & LinkSettings &
  (
    | { readonly kind: 'vlan'; readonly parent: string; readonly id: number }
    | { readonly kind: 'macvlan'; readonly parent: string; readonly mode: 'bridge' | 'private' | 'vepa' | 'passthru' }
    | {
        readonly kind: 'ipvlan';
        readonly parent: string;
        readonly mode: 'l2' | 'l3' | 'l3s';
        readonly flag: 'bridge' | 'private' | 'vepa';
      }
    /** Its packets travel where it was made, with `local` as their source; it never floods, learns or asks. */
    | { readonly kind: 'vxlan'; readonly id: number; readonly local: string; readonly port: number }
  );

/**
 * One step of {@link HostNet.configure}. "add" of what is there with the same value succeeds, except for links
 * (`EEXIST`); "delete" of what is absent succeeds.
 */
export type NetStep =
  | ({ readonly op: 'add-bridge'; readonly name: string } & LinkSettings)
  /** A pair whose far end is born in its namespace, down, with its name, address and size. `peer.namespace` is relative to the caller's file system; '' or absent for the namespace of the steps. */
  | ({
      readonly op: 'add-veth';
      readonly name: string;
      readonly peer: { readonly name: string; readonly mac?: string; readonly mtu?: number; readonly namespace?: string };
    } & LinkSettings)
  | VirtualLink
  | ({ readonly op: 'set-link'; readonly name: string; readonly rename?: string; readonly namespace?: string } & LinkSettings)
  | { readonly op: 'delete-link'; readonly name: string }
  /** All at once. The kernel waits some 40 ms for the users of a link to let go of it, and here once for all. */
  | { readonly op: 'delete-links'; readonly names: readonly string[] }
  | { readonly op: 'add-address' | 'delete-address'; readonly link: string; readonly address: string }
  | { readonly op: 'add-route' | 'delete-route'; readonly destination: string; readonly gateway?: string; readonly link?: string }
  | { readonly op: 'add-neighbour'; readonly link: string; readonly address: string; readonly mac: string }
  | { readonly op: 'delete-neighbour'; readonly link: string; readonly address: string }
  /** Where frames for `mac` go: from a vxlan to the host `destination`; without one, on the link's bridge to this port, whatever frames say. */
  | { readonly op: 'add-forwarding' | 'delete-forwarding'; readonly link: string; readonly mac: string; readonly destination?: string }
  /** `key` is the path below /proc/sys/net, such as `ipv4/conf/all/forwarding`. */
  | { readonly op: 'sysctl'; readonly key: string; readonly value: string };

/** What a packet is asked for. `port` is the destination port of TCP, UDP or SCTP. */
export type NftField =
  | 'iifname'
  | 'oifname'
  | 'protocol'
  | 'saddr'
  | 'daddr'
  | 'sport'
  | 'dport'
  | 'icmp-type'
  | 'mark'
  | 'ct-state'
  | 'ct-status'
  | 'fib-daddr-type';

/** A part of the key or value of a set. */
export type NftType = 'ifname' | 'ipv4' | 'protocol' | 'port' | 'ipv6';

/**
 * A value as text or number, by the field: a link's name; an address (of the table's family) or, in `match` and in interval
 * sets, a CIDR; `tcp`, `udp`, `sctp` or a number; a port; for ct-state `established|related|new|invalid`, for ct-status `dnat|snat`, for
 * fib-daddr-type `local`, several joined by `,`.
 */
export type NftValue = string | number;

export type NftVerdict = { readonly verdict: 'accept' | 'drop' | 'return' } | { readonly verdict: 'jump' | 'goto'; readonly chain: string };

/** One part of a rule; the parts are evaluated in order, and a match that fails ends the rule. */
export type NftExpression =
  | { readonly type: 'match'; readonly field: NftField; readonly value: NftValue; readonly not?: boolean }
  /** The fields, concatenated, are in the set (or not). */
  | { readonly type: 'in'; readonly fields: readonly NftField[]; readonly set: string; readonly not?: boolean }
  /** The verdict that the map has for the fields; goes on with the next rule when it has none. */
  | { readonly type: 'verdict-map'; readonly fields: readonly NftField[]; readonly map: string }
  /** New destination from a map of the fields to address and port; goes on with the next rule when it has none. */
  | { readonly type: 'dnat-map'; readonly fields: readonly NftField[]; readonly map: string }
  /** New source from a map of the fields to an address; goes on with the next rule when it has none. */
  | { readonly type: 'snat-map'; readonly fields: readonly NftField[]; readonly map: string }
  | { readonly type: 'dnat'; readonly address: string; readonly port?: number }
  | { readonly type: 'snat'; readonly address: string }
  | { readonly type: 'redirect'; readonly port: number }
  | { readonly type: 'masquerade' }
  /** Writes another port into the packet, without tracking of the connection; `value` is the packet's protocol. */
  | { readonly type: 'set-port'; readonly field: 'sport' | 'dport'; readonly port: number; readonly value: SocketProtocol }
  | { readonly type: 'counter' }
  | ({ readonly type: 'verdict' } & NftVerdict);

export interface NftRule {
  /** Tells the rule apart in a listing; up to 120 bytes. */
  readonly comment: string;
  readonly expressions: readonly NftExpression[];
}

export interface NftChain {
  readonly name: string;
  /** Where the kernel calls it; absent for a chain that rules jump to. Policy is accept. */
  readonly base?: {
    readonly type: 'filter' | 'nat' | 'route';
    readonly hook: 'prerouting' | 'input' | 'forward' | 'output' | 'postrouting';
    readonly priority: number;
  };
  readonly rules: readonly NftRule[];
}

export interface NftElement {
  /** One value for each part of the set's key. */
  readonly key: readonly NftValue[];
  /** For a map, one value for each part of its data, or a verdict. */
  readonly data?: readonly NftValue[] | NftVerdict;
}

export interface NftSet {
  readonly name: string;
  readonly key: readonly NftType[];
  /** Makes it a map. */
  readonly data?: readonly NftType[] | 'verdict';
  /** Keys are CIDRs (one `ipv4` or `ipv6` part). */
  readonly interval?: boolean;
  readonly elements: readonly NftElement[];
}

/** Which packets a table sees. */
export type NftFamily = 'ip' | 'ip6';

/** A table, whole. Tables of two families may have one name. */
export interface NftTable {
  readonly name: string;
  /** `ip` when absent. */
  readonly family?: NftFamily;
  readonly sets: readonly NftSet[];
  readonly chains: readonly NftChain[];
}

/** A change of nftables; {@link HostNet.nft} applies a list of these at once or not at all. */
export type NftCommand =
  /** `EEXIST` when there is one of its name. Some 0.1 ms, where a transaction that takes anything away waits 10 ms for the kernel. */
  | { readonly op: 'add-table'; readonly table: NftTable }
  /** Puts the table in place of what has its name, if anything. */
  | { readonly op: 'replace-table'; readonly table: NftTable }
  /** Absent is fine. */
  | { readonly op: 'delete-table'; readonly table: string; readonly family?: NftFamily }
  /** `set` says the types; its `elements` are those to add (those that are there already stay) or delete (`ENOENT` when absent). */
  | { readonly op: 'add-elements' | 'delete-elements'; readonly table: string; readonly family?: NftFamily; readonly set: NftSet };

/** What the kernel has of a table, for comparison: every set's elements as text, sorted; every chain's rule comments, in order. */
export interface NftListing {
  readonly sets: Readonly<Record<string, readonly string[]>>;
  readonly chains: Readonly<Record<string, readonly string[]>>;
}

/** A chain that the kernel calls, of whoever made it. */
export interface NftBaseChain {
  readonly family: NftFamily | 'inet';
  readonly table: string;
  readonly name: string;
  readonly hook: 'prerouting' | 'input' | 'forward' | 'output' | 'postrouting';
  readonly priority: number;
  /** What it does not decide about is dropped. */
  readonly drops: boolean;
}

/** One direction of an encrypted path between two hosts: ESP in transport mode with AES-GCM. */
export interface EncryptionState {
  readonly source: string;
  readonly destination: string;
  readonly spi: number;
}

/** What becomes of UDP packets to one port that leave for, or arrive from, somewhere. */
export interface EncryptionPolicy {
  readonly direction: 'in' | 'out';
  /** CIDRs. */
  readonly source: string;
  readonly destination: string;
  /** They are dropped; else they must be encrypted, and `source` and `destination` are addresses. */
  readonly block: boolean;
  /** With which state they leave; 0 for any of the `reqid`. */
  readonly spi: number;
}

/** One step of {@link HostNet.encrypt}. `reqid` tells whose a state is. "delete" of what is absent succeeds. */
export type EncryptionStep =
  /** `key`: 32 bytes, then four of salt. `EEXIST` when there is one of that destination and `spi`, `EPROTONOSUPPORT` or `ENOSYS` when the kernel cannot. */
  | ({ readonly op: 'add-state'; readonly reqid: number; readonly key: Buffer } & EncryptionState)
  | ({ readonly op: 'delete-state' } & EncryptionState)
  /** In place of one of the same direction, addresses and port. The lowest `priority` that fits a packet decides. */
  | ({ readonly op: 'put-policy'; readonly port: number; readonly priority: number; readonly reqid: number } & EncryptionPolicy)
  | ({ readonly op: 'delete-policy'; readonly port: number } & Omit<EncryptionPolicy, 'block' | 'spi'>);

export type SocketProtocol = 'tcp' | 'udp';

/**
 * Links, addresses, routes, firewall and sockets. Every `namespace` is the path of a network namespace's file, '' for
 * the one that the process is in; work inside a namespace runs on a thread that enters it and then ends.
 */
export interface HostNet {
  /** Makes a network namespace on a thread of its own and keeps it by a bind mount at `path` (file made here, `EEXIST` when there; its folder exists). Loopback is up; IPv6 is off on links that come later. */
  createNamespace(path: string): Promise<void>;
  /** Unmounts and removes the file; absent is fine. */
  removeNamespace(path: string): Promise<void>;

  /** Takes the steps in order in one visit to the namespace. The first failure ends it; steps before it stay done. The error names the step. */
  configure(namespace: string, steps: readonly NetStep[]): Promise<void>;
  links(namespace: string): Promise<Link[]>;
  routes(namespace: string): Promise<HostRoute[]>;
  neighbours(namespace: string, link: string): Promise<Neighbour[]>;
  /** Interface counters by name, loopback left out. */
  counters(namespace: string): Promise<Record<string, LinkCounters>>;

  /** Takes the steps in order; the first failure ends it. */
  encrypt(namespace: string, steps: readonly EncryptionStep[]): Promise<void>;
  /** The states of one `reqid`, and the policies for UDP packets to `port`, whoever made them. */
  encryption(namespace: string, reqid: number, port: number): Promise<{ states: EncryptionState[]; policies: EncryptionPolicy[] }>;

  /** One atomic transaction. */
  nft(namespace: string, commands: readonly NftCommand[]): Promise<void>;
  /** `undefined` when there is no such table. */
  nftTable(namespace: string, table: string, family?: NftFamily): Promise<NftListing | undefined>;
  /** Every base chain in the `ip`, `ip6` and `inet` families. */
  nftBaseChains(namespace: string): Promise<NftBaseChain[]>;
  /** Calls `changed` after each transaction of another process that touched a table of that name in this process's own namespace. Returns what ends it. */
  watchNft(table: string, changed: () => void): () => void;
  /** Forgets tracked flows of one family, so that their next packets meet the present rules; absent members match all. Reads the whole table. */
  flushFlows(filter: {
    v6?: boolean;
    protocol: SocketProtocol;
    originalDestination?: string;
    originalPort?: number;
    replySource?: string;
  }): Promise<number>;

  /** A bound, non-blocking, close-on-exec socket, TCP listening; port 0 chooses. The caller owns the descriptor. */
  openSocket(namespace: string, protocol: SocketProtocol, address: string, port: number): Promise<{ fd: number; port: number }>;
  /** Sockets of the namespace, bound to nothing, for a process that cannot enter it: IPv6 that reach IPv4 too, or IPv4 where there is nothing else. The caller owns them. */
  openClientSockets(namespace: string, protocol: SocketProtocol, count: number): Promise<number[]>;
  /**
   * Keeps a port from being taken by anybody else on this host while the descriptor is open, without serving it; port 0
   * chooses one. `EADDRINUSE` when it is taken, `EADDRNOTAVAIL` when the address is not this host's,
   * `EPROTONOSUPPORT` when the kernel has no such protocol.
   */
  reservePort(protocol: SocketProtocol | 'sctp', address: string, port: number): { fd: number; port: number };
  closeSocket(fd: number): void;

  /**
   * Connects to a unix socket, sends `text` with descriptors (which stay the caller's, 253 at most) and its end, and resolves to
   * what comes back until the other side closes.
   */
  exchange(path: string, text: string, descriptors: readonly number[]): Promise<string>;

  /** Bytes written to a socket that the other side has not taken yet. */
  unsent(fd: number): number;
  /** Who is at the other end of a unix socket. */
  peerCredentials(fd: number): { pid: number; uid: number; gid: number };
}
