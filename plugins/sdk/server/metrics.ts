import type { Maybe, Part } from './handlers.js';

/** Where a managed plugin of this kind finds the engine's metrics: HTTP on a unix socket, `GET /metrics`. */
export const METRICS_SOCKET = '/run/docker/metrics.sock';

/** What the author of a metrics collector writes. */
export interface MetricsPlugin {
  /** The engine's metrics can be read from now on; also told again when engine or plugin were started anew. */
  start(): Maybe<void>;
  /** They are about to go away. */
  stop?(): Maybe<void>;
}

export function metricsPart(plugin: MetricsPlugin): Part {
  return {
    kind: 'MetricsCollector',
    json: {
      'MetricsCollector.StartMetrics': async () => {
        await plugin.start();
        return {};
      },
      'MetricsCollector.StopMetrics': async () => {
        await plugin.stop?.();
        return {};
      },
    },
  };
}
