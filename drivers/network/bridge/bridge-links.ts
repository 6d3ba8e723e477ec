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
const STOP_MS = 2_000;
const AT_ONCE = 50;

/** The bridges in the kernel, each known by the alias that is written on it. */
export class BridgeLinks {
  /**
   * The links as they were when the daemon started, until {@link sweep}: it meets its networks one after the other, and a listing for
   * each would grow with the square of their number.
   */
  private atStart: Promise<PresentLinks> | undefined;
  private started = false;

  constructor(
    private readonly env: DriverEnv,
    private readonly names: Names,
  ) {}

  /** Makes the bridge, or brings the one that is there into line; returns whether it was made just now. */
  async make(networkId: string, plan: BridgePlan): Promise<boolean> {
    const { bridge } = plan;
    const { isNew, steps } = this.stepsFor(networkId, plan, await this.present());
    steps.push(...this.forwardingSteps([plan]));
    try {
      if (steps.length > 0) await this.env.host.net.configure('', steps);
    } catch (error) {
      if (isNew && (error as NodeJS.ErrnoException).code !== 'EEXIST')
        await this.env.host.net.configure('', [{ op: 'delete-link', name: bridge }]);
      throw new EngineError('system', `cannot make bridge ${bridge}: ${messageOf(error)}`, { cause: error });
    }
    return isNew;
  }

  /** The same for many at once, when the daemon starts; resolves to why which were not made. */
  async makeAll(plans: ReadonlyMap<string, BridgePlan>): Promise<Map<string, unknown>> {
    const failures = new Map<string, unknown>();
    const links = await this.present();
    const good: string[] = [];
    const steps: NetStep[] = [];
    for (const [id, plan] of plans) {
      try {
        steps.push(...this.stepsFor(id, plan, links).steps);
        good.push(id);
      } catch (error) {
        failures.set(id, error);
      }
    }
    steps.push(...this.forwardingSteps(good.flatMap((id) => plans.get(id) ?? [])));
    try {
      if (steps.length > 0) await this.env.host.net.configure('', steps);
    } catch (error) {
      this.env.log.warn('making the bridges at once failed; each is made by itself', { error: messageOf(error) });
      this.atStart = undefined;
      for (const id of good) {
        const plan = plans.get(id);
        if (plan) await this.make(id, plan).catch((reason: unknown) => failures.set(id, reason));
      }
    }
    return failures;
  }

  /** What brings the kernel from `present`, which is changed to what follows, to the plan. */
  private stepsFor(networkId: string, plan: BridgePlan, present: PresentLinks): { isNew: boolean; steps: NetStep[] } {
    const { bridge } = plan;
    if (plan.firewall.ip6 && !existsSync(IPV6)) throw unavailable('this kernel has no IPv6');
    const alias = this.names.alias(networkId);
    const link = present.named(bridge);
    if (link && (link.kind !== 'bridge' || link.alias !== alias))
      throw conflict(`link ${bridge} exists and does not belong to this network`);
    const stale = present.withAlias(alias).filter(({ name }) => name !== bridge);
    const steps: NetStep[] = stale.map(({ name }): NetStep => ({ op: 'delete-link', name }));
    if (!link) steps.push({ op: 'add-bridge', name: bridge, alias, mac: this.names.bridgeMac(networkId) });
    if (!link || !isAsPlanned(link, plan)) steps.push(...bridgeSteps(plan, link));
    // What a second call finds, with the same plan, before the listing is made anew.
    present.remember(plannedLink(plan, alias, link));
    return { isNew: !link, steps };
  }

  private async present(): Promise<PresentLinks> {
    const list = async (): Promise<PresentLinks> => new PresentLinks(await this.env.host.net.links(''));
    return this.started ? list() : (this.atStart ??= list());
  }

  /** By what is written on it: the network may be one of a former run, under a name of the user's. */
  async remove(networkId: string): Promise<void> {
    const alias = this.names.alias(networkId);
    this.atStart = undefined;
    await this.delete((link) => link.alias === alias);
  }

