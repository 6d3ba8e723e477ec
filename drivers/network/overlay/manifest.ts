import { invalid } from '@gantry/core/contracts/errors.js';
import type { DriverManifest } from '@gantry/core/contracts/manifest.js';
import { OverlayDriver } from './driver.js';
import { parseSettings } from './options.js';

/** No network has it: the kernel says whether it knows of tunnels before it looks at the number. */
const NO_VNI = 2 ** 24;

/** Options, the same on every host: see {@link parseSettings}. */
export const overlayNetwork: DriverManifest<'network'> = {
  kind: 'network',
  name: 'overlay',
  capabilities: ['sandbox', 'service-discovery', 'global-allocation', 'gateway-network'],
  probe: async ({ cluster, host }) => {
    if (!cluster) return { ok: false, reason: 'it needs a cluster store (gantryd --cluster-store)' };
    try {
      await host.net.configure('', [
        { op: 'add-virtual', kind: 'vxlan', name: 'gantry-probe', id: NO_VNI, local: '127.0.0.1', port: 4789 },
      ]);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EOPNOTSUPP') return { ok: false, reason: 'this kernel has no vxlan links' };
    }
    return { ok: true };
  },
  open: async (env) => {
    if (!env.cluster) throw invalid('overlay networks need a cluster store');
    const driver = new OverlayDriver(env, env.cluster, parseSettings(env.options));
    driver.start();
    return driver;
  },
};
