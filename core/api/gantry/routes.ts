import type { FastifyInstance } from 'fastify';
import { isKind, messageOf } from '../../contracts/errors.js';
import type { ApiContext } from '../context.js';
import { Query } from '../query.js';
import { ResponseStream } from '../response-stream.js';
import type { Services } from '../services.js';
import { driverJson, findingJson, layerJson, stepJson, storageJson } from './storage-json.js';

interface NamedDriver {
  Params: { driver: string };
}

/**
 * What Docker's API has no words for. Everything here is below `/gantry/v1`, which no Docker client asks for; within `v1` answers only
 * gain fields.
 */
export function gantryRoutes(app: FastifyInstance, services: Services, context: ApiContext): void {
  const { storage, check } = services;

  app.get('/gantry/v1/storage', async () => storageJson(await storage.usage()));

  app.get<NamedDriver>('/gantry/v1/storage/:driver', async (request) => driverJson(await storage.inspect(request.params.driver)));

  app.get('/gantry/v1/layers', async (request) => (await storage.imageLayers(new Query(request).text('image'))).map(layerJson));

  app.post('/gantry/v1/storage/prune', async (request) => {
    const { removed, spaceReclaimed } = await storage.prune({ all: new Query(request).bool('all') });
    return { Removed: removed, SpaceReclaimed: spaceReclaimed };
  });

  app.post('/gantry/v1/check', async (request) => {
    const query = new Query(request);
    const findings = await check.run({ repair: query.bool('repair'), storageOnly: query.bool('storage'), deep: query.bool('deep') });
    return { Findings: findings.map(findingJson) };
  });

  app.post('/gantry/v1/storage/migrate', async (request, reply) => {
    const query = new Query(request);
    // Opened with the first line, so that what is refused has a status of its own.
    let stream: Promise<ResponseStream> | undefined;
    const opened = (): Promise<ResponseStream> => (stream ??= ResponseStream.open(context, reply, 'application/json'));
    const gone = new AbortController();
    reply.raw.once('close', () => gone.abort());
    let telling = Promise.resolve();
    const tell = (line: object): void => {
      telling = telling.then(async () => (await opened()).object(`${JSON.stringify(line)}\n`));
    };
    try {
      await storage.migrate({ from: query.text('from'), to: query.text('to') }, (step) => tell(stepJson(step)), gone.signal);
    } catch (error) {
      if (!stream) throw error;
      if (!isKind(error, 'cancelled')) tell({ error: messageOf(error) });
    }
    await telling;
    await (await opened()).end();
  });
}
