import type { FastifyInstance } from 'fastify';
import { invalid, notFound } from '../../contracts/errors.js';
import { endpointOf } from '../containers/container-request.js';
import { decodeFilters } from '../filters.js';
import { Query } from '../query.js';
import type { Services } from '../services.js';
import { adapt } from '../version.js';
import { exposureJson, networkJson, networkRequest } from './network-json.js';
import {
  connect,
  create,
  disconnect,
  LIST_FILTERS,
  PRUNE_FILTERS,
  type ConnectBody,
  type DisconnectBody,
  type NetworkCreateBody,
} from './schema.js';

interface NamedNetwork {
  Params: { name: string };
}

export function networkRoutes(app: FastifyInstance, services: Services): void {
  const { networks, containers } = services;

  app.get('/networks', async (request) => {
    const views = await networks.list(decodeFilters(new Query(request).text('filters'), LIST_FILTERS));
    return views.map((view) => adapt('network', networkJson(view, { containers: request.apiVersion < 28 }), request.apiVersion));
  });

  app.get('/gantry/v1/networks/exposed', async () => exposureJson(await networks.exposure()));

  app.get<NamedNetwork>('/networks/:name', async (request) => {
    const scope = new Query(request).text('scope');
    const view = await networks.inspect(request.params.name);
    if (scope !== '' && scope !== (view.network.scope || 'local')) {
      // What exists in another scope only is absent in this one.
      throw notFound('network', request.params.name);
    }
    return adapt('network', networkJson(view, { containers: true }), request.apiVersion);
  });

  app.post<{ Body: NetworkCreateBody }>('/networks/create', { schema: create }, async (request, reply) => {
    if (!request.body.Name) throw invalid('invalid network name: name is empty');
    const { id, warning } = await networks.create(networkRequest(request.body));
    return reply.code(201).send({ Id: id, Warning: warning });
  });

  app.post<NamedNetwork & { Body: ConnectBody }>('/networks/:name/connect', { schema: connect }, async (request, reply) => {
    const container = request.body.Container ?? '';
    if (container === '') throw invalid('invalid request: a container is required');
    await containers.connect(request.params.name, container, endpointOf(request.body.EndpointConfig));
    return reply.code(200).send();
  });

  app.post<NamedNetwork & { Body: DisconnectBody }>('/networks/:name/disconnect', { schema: disconnect }, async (request, reply) => {
    const container = request.body.Container ?? '';
    if (container === '') throw invalid('invalid request: a container is required');
    await containers.disconnect(request.params.name, container, { force: request.body.Force ?? false });
    return reply.code(200).send();
  });

  app.delete<NamedNetwork>('/networks/:name', async (request, reply) => {
    await networks.remove(request.params.name);
    return reply.code(204).send();
  });

  app.post('/networks/prune', async (request) => {
    const deleted = await networks.prune(decodeFilters(new Query(request).text('filters'), PRUNE_FILTERS));
    return { NetworksDeleted: deleted.length > 0 ? deleted : null };
  });
}
