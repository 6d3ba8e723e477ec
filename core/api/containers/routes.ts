import type { FastifyInstance, FastifyRequest } from 'fastify';
import { conflict, EngineError, invalid } from '../../contracts/errors.js';
import type { ApiContext } from '../context.js';
import { decodeFilters } from '../filters.js';
import { Query } from '../query.js';
import type { Services } from '../services.js';
import { adapt } from '../version.js';
import {
  configOverrides,
  createRequest,
  mountOf,
  portBindingsOf,
  portsToRemove,
  resourceChange,
  restartPolicyOf,
} from './container-request.js';
import { containerJson } from './container-json.js';
import { containerSummaryText } from './container-summary.js';
import {
  addMount,
  changePorts,
  type ChangePortsBody,
  commit,
  type ConfigJson,
  create,
  type CreateBody,
  LIST_FILTERS,
  type MountJson,
  PRUNE_FILTERS,
  update,
  type UpdateBody,
} from './schema.js';

export interface NamedRoute {
  Params: { name: string };
}

const KIND = { modified: 0, added: 1, deleted: 2 } as const;

/** Seconds and signal of stop and restart; the signal came with 1.42. */
function stopOptions(request: FastifyRequest): { timeout?: number; signal?: string } {
  const query = new Query(request);
  const timeout = query.integer('t');
  const signal = request.apiVersion >= 42 ? query.text('signal') : '';
  return { ...(timeout === undefined ? {} : { timeout }), ...(signal === '' ? {} : { signal }) };
}

