import type { HostNet } from '@gantry/core/contracts/host-net.js';
import { addon } from './addon.js';

const native = addon() as unknown as Omit<HostNet, 'nftBaseChains'> & Partial<HostNet>;

export const net: HostNet = {
  // A build whose drivers need no nftables has nothing that could list its chains.
  nftBaseChains: async () => [],
  ...native,
};
