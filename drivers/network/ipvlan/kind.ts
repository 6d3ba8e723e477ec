import { conflict, invalid } from '@gantry/core/contracts/errors.js';
import type { StackedConfig, StackedKind } from '../stacked.js';
import { parseStacked } from '../stacked-options.js';

export interface IpvlanConfig extends StackedConfig {
  readonly mode: 'l2' | 'l3' | 'l3s';
  readonly flag: 'bridge' | 'private' | 'vepa';
}

/** Endpoints share the parent's MAC address and differ by IP address alone. */
export const ipvlanKind: StackedKind<IpvlanConfig> = {
  name: 'ipvlan',

  parse: (options) => {
    const { parent, mtu, words } = parseStacked(
      'ipvlan',
      { ipvlan_mode: ['l2', 'l3', 'l3s'], ipvlan_flag: ['bridge', 'private', 'vepa'] },
      options,
    );
    return { parent, mtu, mode: words.ipvlan_mode, flag: words.ipvlan_flag };
  },

  // The kernel keeps mode and flag for the parent, not for the link.
  checkShared: (mine, otherId) => {
    throw conflict(`network ${otherId} is already using parent interface ${mine.parent}`);
  },

  macFor: (_config, iface) => {
    if (iface.mac) throw invalid('ipvlan interfaces do not support custom mac address assignment');
    return undefined;
  },

  link: ({ mode, flag }, parent) => ({ kind: 'ipvlan', parent, mode, flag }),

  // In the routed modes nobody answers for a gateway: the parent's routes are asked.
  gatewayOnLink: ({ mode }) => mode === 'l2',
};
