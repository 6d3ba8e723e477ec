import type { ContainerService } from '@gantry/core/container/container-service.js';
import type { Logger } from '@gantry/core/contracts/manifest.js';
import type { Layers } from '@gantry/core/layer/layers.js';
import type { Networks } from '@gantry/core/network/networks.js';

/**
 * Compares journal, records and kernel, and finishes or undoes what a restart or a crash left between them. The order is the
 * point: who lives is found out first; networks and layers then keep what the living use and take away the rest; only then are
 * the dead cleaned up and restarted, on networks and layers that are whole again.
 */
export async function reconcile(engine: { containers: ContainerService; networks: Networks; layers: Layers; log: Logger }): Promise<void> {
  const live = await engine.containers.findLive();
  engine.log.debug('containers that outlived the last daemon', { count: live.size });
  await engine.networks.restore(live);
  await engine.layers.restore(live);
  await engine.containers.restore();
}
