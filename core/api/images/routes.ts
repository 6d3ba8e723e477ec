import type { FastifyInstance } from 'fastify';
import { EngineError, invalid, notImplemented } from '../../contracts/errors.js';
import type { Image, Platform } from '../../image/images.js';
import type { ApiContext } from '../context.js';
import { decodeFilters } from '../filters.js';
import { platformOfJson, platformText } from '../platform.js';
import { serveProgress } from '../progress.js';
import { Query } from '../query.js';
import { decodeRegistryAuth } from '../registry-auth.js';
import type { Services } from '../services.js';
import { adapt } from '../version.js';
import { deletedJson, historyJson, imageJson, imageSummary } from './image-json.js';
import { LIST_FILTERS, PRUNE_FILTERS, SEARCH_FILTERS } from './schema.js';

export interface NamedImage {
  Params: { name: string };
}

/** One platform of an image is kept here, so another one that is asked for is absent. */
function checkPlatform(image: Image, name: string, wanted: Platform | undefined): void {
  if (!wanted) return;
  const same =
    image.os === wanted.os && image.architecture === wanted.architecture && (wanted.variant === '' || image.variant === wanted.variant);
  if (same) return;
  throw new EngineError(
    'not-found',
    `image with reference ${name} was found but its platform (${platformText(image)}) does not match the specified platform (${platformText(wanted)})`,
  );
}

/** Query values `platform` of the routes that take JSON there, from the version that has them. */
const platformFrom = (query: Query, version: number, since: number): Platform | undefined =>
  version >= since ? platformOfJson(query.text('platform')) : undefined;

export function imageRoutes(app: FastifyInstance, services: Services, context: ApiContext): void {
  const { images, containers, system } = services;

  app.get('/images/json', async (request) => {
    const query = new Query(request);
    const list = await images.list({ all: query.bool('all'), filters: decodeFilters(query.text('filters'), LIST_FILTERS) });
    const shared = new Map<string, number>();
    if (request.apiVersion >= 42 && query.bool('shared-size')) {
      for (const { image, sharedSize } of (await images.usage()).images) shared.set(image.id, sharedSize);
    }
    const users = new Map<string, number>();
    if (request.apiVersion >= 51) {
      for (const { container } of await containers.list({ all: true, limit: 0, size: false, filters: new Map() })) {
        users.set(container.imageId, (users.get(container.imageId) ?? 0) + 1);
      }
    }
    return list.map((image) => {
      const summary = { ...imageSummary(image), SharedSize: shared.get(image.id) ?? -1, Containers: users.get(image.id) ?? 0 };
      return adapt('image', summary, request.apiVersion);
    });
  });

  app.get('/images/search', async (request) => {
    const query = new Query(request);
    const limit = query.integer('limit') ?? 0;
    if (limit < 0 || limit > 100) throw invalid(`limit ${limit} is outside the range of [1, 100]`);
    const found = await images.search(query.text('term'), {
      limit: limit || 25,
      filters: decodeFilters(query.text('filters'), SEARCH_FILTERS),
      auth: decodeRegistryAuth(request.headers['x-registry-auth']),
    });
    return found.map(({ name, description, stars, official }) => ({
      star_count: stars,
      is_official: official,
      name,
      is_automated: false,
      description,
    }));
  });

  app.get<NamedImage>('/images/:name/json', async (request) => {
    const query = new Query(request);
    const image = await images.inspect(request.params.name);
    checkPlatform(image, request.params.name, platformFrom(query, request.apiVersion, 49));
    return adapt('image', imageJson(image, system.storageDriver), request.apiVersion);
  });

  app.get<NamedImage>('/images/:name/history', async (request) => {
    const wanted = platformFrom(new Query(request), request.apiVersion, 48);
    if (wanted) checkPlatform(await images.inspect(request.params.name), request.params.name, wanted);
    return (await images.history(request.params.name)).map(historyJson);
  });

  app.post<NamedImage>('/images/:name/push', (request, reply) => {
    const query = new Query(request);
    const push = {
      name: request.params.name,
      tag: query.text('tag'),
      platform: platformFrom(query, request.apiVersion, 46),
      auth: decodeRegistryAuth(request.headers['x-registry-auth']),
    };
    return serveProgress(context, reply, (sink, signal) => images.push(push, sink, signal));
  });

  app.post<NamedImage>('/images/:name/tag', async (request, reply) => {
    const query = new Query(request);
    await images.tag(request.params.name, query.text('repo'), query.text('tag'));
    return reply.code(201).send();
  });

  app.delete<NamedImage>('/images/:name', async (request) => {
    const query = new Query(request);
    if (query.has('platforms')) throw notImplemented('removal of single platforms of an image');
    const removed = await images.remove(request.params.name, { force: query.bool('force'), noPrune: query.bool('noprune') });
    return removed.map(deletedJson);
  });

  app.post('/images/prune', async (request) => {
    const { deleted, spaceReclaimed } = await images.prune(decodeFilters(new Query(request).text('filters'), PRUNE_FILTERS));
    return { ImagesDeleted: deleted.length > 0 ? deleted.map(deletedJson) : null, SpaceReclaimed: spaceReclaimed };
  });

  app.get<NamedImage>('/distribution/:name/json', async (request) => {
    const found = await images.distribution(request.params.name, decodeRegistryAuth(request.headers['x-registry-auth']));
    return {
      Descriptor: { mediaType: found.mediaType, digest: found.digest, size: found.size },
      Platforms: found.platforms.map(({ os, architecture, variant }) => ({ architecture, os, ...(variant ? { variant } : {}) })),
    };
  });
}
