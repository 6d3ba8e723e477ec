import type { Readable } from 'node:stream';
import type { FastifyInstance } from 'fastify';
import { invalid, isKind } from '../../contracts/errors.js';
import type { Plugin } from '../../plugin/plugins.js';
import { withBody } from '../body.js';
import { logLine } from '../containers/log-line.js';
import type { ApiContext } from '../context.js';
import { decodeFilters } from '../filters.js';
import { streamType } from '../hijack.js';
import { serveProgress } from '../progress.js';
import { Query } from '../query.js';
import { decodeRegistryAuth } from '../registry-auth.js';
import { ResponseStream } from '../response-stream.js';
import type { Services } from '../services.js';
import { connectionJson, foreignPluginJson, pluginConnectionRoutes } from './connection-routes.js';
import { pluginJson, privilegeJson, privilegeOf } from './plugin-json.js';
import { LIST_FILTERS, privileges, settings, type PrivilegeJson } from './schema.js';

interface NamedPlugin {
  Params: { name: string };
}

const required = (query: Query, key: string): string => {
  const value = query.text(key);
  if (value === '') throw invalid(`missing parameter: ${key}`);
  return value;
};

/** Plugins that the engine runs. */
export function pluginRoutes(app: FastifyInstance, services: Services, context: ApiContext): void {
  const { managedPlugins: plugins } = services;
  const json = (plugin: Plugin): object => pluginJson(plugin, plugins.documents(plugin), plugins.life(plugin.id));

  app.get('/plugins', (request) => plugins.list(decodeFilters(new Query(request).text('filters'), LIST_FILTERS)).map(json));

  app.get<NamedPlugin>('/plugins/:name/json', async ({ params: { name } }) => {
    try {
      const plugin = plugins.inspect(name);
      // Nobody is to be called while it is disabled.
      const connection = plugin.enabled ? services.plugins.status(plugin.name) : undefined;
      return { ...json(plugin), ...(connection ? { Connection: connectionJson(connection) } : {}) };
    } catch (error) {
      const foreign = isKind(error, 'not-found') ? services.plugins.status(name) : undefined;
      if (!foreign) throw error;
      return foreignPluginJson(foreign);
    }
  });
  pluginConnectionRoutes(app, services, context);

  app.get('/plugins/privileges', async (request) => {
    const remote = required(new Query(request), 'remote');
    return (await plugins.privileges(remote, decodeRegistryAuth(request.headers['x-registry-auth']))).map(privilegeJson);
  });

  app.post<{ Body: PrivilegeJson[] }>('/plugins/pull', { schema: privileges }, (request, reply) => {
    const query = new Query(request);
    const install = {
      remote: required(query, 'remote'),
      name: query.text('name'),
      agreed: agreedIn(request.body),
      auth: decodeRegistryAuth(request.headers['x-registry-auth']),
    };
    // Where the stock client reads under which name it goes on.
    reply.header('Docker-Plugin-Name', plugins.pulledName(install));
    return serveProgress(context, reply, (sink, signal) => plugins.pull(install, sink, signal));
  });

  app.post<NamedPlugin & { Body: PrivilegeJson[] }>('/plugins/:name/upgrade', { schema: privileges }, (request, reply) => {
    const upgrade = {
      remote: new Query(request).text('remote'),
      agreed: agreedIn(request.body),
      auth: decodeRegistryAuth(request.headers['x-registry-auth']),
    };
    return serveProgress(context, reply, (sink, signal) => plugins.upgrade(request.params.name, upgrade, sink, signal));
  });

  app.post<NamedPlugin>('/plugins/:name/enable', async (request, reply) => {
    const timeout = new Query(request).integer('timeout') ?? 0;
    if (timeout < 0) throw invalid(`invalid value for timeout: ${timeout} is negative`);
    await plugins.enable(request.params.name, { timeout });
    return reply.code(200).send();
  });

  app.post<NamedPlugin>('/plugins/:name/disable', async (request, reply) => {
    await plugins.disable(request.params.name, { force: new Query(request).bool('force') });
    return reply.code(200).send();
  });

  app.post<NamedPlugin & { Body: string[] }>('/plugins/:name/set', { schema: settings }, async (request, reply) => {
    await plugins.set(request.params.name, Array.isArray(request.body) ? request.body : []);
    return reply.code(204).send();
  });

  app.post<NamedPlugin>('/plugins/:name/push', (request, reply) => {
    const auth = decodeRegistryAuth(request.headers['x-registry-auth']);
    return serveProgress(context, reply, (sink, signal) => plugins.push(request.params.name, auth, sink, signal));
  });

  app.delete<NamedPlugin>('/plugins/:name', async (request) => {
    const removed = await plugins.remove(request.params.name, { force: new Query(request).bool('force') });
    return pluginJson({ ...removed, enabled: false }, plugins.documents(removed), plugins.life(removed.id));
  });

  app.get<NamedPlugin>('/gantry/v1/plugins/:name/logs', async (request, reply) => {
    const query = new Query(request);
    const tail = query.integer('tail');
    const since = query.time('since');
    const gone = new AbortController();
    reply.raw.once('close', () => gone.abort());
    const entries = await plugins.logs(request.params.name, {
      follow: query.bool('follow'),
      signal: gone.signal,
      ...(tail === undefined ? {} : { tail }),
      ...(since === undefined ? {} : { since }),
    });
    const form = { timestamps: query.bool('timestamps'), details: false, framed: true };
    const stream = await ResponseStream.open(context, reply, streamType(true, request.apiVersion));
    try {
      for await (const entry of entries) await stream.write(logLine(entry, form));
      await stream.end();
    } catch (error) {
      context.log.warn("a plugin's log could not be read to its end", { plugin: request.params.name, error: String(error) });
      stream.fail();
    }
  });
}

/** Plugins from archives: a body that is a stream. */
export function pluginArchiveRoutes(app: FastifyInstance, services: Services): void {
  app.post('/plugins/create', async (request, reply) => {
    const name = required(new Query(request), 'name');
    await withBody((request.body ?? request.raw) as Readable, (body) => services.managedPlugins.create(name, body));
    return reply.code(204).send();
  });
}

/** A body that was left out agrees to nothing. */
const agreedIn = (body: unknown): ReturnType<typeof privilegeOf>[] =>
  Array.isArray(body) ? (body as PrivilegeJson[]).map(privilegeOf) : [];
