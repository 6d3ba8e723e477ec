import type { DriverManifest } from '@gantry/core/contracts/manifest.js';
import { LinklessDriver } from '../linkless.js';

/** The host's own network: containers on it have no sandbox, so ports and addresses mean nothing here. */
export const hostNetwork: DriverManifest<'network'> = {
  kind: 'network',
  name: 'host',
  capabilities: ['predefined', 'single'],
  probe: async () => ({ ok: true }),
  open: async () => new LinklessDriver('host'),
};
