import type { Readable } from 'node:stream';
import type { FastifyInstance } from 'fastify';
import { invalid } from '../../contracts/errors.js';
import { withBody } from '../body.js';
import { textMapOf } from '../containers/container-request.js';
import type { ApiContext } from '../context.js';
import { Query } from '../query.js';
import { sendReadable } from '../response-stream.js';
import type { Services } from '../services.js';
import type { NamedVolume } from './routes.js';
import { copy, rename, resize, type VolumeCopyBody, type VolumeRenameBody, type VolumeResizeBody } from './schema.js';
import { volumeJson } from './volume-json.js';

const named = (name: string | null | undefined): string => {
  if (!name) throw invalid('the name of the new volume is missing');
  return name;
};

/** What Docker's API has no word for: below the engine's own prefix, where no client of Docker's looks. */
export function volumeCopyRoutes(app: FastifyInstance, services: Services): void {
  const { volumes } = services;

  for (const verb of ['clone', 'snapshot'] as const) {
    app.post<NamedVolume & { Body: VolumeCopyBody }>(`/gantry/v1/volumes/:name/${verb}`, { schema: copy }, async (request, reply) => {
      const { Name, Labels, Freeze } = request.body;
      const made = await volumes[verb](request.params.name, { to: named(Name), labels: textMapOf(Labels), freeze: Freeze ?? false });
      return reply.code(201).send(volumeJson(made));
    });
  }

  app.post<NamedVolume & { Body: VolumeRenameBody }>('/gantry/v1/volumes/:name/rename', { schema: rename }, async (request) =>
    volumeJson(await volumes.rename(request.params.name, named(request.body.Name))),
  );

  app.post<NamedVolume & { Body: VolumeResizeBody }>('/gantry/v1/volumes/:name/resize', { schema: resize }, async (request, reply) => {
    await volumes.resize(request.params.name, request.body.Size ?? 0);
    return reply.code(204).send();
  });
}

/** Archives of volumes: bodies that are streams. */
export function volumeArchiveRoutes(app: FastifyInstance, services: Services, context: ApiContext): void {
  const { volumes } = services;

  app.get<NamedVolume>('/gantry/v1/volumes/:name/archive', async (request, reply) => {
    const content = await volumes.exportFrom(request.params.name, { freeze: new Query(request).bool('freeze') });
    await sendReadable(context, reply, 'application/x-tar', content);
  });

  app.put<NamedVolume>('/gantry/v1/volumes/:name/archive', async (request, reply) => {
    await withBody((request.body ?? request.raw) as Readable, (body) => volumes.importInto(request.params.name, body));
    return reply.code(200).send();
  });
}
