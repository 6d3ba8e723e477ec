import { messageOf } from '@gantry/core/contracts/errors.js';
import type { DriverManifest } from '@gantry/core/contracts/manifest.js';
import { BridgeDriver } from './driver.js';

/**
 * Option `ip-forward`: `false` leaves the host's forwarding switch alone; else it is turned on with the first network that
 * is not internal, and stays on. Option `userland-proxy`: `false` leaves out published ports that the kernel cannot serve.
 */
export const bridgeNetwork: DriverManifest<'network'> = {
  kind: 'network',
  name: 'bridge',
  capabilities: ['publish', 'sandbox', 'service-discovery'],
  probe: async (env) => {
    try {
      await env.host.net.nftTable('', `gantry-${env.instance}`);
      return { ok: true };
    } catch (error) {
      return { ok: false, reason: `nftables does not answer: ${messageOf(error)}` };
    }
  },
  open: async (env) => new BridgeDriver(env),
};
