import type { FastifyInstance, HTTPMethods } from 'fastify';
import { EngineError, notImplemented } from '../../contracts/errors.js';

/** Parts of Docker's API that are not served, with the name that a client is told. */
const MISSING: readonly (readonly [string, readonly HTTPMethods[], string])[] = [
  ['/build', ['POST'], 'image build (POST /build)'],
  ['/build/cancel', ['POST'], 'image build (POST /build/cancel)'],
  ['/session', ['POST'], 'BuildKit session (POST /session)'],
  ['/grpc', ['POST'], 'BuildKit gRPC (POST /grpc)'],
  ['/images/:name/attestations', ['GET'], 'image attestations'],
  ['/containers/:name/checkpoints', ['GET', 'POST'], 'container checkpoints'],
  ['/containers/:name/checkpoints/:checkpoint', ['DELETE'], 'container checkpoints'],
];

/** What only a swarm manager answers. */
const SWARM: readonly (readonly [string, readonly HTTPMethods[]])[] = [
  ['/swarm', ['GET']],
  ['/swarm/leave', ['POST']],
  ['/swarm/update', ['POST']],
  ['/swarm/unlockkey', ['GET']],
  ['/swarm/unlock', ['POST']],
  ['/nodes', ['GET']],
  ['/nodes/:id', ['GET', 'DELETE']],
  ['/nodes/:id/update', ['POST']],
  ['/services', ['GET']],
  ['/services/create', ['POST']],
  ['/services/:id', ['GET', 'DELETE']],
  ['/services/:id/update', ['POST']],
  ['/services/:id/logs', ['GET']],
  ['/tasks', ['GET']],
  ['/tasks/:id', ['GET']],
  ['/tasks/:id/logs', ['GET']],
  ['/secrets', ['GET']],
  ['/secrets/create', ['POST']],
  ['/secrets/:id', ['GET', 'DELETE']],
  ['/secrets/:id/update', ['POST']],
  ['/configs', ['GET']],
  ['/configs/create', ['POST']],
  ['/configs/:id', ['GET', 'DELETE']],
  ['/configs/:id/update', ['POST']],
  ['/volumes/:name', ['PUT']],
];

const NO_SWARM =
  'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm and try again.';

/** What is known and not there says so with 501, and never pretends. */
export function missingRoutes(app: FastifyInstance): void {
  for (const [url, method, what] of MISSING) {
    app.route({
      url,
      method: [...method],
      handler: () => {
        throw notImplemented(what);
      },
    });
  }
  for (const [url, method] of SWARM) {
    app.route({
      url,
      method: [...method],
      handler: () => {
        throw new EngineError('unavailable', NO_SWARM);
      },
    });
  }
  for (const url of ['/swarm/init', '/swarm/join']) {
    app.post(url, () => {
      throw notImplemented('swarm mode');
    });
  }
  // There is no build cache, so it is pruned: `docker system prune` asks for it last and fails as a whole otherwise.
  app.post('/build/prune', () => ({ CachesDeleted: null, SpaceReclaimed: 0 }));
}
