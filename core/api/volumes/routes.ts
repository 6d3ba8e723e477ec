import type { FastifyInstance } from 'fastify';
import { notImplemented } from '../../contracts/errors.js';
import { textMapOf } from '../containers/container-request.js';
import { decodeFilters } from '../filters.js';
import { isTrue, Query } from '../query.js';
import type { Services } from '../services.js';
import { create, LIST_FILTERS, PRUNE_FILTERS, type VolumeCreateBody } from './schema.js';
import { volumeJson } from './volume-json.js';

export interface NamedVolume {
  Params: { name: string };
}

export function volumeRoutes(app: FastifyInstance, services: Services): void {
  const { volumes } = services;

  app.get('/volumes', async (request) => {
    const { volumes: list, warnings } = await volumes.list(decodeFilters(new Query(request).text('filters'), LIST_FILTERS));
    return { Volumes: list.map(volumeJson), Warnings: warnings.length > 0 ? warnings : null };
  });

  app.get<NamedVolume>('/volumes/:name', async (request) => volumeJson(await volumes.inspect(request.params.name)));

  app.post<{ Body: VolumeCreateBody }>('/volumes/create', { schema: create }, async (request, reply) => {
    const { body } = request;
    if (body.ClusterVolumeSpec) throw notImplemented('cluster volumes');
    const volume = await volumes.create({
      name: body.Name ?? '',
      driver: body.Driver ?? '',
      options: textMapOf(body.DriverOpts),
      labels: textMapOf(body.Labels),
    });
    return reply.code(201).send(volumeJson(volume));
  });

  app.delete<NamedVolume>('/volumes/:name', async (request, reply) => {
    await volumes.remove(request.params.name, { force: new Query(request).bool('force') });
    return reply.code(204).send();
  });

  app.post('/volumes/prune', async (request) => {
    const filters = decodeFilters(new Query(request).text('filters'), PRUNE_FILTERS);
    // Before 1.42 the same call took every unused volume, not the anonymous ones alone.
    const all = request.apiVersion < 42 || (filters.get('all') ?? []).some(isTrue);
    filters.delete('all');
    const { deleted, spaceReclaimed } = await volumes.prune(filters, { all });
    return { VolumesDeleted: deleted, SpaceReclaimed: spaceReclaimed };
  });
}