export function containerRoutes(app: FastifyInstance, services: Services, _context: ApiContext): void {
  const { containers, networks } = services;

  app.get('/containers/json', async (request, reply) => {
    const query = new Query(request);
    const filters = decodeFilters(query.text('filters'), LIST_FILTERS);
    const views = await containers.list({
      all: query.bool('all'),
      limit: Math.max(0, query.integer('limit') ?? 0),
      size: query.bool('size'),
      filters,
    });
    const texts = views.map((view) => containerSummaryText(view, networks, request.apiVersion));
    return reply.type('application/json').send(`[${texts.join(',')}]`);
  });

  app.post<{ Body: CreateBody }>('/containers/create', { schema: create }, async (request, reply) => {
    const query = new Query(request);
    const { id, warnings } = await containers.create(
      createRequest(
        request.body,
        { name: query.text('name'), platform: query.text('platform'), storageDriver: query.text('storage-driver') },
        request.apiVersion,
      ),
    );
    return reply.code(201).send({ Id: id, Warnings: warnings });
  });

  app.post('/containers/prune', async (request) => {
    const { deleted, spaceReclaimed } = await containers.prune(decodeFilters(new Query(request).text('filters'), PRUNE_FILTERS));
    return { ContainersDeleted: deleted.length > 0 ? deleted : null, SpaceReclaimed: spaceReclaimed };
  });

  app.get<NamedRoute>('/containers/:name/json', async (request) => {
    const view = await containers.inspect(request.params.name, { size: new Query(request).bool('size') });
    return adapt('container', containerJson(view, networks), request.apiVersion);
  });

  app.get<NamedRoute>('/containers/:name/top', async (request) => {
    const { titles, processes } = await containers.top(request.params.name, new Query(request).text('ps_args') || '-ef');
    return { Titles: titles, Processes: processes };
  });

  app.get<NamedRoute>('/containers/:name/changes', async (request) => {
    const changes = await containers.changes(request.params.name);
    return changes.map(({ path, kind }) => ({ Path: path, Kind: KIND[kind] }));
  });

  app.post<NamedRoute>('/containers/:name/start', async (request, reply) => {
    const { body } = request;
    const fields = typeof body === 'object' && body !== null && !('pipe' in body) ? Object.keys(body).length : 0;
    // `{}` and `null` are what clients send for nothing.
    if (Number(request.headers['content-length'] ?? '0') > 7 || fields > 0) {
      throw invalid('starting container with non-empty request body was deprecated since API v1.22 and removed in v1.24');
    }
    await containers.start(request.params.name);
    return reply.code(204).send();
  });

  app.post<NamedRoute>('/containers/:name/stop', async (request, reply) => {
    await containers.stop(request.params.name, stopOptions(request));
    return reply.code(204).send();
  });

  app.post<NamedRoute>('/containers/:name/restart', async (request, reply) => {
    await containers.restart(request.params.name, stopOptions(request));
    return reply.code(204).send();
  });

  app.post<NamedRoute>('/containers/:name/kill', async (request, reply) => {
    await containers.kill(request.params.name, new Query(request).text('signal') || 'SIGKILL');
    return reply.code(204).send();
  });

  app.post<NamedRoute>('/containers/:name/pause', async (request, reply) => {
    await containers.pause(request.params.name);
    return reply.code(204).send();
  });

  app.post<NamedRoute>('/containers/:name/unpause', async (request, reply) => {
    await containers.unpause(request.params.name);
    return reply.code(204).send();
  });

  app.post<NamedRoute>('/containers/:name/rename', async (request, reply) => {
    const name = new Query(request).text('name').replace(/^\//, '');
    if (name === '') throw invalid('Neither old nor new names may be empty');
    await containers.rename(request.params.name, name);
    return reply.code(204).send();
  });

  app.post<NamedRoute & { Body: UpdateBody }>('/containers/:name/update', { schema: update }, async (request) => {
    const { RestartPolicy: policy } = request.body;
    const { warnings } = await containers.update(request.params.name, {
      resources: resourceChange(request.body),
      ...(policy?.Name ? { restartPolicy: restartPolicyOf(policy) } : {}),
      // Docker's own clients never send it; the engine's change the ports of a container that runs.
      ...(request.body.PortBindings ? { portBindings: portBindingsOf(request.body.PortBindings) } : {}),
    });
    return { Warnings: warnings };
  });

  app.post<NamedRoute & { Body: ChangePortsBody }>('/gantry/v1/containers/:name/ports', { schema: changePorts }, async (request, reply) => {
    await containers.changePorts(request.params.name, {
      add: portBindingsOf(request.body.Add),
      remove: portsToRemove(request.body.Remove),
    });
    return reply.code(204).send();
  });

  app.post<NamedRoute & { Body: MountJson }>('/gantry/v1/containers/:name/mounts', { schema: addMount }, async (request, reply) => {
    await containers.addMount(request.params.name, mountOf(request.body, request.apiVersion));
    return reply.code(204).send();
  });

  app.delete<NamedRoute>('/gantry/v1/containers/:name/mounts', async (request, reply) => {
    const target = new Query(request).text('target');
    if (!target.startsWith('/')) throw invalid(`invalid mount path: '${target}' mount path must be absolute`);
    await containers.removeMount(request.params.name, target);
    return reply.code(204).send();
  });

  app.delete<NamedRoute>('/containers/:name', async (request, reply) => {
    const query = new Query(request);
    if (query.bool('link')) throw conflict('Conflict, cannot remove the default link name of the container');
    await containers.remove(request.params.name, { force: query.bool('force'), volumes: query.bool('v') });
    return reply.code(204).send();
  });

  // How a link is named, to be removed by itself (`docker rm --link CONTAINER/ALIAS`).
  app.delete<{ Params: { name: string; alias: string } }>('/containers/:name/:alias', async (request, reply) => {
    const { name, alias } = request.params;
    if (!new Query(request).bool('link')) throw new EngineError('not-found', `No such container: ${name}/${alias}`);
    await containers.removeLink(name, alias);
    return reply.code(204).send();
  });

  app.post<{ Body: ConfigJson }>('/commit', { schema: commit }, async (request, reply) => {
    const query = new Query(request);
    const id = await containers.commit(query.text('container'), {
      repository: query.text('repo'),
      tag: query.text('tag'),
      comment: query.text('comment'),
      author: query.text('author'),
      pause: query.bool('pause', true),
      changes: query
        .list('changes')
        .flatMap((change) => change.split('\n'))
        .filter((line) => line.trim() !== ''),
      config: configOverrides(request.body),
    });
    return reply.code(201).send({ Id: id });
  });
}
