import { join } from 'node:path';
import { MetricsServer } from '@gantry/core/api/metrics-server.js';
import { countStates } from '@gantry/core/container/container.js';
import type { ContainerRoom } from '@gantry/core/container/room.js';
import type { Logger } from '@gantry/core/contracts/manifest.js';
import type { PluginDirectory } from '@gantry/core/contracts/plugin.js';
import { type ActionTimes, actionTimes, EngineMetrics } from '@gantry/core/system/engine-metrics.js';
import type { EventBus } from '@gantry/core/system/event-bus.js';
import type { Settings } from '@gantry/core/system/settings.js';
import type { System } from '@gantry/core/system/system.js';
import type { Lifecycle } from './lifecycle.js';

interface Measured {
  readonly system: System;
  readonly room: ContainerRoom;
  readonly events: EventBus;
  readonly plugins: PluginDirectory;
  readonly settings: Settings;
  readonly lifecycle: Lifecycle;
  readonly log: Logger;
}

/** Serves the engine's metrics: at `metrics.sock` in the run-time folder, and on the network where the configuration says so. */
export async function openMetrics(measured: Measured): Promise<{ metrics: MetricsServer; times: ActionTimes }> {
  const { system, room, events, plugins, settings, lifecycle, log } = measured;
  const times = actionTimes();
  const figures = new EngineMetrics(
    {
      system,
      containers: () => countStates(room.store.list().map(({ state }) => state.status)),
      probes: () => room.probes,
      events,
      plugins,
    },
    times,
  );
  const metrics = await lifecycle.start(
    'metrics',
    () => new MetricsServer(() => figures.text(), log),
    (server) => server.close(),
  );
  await metrics.listen({ path: join(settings.execRoot, 'metrics.sock') });
  const { metricsAddress } = settings;
  if (metricsAddress !== '') {
    const colon = metricsAddress.lastIndexOf(':');
    const host = metricsAddress.slice(0, colon).replace(/^\[|\]$/g, '');
    const address = await metrics.listen({ host: host || '0.0.0.0', port: Number(metricsAddress.slice(colon + 1)) });
    log.info('serving metrics', { address });
  }
  return { metrics, times };
}
