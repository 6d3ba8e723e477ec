import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { isIPv6 } from 'node:net';
import { conflict, EngineError, messageOf, unavailable } from '@gantry/core/contracts/errors.js';
import type { Link, NetStep } from '@gantry/core/contracts/host-net.js';
import type { DriverEnv } from '@gantry/core/contracts/manifest.js';
import type { Names } from './names.js';
import type { BridgeOptions } from './options.js';

/** What a network's bridge must be. */
export interface BridgePlan {
  readonly bridge: string;
  readonly options: BridgeOptions;
  /** The bridge's own addresses, with prefix length. */
  readonly gateways: readonly string[];
  readonly gatewayV6: string | undefined;
  readonly firewall: { readonly ip6?: unknown };
  readonly internal: boolean;
}

const IPV6 = '/proc/sys/net/ipv6';

/** The bridges in the kernel, each known by the alias that is written on it. */
export class BridgeLinks {
  /**
   * The links as they were when the daemon started, until {@link sweep}: it meets its networks one after the other, and a listing for
   * each would grow with the square of their number.
   */
  private atStart: Promise<Link[]> | undefined;
  private started = false;

  constructor(
    private readonly env: DriverEnv,
    private readonly names: Names,
  ) {}

  /** Makes the bridge, or brings the one that is there into line; returns whether it was made just now. */
  async make(networkId: string, plan: BridgePlan): Promise<boolean> {
    const { net } = this.env.host;
    const { bridge } = plan;
    if (plan.firewall.ip6 && !existsSync(IPV6)) throw unavailable('this kernel has no IPv6');
    const alias = this.names.alias(networkId);
    const links = await this.present();
    const link = links.find(({ name }) => name === bridge);
    if (link && (link.kind !== 'bridge' || link.alias !== alias))
      throw conflict(`link ${bridge} exists and does not belong to this network`);
    const stale = links.filter((other) => other.alias === alias && other.name !== bridge).map(({ name }) => name);
    const steps: NetStep[] = stale.map((name): NetStep => ({ op: 'delete-link', name }));
    if (!link) steps.push({ op: 'add-bridge', name: bridge, alias, mac: this.names.bridgeMac(networkId) });
    if (!link || !isAsPlanned(link, plan)) steps.push(...bridgeSteps(plan, link));
    steps.push(...this.forwardingSteps(plan));
    try {
      if (steps.length > 0) await net.configure('', steps);
    } catch (error) {
      if (!link && (error as NodeJS.ErrnoException).code !== 'EEXIST') await net.configure('', [{ op: 'delete-link', name: bridge }]);
      throw new EngineError('system', `cannot make bridge ${bridge}: ${messageOf(error)}`, { cause: error });
    }
    // What a second call finds, with the same plan, before the listing is made anew.
    if (!this.started) remember(links, { link, plan, alias });
    return !link;
  }

  private async present(): Promise<Link[]> {
    if (this.started) return this.env.host.net.links('');
    return (this.atStart ??= this.env.host.net.links(''));
  }

  /** By what is written on it: the network may be one of a former run, under a name of the user's. */
  async remove(networkId: string): Promise<void> {
    const alias = this.names.alias(networkId);
    this.atStart = undefined;
    await this.delete((link) => link.alias === alias);
  }

  /** Those of these names that are ours. */
  async removeBridges(names: readonly string[]): Promise<void> {
    await this.delete(({ name, alias }) => names.includes(name) && this.names.idOf(alias) !== undefined);
  }

  /** Takes away every link of this daemon whose network or endpoint is not known. */
  async sweep(known: ReadonlySet<string>): Promise<void> {
    this.started = true;
    this.atStart = undefined;
    await this.delete((link) => {
      const id = this.names.idOf(link.alias);
      const left = id !== undefined && !known.has(id);
      if (left) this.env.log.info('taking away a link that a former run left', { link: link.name });
      return left;
    });
  }

