import { EngineError, isKind, messageOf } from '@gantry/core/contracts/errors.js';
import type { HostNet, Neighbour, NetStep } from '@gantry/core/contracts/host-net.js';
import { existsSync } from 'node:fs';

const BRIDGE = 'br0';
const TUNNEL = 'vxlan0';

/** An endpoint on another host. */
export interface Remote {
  readonly mac: string;
  readonly addresses: readonly string[];
  readonly host: string;
}

export interface SegmentConfig {
  readonly vni: number;
  readonly port: number;
  /** This host's address on the wire. */
  readonly local: string;
  readonly mtu: number;
  /** Whether the tunnel answers for IPv6 addresses too. */
  readonly v6: boolean;
}

/**
 * One network's part on this host: a namespace with a bridge, on which are the endpoints' pairs and the end of the tunnel to the other
 * hosts. The namespace keeps the host's firewall and addresses out of it; the tunnel's packets travel in the host's.
 *
 * Nothing is flooded and nothing learned: for every endpoint elsewhere there are three entries, of its host at the tunnel, of the tunnel
 * at the bridge, and of its MAC address, with which the tunnel itself answers who asks for its IP address.
 */
export class Segment {
  constructor(
    private readonly net: HostNet,
    /** The namespace's file. */
    readonly path: string,
    private readonly config: SegmentConfig,
  ) {}

  /** Makes what is missing; what is there goes on. */
  async up(): Promise<void> {
    if (existsSync(this.path) && (await this.isWhole())) return;
    await this.down();
    const { vni, port, local, mtu, v6 } = this.config;
    try {
      await this.net.createNamespace(this.path);
      await this.net.configure('', [{ op: 'add-virtual', kind: 'vxlan', name: TUNNEL, namespace: this.path, id: vni, local, port, mtu }]);
      await this.net.configure(this.path, [
        { op: 'add-bridge', name: BRIDGE, mtu },
        { op: 'set-link', name: TUNNEL, master: BRIDGE, learning: false },
        ...(v6 ? ipv6Steps : []),
        { op: 'set-link', name: TUNNEL, up: true },
        { op: 'set-link', name: BRIDGE, up: true },
      ]);
    } catch (error) {
      await this.down();
      const busy = (error as NodeJS.ErrnoException).code === 'EEXIST' ? ` (VNI ${vni} is in use on this host by something else)` : '';
      throw new EngineError('system', `cannot make the tunnel of an overlay network: ${messageOf(error)}${busy}`, { cause: error });
    }
  }

  /** Repeatable. */
  async down(): Promise<void> {
    // By itself and first: the namespace's end takes the kernel a while, and until then the VNI would be in use.
    if (existsSync(this.path)) await this.ignoringDead(() => this.net.configure(this.path, [{ op: 'delete-link', name: TUNNEL }]));
    await this.net.removeNamespace(this.path);
  }

  /** Connects a sandbox; the far end is born there, down. */
  async attach(name: string, peer: { readonly name: string; readonly mac: string; readonly namespace: string }): Promise<void> {
    const { mtu } = this.config;
    await this.net.configure(this.path, [{ op: 'add-veth', name, master: BRIDGE, up: true, mtu, peer: { ...peer, mtu } }]);
  }

  async detach(name: string): Promise<void> {
    if (existsSync(this.path)) await this.ignoringDead(() => this.net.configure(this.path, [{ op: 'delete-link', name }]));
  }

  async put(remotes: readonly Remote[]): Promise<void> {
    await this.net.configure(this.path, remotes.flatMap(stepsToAdd));
  }

  async drop(remotes: readonly Remote[]): Promise<void> {
    await this.net.configure(this.path, remotes.flatMap(stepsToDelete));
  }

  /** Has exactly these, whatever was there; `pairs` are the names of the live endpoints' links. */
  async sync(remotes: readonly Remote[], pairs: ReadonlySet<string>): Promise<void> {
    const stale = (await this.net.links(this.path)).filter(({ kind, name }) => kind === 'veth' && !pairs.has(name));
    const wanted = new Set(remotes.flatMap(entriesOf));
    const there = await this.net.neighbours(this.path, TUNNEL);
    await this.net.configure(this.path, [
      ...stale.map(({ name }): NetStep => ({ op: 'delete-link', name })),
      ...there.filter((entry) => !wanted.has(textOf(entry))).map(stepToDelete),
    ]);
    const known = new Set(there.map(textOf));
    await this.put(remotes.filter((remote) => entriesOf(remote).some((entry) => !known.has(entry))));
  }

  private async isWhole(): Promise<boolean> {
    try {
      const links = await this.net.links(this.path);
      return [BRIDGE, TUNNEL].every((wanted) => links.some(({ name, up }) => name === wanted && up));
    } catch {
      return false;
    }
  }

  /** A file without its namespace is what a reboot or a crash in the middle leaves. */
  private async ignoringDead(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code !== 'EINVAL' && code !== 'ENOENT' && !isKind(error, 'not-found')) throw error;
    }
  }
}

/** A link without IPv6 takes no neighbours of it; addresses of its own, not even one of the link, it needs none. */
const ipv6Steps: readonly NetStep[] = [
  ['accept_ra', '0'],
  ['addr_gen_mode', '1'],
  ['disable_ipv6', '0'],
].map(([key, value]): NetStep => ({ op: 'sysctl', key: `ipv6/conf/${TUNNEL}/${key}`, value: value ?? '' }));

function stepsToAdd({ mac, addresses, host }: Remote): NetStep[] {
  return [
    { op: 'add-forwarding', link: TUNNEL, mac, destination: host },
    { op: 'add-forwarding', link: TUNNEL, mac },
    ...addresses.map((address): NetStep => ({ op: 'add-neighbour', link: TUNNEL, address, mac })),
  ];
}

function stepsToDelete({ mac, addresses, host }: Remote): NetStep[] {
  return [
    ...addresses.map((address): NetStep => ({ op: 'delete-neighbour', link: TUNNEL, address })),
    { op: 'delete-forwarding', link: TUNNEL, mac },
    { op: 'delete-forwarding', link: TUNNEL, mac, destination: host },
  ];
}

function stepToDelete({ mac, address, destination }: Neighbour): NetStep {
  if (address !== '') return { op: 'delete-neighbour', link: TUNNEL, address };
  return { op: 'delete-forwarding', link: TUNNEL, mac, ...(destination !== '' && { destination }) };
}

const textOf = ({ mac, address, destination }: Neighbour): string => `${mac} ${address} ${destination}`;

const entriesOf = ({ mac, addresses, host }: Remote): string[] => [
  textOf({ mac, address: '', destination: host }),
  textOf({ mac, address: '', destination: '' }),
  ...addresses.map((address) => textOf({ mac, address, destination: '' })),
];
