import type { DriverManifest } from '@gantry/core/contracts/manifest.js';
import { LinklessDriver } from '../linkless.js';

/** A sandbox with loopback and nothing else. Docker calls the driver of its network `none` "null". */
export const noneNetwork: DriverManifest<'network'> = {
  kind: 'network',
  name: 'null',
  capabilities: ['predefined', 'single', 'sandbox'],
  probe: async () => ({ ok: true }),
  open: async () => new LinklessDriver('null'),
};
