import { createHash } from 'node:crypto';
import { EngineError, messageOf, notFound } from '@gantry/core/contracts/errors.js';
import type { VirtualLink } from '@gantry/core/contracts/host-net.js';
import type { DriverEnv, Probe } from '@gantry/core/contracts/manifest.js';
import type { CreateNetwork, EndpointInterface, JoinInfo, NetworkDriver, PublishedPort } from '@gantry/core/contracts/network.js';
import { type Parent, StackedParents } from './stacked-parents.js';

/** What a network is after its options were read. */
export interface StackedConfig {
  /** '' for a private one. */
  readonly parent: string;
  readonly mode: string;
  readonly mtu: number;
}

/** What makes one kind of stacked links differ from another. */
export interface StackedKind<Config extends StackedConfig> {
  readonly name: string;
  /** `invalid-parameter` for what it does not know. */
  parse(options: Readonly<Record<string, string>>): Config;
  /** Throws when two networks cannot be on one parent. */
  checkShared(mine: Config, otherId: string, other: Config): void;
  /** Throws when a network of `others` endpoints cannot have one more, or not such a one. Returns the MAC address, if it has one of its own. */
  macFor(
    config: Config,
    iface: EndpointInterface,
    others: number,
    parent: { readonly name: string; readonly mac: string },
  ): string | undefined;
  link(config: Config, parent: string): KindOfLink;
  /** Whether the gateway is a neighbour on the link; else the default route goes to the link itself. */
  gatewayOnLink(config: Config): boolean;
}

type Distributed<T> = T extends unknown ? Omit<T, 'op' | 'name' | 'namespace' | 'mac' | 'mtu'> : never;
export type KindOfLink = Distributed<VirtualLink>;

interface StackedNetwork<Config> {
  readonly config: Config;
  readonly wanted: CreateNetwork;
  readonly parent: Parent;
  /** MAC address by endpoint. */
  readonly endpoints: Map<string, string | undefined>;
}

/** Whether the kernel has links of a kind: asked for one without a parent, it says that it has none such, or what is missing. */
export async function probeKind(env: DriverEnv, link: KindOfLink): Promise<Probe> {
  try {
    await env.host.net.configure('', [{ op: 'add-virtual', name: 'gantry-probe', ...link }]);
    return { ok: true };
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EOPNOTSUPP') return { ok: false, reason: `this kernel has no ${link.kind} links` };
    return code === 'EPERM' ? { ok: false, reason: 'making links needs the capability NET_ADMIN' } : { ok: true };
  }
}

/**
 * Networks whose endpoints are links stacked on a parent, born in the sandbox: they are neighbours of whatever is on the parent's
 * wire, and the host's firewall and addresses have no part in it.
 */
export class StackedDriver<Config extends StackedConfig> implements NetworkDriver {
  readonly scope = 'local';
  private readonly networks = new Map<string, StackedNetwork<Config>>();
  private readonly parents: StackedParents;

  constructor(
    private readonly env: DriverEnv,
    private readonly kind: StackedKind<Config>,
  ) {
    this.parents = new StackedParents(env.host.net, `gantry-${env.instance}/${kind.name}:`);
  }

  async createNetwork(networkId: string, wanted: CreateNetwork): Promise<void> {
    const config = this.kind.parse(wanted.options);
    const before = this.networks.get(networkId);
    const parentName = config.parent || this.parents.privateName(networkId);
    for (const [id, other] of this.networks)
      if (id !== networkId && other.parent.name === parentName) this.kind.checkShared(config, id, other.config);
    const parent = await this.parents.open(networkId, config.parent);
    this.networks.set(networkId, { config, wanted, parent, endpoints: before?.endpoints ?? new Map<string, string | undefined>() });
  }

  async deleteNetwork(networkId: string): Promise<void> {
    const network = this.networks.get(networkId);
    this.networks.delete(networkId);
    // Of a former run's network that was not given again, only a private parent is known.
    const parent = network?.parent ?? { name: this.parents.privateName(networkId), ours: true };
    if (![...this.networks.values()].some((other) => other.parent.name === parent.name)) await this.parents.close(parent);
  }

  async createEndpoint(networkId: string, endpointId: string, iface: EndpointInterface): Promise<EndpointInterface> {
    const network = this.network(networkId);
    const others = [...network.endpoints.keys()].filter((id) => id !== endpointId).length;
    const links = await this.env.host.net.links('');
    const parentMac = links.find(({ name }) => name === network.parent.name)?.mac ?? '';
    const mac = this.kind.macFor(network.config, iface, others, { name: network.parent.name, mac: parentMac });
    network.endpoints.set(endpointId, mac);
    return mac === undefined ? {} : { mac };
  }

  async deleteEndpoint(networkId: string, endpointId: string): Promise<void> {
    this.networks.get(networkId)?.endpoints.delete(endpointId);
  }

  async join(networkId: string, endpointId: string, sandboxPath: string): Promise<JoinInfo> {
    const network = this.network(networkId);
    if (!network.endpoints.has(endpointId)) throw notFound('endpoint', endpointId);
    const { config, parent, wanted } = network;
    const mac = network.endpoints.get(endpointId);
    const name = `gs${createHash('sha256').update(`${this.env.instance}/${endpointId}`).digest('hex').slice(0, 12)}`;
    const link: VirtualLink = {
      op: 'add-virtual',
      name,
      namespace: sandboxPath,
      ...this.kind.link(config, parent.name),
      ...(mac !== undefined && { mac }),
      ...(config.mtu > 0 && { mtu: config.mtu }),
    };
    try {
      await this.env.host.net.configure('', [link]);
    } catch (error) {
      throw new EngineError('system', `cannot put a ${this.kind.name} link on ${parent.name}: ${messageOf(error)}`, { cause: error });
    }
    const routed = !wanted.internal && config.parent !== '';
    const gatewayOf = (family: CreateNetwork['ipv4']): string | undefined => {
      const [first] = routed ? family : [];
      if (first && !this.kind.gatewayOnLink(config)) return '';
      return first?.gateway && bare(first.gateway);
    };
    const [gateway, gatewayV6] = [gatewayOf(wanted.ipv4), gatewayOf(wanted.ipv6)];
    return {
      link: { srcName: name, dstPrefix: 'eth', inSandbox: true },
      ...(gateway !== undefined && { gateway }),
      ...(gatewayV6 !== undefined && { gatewayV6 }),
      routes: [],
    };
  }

  /** The engine takes the link from the sandbox (capability `sandbox-link`), or it ends with the sandbox. */
  async leave(): Promise<void> {}

  /** Containers are on the wire with all their ports. */
  async publish(): Promise<PublishedPort[]> {
    return [];
  }

  async unpublish(): Promise<void> {}

  async settle(): Promise<void> {
    const kept = new Set([...this.networks.values()].map(({ parent }) => parent.name));
    for (const link of await this.parents.sweep(kept)) this.env.log.info('taking away a link that a former run left', { link });
  }

  async close(): Promise<void> {
    for (const [id, { endpoints }] of this.networks) if (endpoints.size === 0) await this.deleteNetwork(id);
  }

  private network(id: string): StackedNetwork<Config> {
    const network = this.networks.get(id);
    if (!network) throw notFound('network', id);
    return network;
  }
}

const bare = (address: string): string => address.split('/')[0] ?? '';
