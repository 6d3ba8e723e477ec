import type { ContainerService } from '@gantry/core/container/container-service.js';
import type { Logger } from '@gantry/core/contracts/manifest.js';
import type { Networks } from '@gantry/core/network/networks.js';

/**
 * Compares journal, records and kernel, and finishes or undoes what a restart or a crash left between them. The order is the
 * point: who lives is found out first; networks then keep what the living use and take away the rest; only then the container
 * service settles layers and volumes with every container there is, and cleans up and restarts the dead, on networks that are
 * whole again.
 */
export async function reconcile(engine: { containers: ContainerService; networks: Networks; log: Logger }): Promise<void> {
  const live = await engine.containers.findLive();
  engine.log.debug('containers that outlived the last daemon', { count: live.size });
  await engine.networks.restore(live);
  await engine.containers.restore();
}
