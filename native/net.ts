import type { HostNet } from '@gantry/core/contracts/host-net.js';
import { addon } from './addon.js';

export const net: HostNet = addon() as unknown as HostNet;