  private async delete(which: (link: Link) => boolean): Promise<void> {
    const { net } = this.env.host;
    const steps = (await net.links('')).filter(which).map(({ name }): NetStep => ({ op: 'delete-link', name }));
    if (steps.length > 0) await net.configure('', steps);
  }

  /** The host's switches that let packets through, where they are off. They stay on. */
  private forwardingSteps({ internal, gatewayV6, gateways }: BridgePlan): NetStep[] {
    if (internal || this.env.options['ip-forward'] === 'false') return [];
    const steps: NetStep[] = [];
    if (gateways.some((address) => !isIPv6(withoutPrefix(address))) && read('ipv4/ip_forward') === '0')
      steps.push({ op: 'sysctl', key: 'ipv4/ip_forward', value: '1' });
    if (gatewayV6 !== undefined && read('ipv6/conf/all/forwarding') === '0') {
      // A host that forwards listens to routers no more and would lose its own way out, unless its links are told to go on.
      for (const name of readdirSync(`${IPV6}/conf`))
        if (name !== 'all' && read(`ipv6/conf/${name}/accept_ra`) === '1')
          steps.push({ op: 'sysctl', key: `ipv6/conf/${name}/accept_ra`, value: '2' });
      steps.push({ op: 'sysctl', key: 'ipv6/conf/all/forwarding', value: '1' });
    }
    return steps;
  }
}

/** Whether nothing has to be done: the bridge was there before and is up with its addresses. */
const isAsPlanned = (link: Link, { gateways, options }: BridgePlan): boolean =>
  link.up &&
  (options.mtu === 0 || link.mtu === options.mtu) &&
  gateways.every((address) => link.addresses.includes(address)) &&
  link.addresses.every((address) => gateways.includes(address) || address.startsWith('fe80:'));

function remember(links: Link[], { link, plan, alias }: { link: Link | undefined; plan: BridgePlan; alias: string }): void {
  const made: Link = {
    index: 0,
    mac: '',
    mtu: plan.options.mtu,
    master: 0,
    ...link,
    name: plan.bridge,
    kind: 'bridge',
    alias,
    up: true,
    addresses: plan.gateways,
  };
  if (link) links.splice(links.indexOf(link), 1, made);
  else links.push(made);
}

function bridgeSteps({ bridge, gateways, options, internal, firewall }: BridgePlan, link: Link | undefined): NetStep[] {
  const steps: NetStep[] = [];
  const sysctl = (key: string, value: string): number => steps.push({ op: 'sysctl', key, value });
  // Before it is up: no listening to routers, and no link-local address where there is no IPv6. Nobody waits for a probe
  // whether an address is taken: they were leased.
  if (existsSync(IPV6)) {
    sysctl(`ipv6/conf/${bridge}/accept_ra`, '0');
    sysctl(`ipv6/conf/${bridge}/accept_dad`, '0');
    const has = firewall.ip6 !== undefined && gateways.some((address) => isIPv6(withoutPrefix(address)));
    sysctl(`ipv6/conf/${bridge}/disable_ipv6`, has ? '0' : '1');
  }
  // For connections of this host to 127.0.0.1 that the firewall turns to a container.
  if (!internal) sysctl(`ipv4/conf/${bridge}/route_localnet`, '1');
  for (const address of link?.addresses ?? [])
    if (!address.startsWith('fe80:') && !gateways.includes(address)) steps.push({ op: 'delete-address', link: bridge, address });
  steps.push({ op: 'set-link', name: bridge, up: true, ...(options.mtu > 0 && { mtu: options.mtu }) });
  for (const address of gateways) steps.push({ op: 'add-address', link: bridge, address });
  return steps;
}

const withoutPrefix = (address: string): string => address.split('/')[0] ?? '';

const read = (key: string): string => readFileSync(`/proc/sys/net/${key}`, 'utf8').trim();
