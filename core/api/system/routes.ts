import type { FastifyInstance } from 'fastify';
import { EngineError } from '../../contracts/errors.js';
import type { ApiContext } from '../context.js';
import { decodeFilters } from '../filters.js';
import { Query } from '../query.js';
import { registryAuth } from '../registry-auth.js';
import { ResponseStream } from '../response-stream.js';
import type { Services } from '../services.js';
import { adapt } from '../version.js';
import { diskUsage } from './disk-usage.js';
import { auth, EVENT_FILTERS, type AuthBody } from './schema.js';
import { eventLine, infoJson, versionJson } from './system-json.js';

const PING_HEADERS = {
  // 2 would make clients ask for BuildKit's session, which is not served.
  'Builder-Version': '1',
  'Cache-Control': 'no-cache, no-store, must-revalidate',
  Pragma: 'no-cache',
  Swarm: 'inactive',
  'Content-Type': 'text/plain; charset=utf-8',
} as const;

export function systemRoutes(app: FastifyInstance, services: Services, context: ApiContext): void {
  const { system, events, images } = services;

  app.get('/_ping', (_request, reply) => reply.headers(PING_HEADERS).send(Buffer.from('OK')));
  app.head('/_ping', (_request, reply) => reply.headers(PING_HEADERS).header('Content-Length', '0').send());

  app.get('/version', () => versionJson(system.version()));

  app.get('/info', async (request) => adapt('info', infoJson(await system.info(), context.accessPlugins()), request.apiVersion));

  app.get('/system/df', (request) => {
    const types = request.apiVersion >= 42 ? new Query(request).list('type') : [];
    return diskUsage(services, types, request.apiVersion);
  });

  app.post<{ Body: AuthBody }>('/auth', { schema: auth }, async (request) => {
    const credentials = registryAuth(request.body as Record<string, unknown>);
    if (!credentials) throw new EngineError('unauthorized', 'no credentials given');
    const { status, identityToken } = await images.login(credentials);
    return { Status: status, IdentityToken: identityToken };
  });

  app.get('/events', async (request, reply) => {
    const query = new Query(request);
    const since = query.time('since');
    const until = query.time('until');
    const filters = decodeFilters(query.text('filters'), EVENT_FILTERS);
    const gone = new AbortController();
    const source = events.subscribe({
      ...(since === undefined ? {} : { since }),
      ...(until === undefined ? {} : { until }),
      filters,
      signal: gone.signal,
    });
    reply.raw.once('close', () => gone.abort());
    const stream = await ResponseStream.open(context, reply, 'application/json');
    try {
      for await (const event of source) await stream.object(eventLine(event));
      await stream.end();
    } catch {
      stream.fail();
    }
  });
}
