import { pipeline, type Readable } from 'node:stream';
import { createGzip } from 'node:zlib';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { invalid } from '../../contracts/errors.js';
import type { ApiContext } from '../context.js';
import { Query } from '../query.js';
import { sendReadable } from '../response-stream.js';
import type { Services } from '../services.js';
import { pathStatHeader } from './path-stat.js';
import type { NamedRoute } from './routes.js';

const STAT_HEADER = 'X-Docker-Container-Path-Stat';

function pathOf(query: Query): string {
  const path = query.text('path');
  if (path === '') throw invalid("bad parameter: 'path' cannot be empty");
  return path;
}

const takesGzip = (request: FastifyRequest): boolean =>
  String(request.headers['accept-encoding'] ?? '')
    .split(',')
    .some((word) => /^\s*gzip\s*($|;(?!\s*q=0(\.0*)?\s*$))/i.test(word));

/** Files into and out of containers. */
export function containerArchiveRoutes(app: FastifyInstance, services: Services, context: ApiContext): void {
  const { containers } = services;

  app.head<NamedRoute>('/containers/:name/archive', async (request, reply) => {
    const stat = await containers.statPath(request.params.name, pathOf(new Query(request)));
    return reply.header(STAT_HEADER, pathStatHeader(stat)).code(200).send();
  });

  app.get<NamedRoute>('/containers/:name/archive', async (request, reply) => {
    const { stat, content } = await containers.archive(request.params.name, pathOf(new Query(request)));
    reply.header(STAT_HEADER, pathStatHeader(stat));
    let body: Readable = content;
    if (takesGzip(request)) {
      reply.header('Content-Encoding', 'gzip');
      body = pipeline(content, createGzip(), () => undefined);
    }
    await sendReadable(context, reply, 'application/x-tar', body);
  });

  app.put<NamedRoute>('/containers/:name/archive', async (request, reply) => {
    const query = new Query(request);
    await containers.extract(request.params.name, pathOf(query), (request.body ?? request.raw) as Readable, {
      noOverwriteDirNonDir: query.bool('noOverwriteDirNonDir'),
      copyUidGid: query.bool('copyUIDGID'),
    });
    return reply.code(200).send();
  });

  app.get<NamedRoute>('/containers/:name/export', async (request, reply) => {
    await sendReadable(context, reply, 'application/octet-stream', await containers.export(request.params.name));
  });
}
