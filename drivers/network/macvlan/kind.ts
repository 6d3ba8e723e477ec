import { conflict, invalid } from '@gantry/core/contracts/errors.js';
import type { StackedConfig, StackedKind } from '../stacked.js';
import { parseStacked } from '../stacked-options.js';

export interface MacvlanConfig extends StackedConfig {
  readonly mode: 'bridge' | 'private' | 'vepa' | 'passthru';
}

/** Every endpoint has an address of its own on the parent's wire. */
export const macvlanKind: StackedKind<MacvlanConfig> = {
  name: 'macvlan',

  parse: (options) => {
    const { parent, mtu, words } = parseStacked('macvlan', { macvlan_mode: ['bridge', 'private', 'vepa', 'passthru'] }, options);
    return { parent, mtu, mode: words.macvlan_mode };
  },

  checkShared: (mine, otherId, other) => {
    if (mine.mode === 'passthru')
      throw conflict(`cannot use mode passthru, macvlan network ${otherId} is already using parent interface ${mine.parent}`);
    if (other.mode === 'passthru')
      throw conflict(`macvlan network ${otherId} is already using parent interface ${mine.parent} in mode passthru`);
  },

  macFor: ({ mode }, iface, others, parent) => {
    if (mode !== 'passthru') return iface.mac || macOf(iface);
    if (others > 0) throw conflict(`parent interface ${parent.name} is in mode passthru and has its one endpoint already`);
    // The link is the parent's other face.
    if (iface.mac && iface.mac !== parent.mac) throw invalid('an endpoint in mode passthru has the MAC address of its parent');
    return parent.mac;
  },

  link: ({ mode }, parent) => ({ kind: 'macvlan', parent, mode }),

  gatewayOnLink: () => true,
};

/** Follows from the address: whoever gets the address next has the same one, so no neighbour's cache is wrong. */
function macOf({ address = '' }: { address?: string }): string {
  const octets = (address.split('/')[0] ?? '').split('.').map(Number);
  if (octets.length !== 4) throw invalid('an endpoint of a macvlan network without IPv4 needs a MAC address');
  return ['02', '42', ...octets.map((octet) => octet.toString(16).padStart(2, '0'))].join(':');
}
