import { conflict, EngineError, invalid, messageOf } from '@gantry/core/contracts/errors.js';
import type { HostNet, Link, NetStep } from '@gantry/core/contracts/host-net.js';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';

const LINK_NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,14}$/;

/** What `-o parent=` names. */
export interface Parent {
  readonly name: string;
  /** Made by the driver and taken away with the last network on it. */
  readonly ours: boolean;
}

/**
 * The links that networks are stacked on: one of the host, a VLAN of one of the host (`eth0.50`, made when it is missing), or for a
 * network without a parent one end of a pair whose other end leads nowhere.
 */
export class StackedParents {
  constructor(
    private readonly net: HostNet,
    /** The beginning of the alias of every link that is made here. */
    private readonly mark: string,
  ) {}

  /** Follows from the network's id. */
  privateName(networkId: string): string {
    return `dm-${this.hash(networkId)}`;
  }

  /** Finds or makes the link and brings it up. `wish` '' for a private one. */
  async open(networkId: string, wish: string): Promise<Parent> {
    const links = await this.net.links('');
    if (wish === '') return this.openPrivate(networkId, links);
    if (!LINK_NAME.test(wish)) throw invalid(`invalid parent interface name: ${JSON.stringify(wish.slice(0, 64))}`);
    if (wish === 'lo') throw invalid('the loopback interface cannot be a parent');
    const found = links.find(({ name }) => name === wish);
    if (found) {
      const ours = found.alias.startsWith(this.mark);
      if (ours && !found.up) await this.net.configure('', [{ op: 'set-link', name: wish, up: true }]);
      return { name: wish, ours };
    }
    const vlan = /^(.+)\.(\d{1,4})$/.exec(wish);
    const below = vlan && links.find(({ name }) => name === vlan[1]);
    if (!vlan || !below) throw invalid(`parent interface ${wish} was not found on the host, and is not NAME.VLAN of an interface that is`);
    const id = Number(vlan[2]);
    if (id < 1 || id > 4094) throw invalid(`invalid VLAN in parent interface ${wish}: it must be 1 to 4094`);
    await this.make(wish, [
      { op: 'add-virtual', kind: 'vlan', name: wish, parent: below.name, id, alias: `${this.mark}vlan` },
      ...quiet(wish),
      { op: 'set-link', name: wish, up: true },
    ]);
    return { name: wish, ours: true };
  }

  async close({ name, ours }: Parent): Promise<void> {
    if (ours) await this.net.configure('', [{ op: 'delete-link', name }]);
  }

  /** Takes away those of ours that are not in `kept`; returns their names. */
  async sweep(kept: ReadonlySet<string>): Promise<string[]> {
    const stale = (await this.net.links('')).filter(({ name, alias }) => alias.startsWith(this.mark) && !kept.has(name));
    for (const { name } of stale) await this.net.configure('', [{ op: 'delete-link', name }]);
    return stale.map(({ name }) => name);
  }

  private async openPrivate(networkId: string, links: readonly Link[]): Promise<Parent> {
    const name = this.privateName(networkId);
    const found = links.find((link) => link.name === name);
    if (found && !found.alias.startsWith(this.mark)) throw conflict(`link ${name} exists and does not belong to this network`);
    if (!found) {
      const far = `dp-${this.hash(networkId)}`;
      // Not a dummy link: many kernels have none. Frames need a carrier, so both ends are up.
      await this.make(name, [
        { op: 'add-veth', name, alias: `${this.mark}${networkId}`, peer: { name: far } },
        ...quiet(name),
        ...quiet(far),
        { op: 'set-link', name: far, up: true },
        { op: 'set-link', name, up: true },
      ]);
    }
    return { name, ours: true };
  }

  private async make(name: string, steps: readonly NetStep[]): Promise<void> {
    try {
      await this.net.configure('', steps);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') await this.net.configure('', [{ op: 'delete-link', name }]);
      throw new EngineError('system', `cannot make parent interface ${name}: ${messageOf(error)}`, { cause: error });
    }
  }

  private hash(networkId: string): string {
    return createHash('sha256').update(`${this.mark}${networkId}`).digest('hex').slice(0, 12);
  }
}

/** Before a link is up: the host takes no address from a router that somebody plays on it. */
function quiet(name: string): NetStep[] {
  return existsSync('/proc/sys/net/ipv6') ? [{ op: 'sysctl', key: `ipv6/conf/${name}/disable_ipv6`, value: '1' }] : [];
}
