import type { FastifyInstance } from 'fastify';
import type { ActionTimes } from '../system/engine-metrics.js';

/** Routes whose time is told in the metrics, by dockerd's words for what they do. */
const MEASURED: Readonly<Record<string, readonly [keyof ActionTimes, string]>> = {
  'POST /containers/create': ['containers', 'create'],
  'POST /containers/:name/start': ['containers', 'start'],
  'DELETE /containers/:name': ['containers', 'delete'],
  'POST /commit': ['containers', 'commit'],
  'GET /containers/:name/changes': ['containers', 'changes'],
  'GET /info': ['host', 'system_info'],
};

/** Measures those routes, each time that one succeeds; others are not touched. Called before the routes are made. */
export function measureRoutes(app: FastifyInstance, times: ActionTimes): void {
  app.addHook('onRoute', (route) => {
    const measured = MEASURED[`${String(route.method)} ${route.url}`];
    if (!measured) return;
    const [histogram, action] = measured;
    route.onResponse = (_request, reply, done) => {
      if (reply.statusCode < 400) times[histogram].observe(action, reply.elapsedTime / 1000);
      done();
    };
  });
}