  /**
   * Takes away those of these names that are ours, as many as {@link STOP_MS} allow: the kernel takes 20 ms for each, and whoever
   * stops a daemon with hundreds of networks does not wait for that. The next daemon knows the rest by their alias.
   */
  async removeBridges(names: readonly string[]): Promise<void> {
    const until = performance.now() + STOP_MS;
    for (let at = 0; at < names.length && performance.now() < until; at += AT_ONCE) {
      const some = new Set(names.slice(at, at + AT_ONCE));
      await this.delete(({ name, alias }) => some.has(name) && this.names.idOf(alias) !== undefined);
    }
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
    const names = (await net.links('')).filter(which).map(({ name }) => name);
    if (names.length > 0) await net.configure('', [{ op: 'delete-links', names }]);
  }

  /** The host's switches that let packets through, where they are off. They stay on. */
  private forwardingSteps(plans: readonly BridgePlan[]): NetStep[] {
    if (this.env.options['ip-forward'] === 'false') return [];
    const outward = plans.filter(({ internal }) => !internal);
    const steps: NetStep[] = [];
    if (outward.some(({ gateways }) => gateways.some((address) => !isIPv6(withoutPrefix(address)))) && read('ipv4/ip_forward') === '0')
      steps.push({ op: 'sysctl', key: 'ipv4/ip_forward', value: '1' });
    if (outward.some(({ gatewayV6 }) => gatewayV6 !== undefined) && read('ipv6/conf/all/forwarding') === '0') {
      // A host that forwards listens to routers no more and would lose its own way out, unless its links are told to go on.
      for (const name of readdirSync(`${IPV6}/conf`))
        if (name !== 'all' && read(`ipv6/conf/${name}/accept_ra`) === '1')
          steps.push({ op: 'sysctl', key: `ipv6/conf/${name}/accept_ra`, value: '2' });
      steps.push({ op: 'sysctl', key: 'ipv6/conf/all/forwarding', value: '1' });
    }
    return steps;
  }
}

/** The host's links, found by their names and by what is written on them. */
class PresentLinks {
  private readonly byName = new Map<string, Link>();
  private readonly byAlias = new Map<string, Link[]>();

  constructor(links: readonly Link[]) {
    for (const link of links) this.remember(link);
  }

  named(name: string): Link | undefined {
    return this.byName.get(name);
  }

  withAlias(alias: string): readonly Link[] {
    return this.byAlias.get(alias) ?? [];
  }

  remember(link: Link): void {
    this.byName.set(link.name, link);
    if (link.alias !== '') this.byAlias.set(link.alias, [...this.withAlias(link.alias).filter(({ name }) => name !== link.name), link]);
  }
}

/** Whether nothing has to be done: the bridge was there before and is up with its addresses. */
const isAsPlanned = (link: Link, plan: BridgePlan): boolean =>
  link.up &&
  (plan.options.mtu === 0 || link.mtu === plan.options.mtu) &&
  plan.gateways.every((address) => link.addresses.includes(address)) &&
  strangeAddresses(link, plan).length === 0;

/** Those that the bridge must not have. With `inhibit_ipv4` its IPv4 addresses are its owner's business. */
const strangeAddresses = ({ addresses }: Link, { gateways, options }: BridgePlan): readonly string[] =>
  addresses.filter(
    (address) => !gateways.includes(address) && !address.startsWith('fe80:') && !(options.inhibitIpv4 && !isIPv6(withoutPrefix(address))),
  );

/** The link as it is once the plan is carried out. */
const plannedLink = (plan: BridgePlan, alias: string, link: Link | undefined): Link => ({
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
});

function bridgeSteps(plan: BridgePlan, link: Link | undefined): NetStep[] {
  const { bridge, gateways, options, internal, firewall } = plan;
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
  for (const address of link ? strangeAddresses(link, plan) : []) steps.push({ op: 'delete-address', link: bridge, address });
  steps.push({ op: 'set-link', name: bridge, up: true, ...(options.mtu > 0 && { mtu: options.mtu }) });
  for (const address of gateways) steps.push({ op: 'add-address', link: bridge, address });
  return steps;
}

const withoutPrefix = (address: string): string => address.split('/')[0] ?? '';

const read = (key: string): string => readFileSync(`/proc/sys/net/${key}`, 'utf8').trim();
