import { isIP } from 'node:net';
import type { Network } from './networks.js';
import type { Sandbox } from './sandbox.js';

/** Somebody whom others find by name: an endpoint of a container here, or one that a driver knows on another host. */
export interface NamedEndpoint {
  readonly endpointId: string;
  readonly networkId: string;
  /** What a reverse query says, without the network's name. */
  readonly owner: string;
  /** Without prefix length; '' for none. */
  readonly ipv4: string;
  readonly ipv6: string;
  readonly names: readonly string[];
}

/** A word of the name server's protocol (native/dns/PROTOCOL.md): what has a blank or is not ASCII can be no name in DNS either. */
const isWord = (text: string): boolean => /^[\x21-\x7e]{1,255}$/.test(text);
/** A part of a link, which stands between separators of its own. */
const isLinkPart = (text: string): boolean => isWord(text) && !/[,:=]/.test(text);

export function networkLine({ id, name, ipv4, ipv6 }: Network): string {
  return ['network', id, name, ...[...ipv4, ...ipv6].map(({ pool }) => pool)].join(' ');
}

export function endpointLine({ endpointId, networkId, owner, ipv4, ipv6, names }: NamedEndpoint): string {
  const said = isWord(owner) ? owner : endpointId.slice(0, 12);
  return ['endpoint', endpointId, networkId, said, ipv4 || '-', ipv6 || '-', ...names.filter(isWord)].join(' ');
}

/**
 * What one sandbox sees: the networks that it is in, its links there, and whom to ask for everything else. What is only in
 * internal networks must not reach outside, by names neither.
 */
export function sandboxLine(sandbox: Sandbox): string {
  const servers = sandbox.record.dns.servers.filter((server) => isIP(server) !== 0);
  const upstreams = sandbox.reachesOutside() ? servers.join(',') || 'host' : 'none';
  const places = sandbox.endpoints.map(({ state }) => {
    const links = state.links.flatMap((link) => {
      const [target = '', alias = target] = link.split(':');
      const name = target.replace(/^\//, '');
      return isLinkPart(name) && isLinkPart(alias) ? [`${alias}:${name}`] : [];
    });
    return links.length > 0 ? `${state.networkId}=${links.join(',')}` : state.networkId;
  });
  return ['sandbox', sandbox.id, upstreams, ...places].join(' ');
}
