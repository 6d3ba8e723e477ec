import type { FastifyInstance } from 'fastify';
import { EngineError } from '../../contracts/errors.js';
import type { PluginCallRecord, PluginStatus } from '../../contracts/plugin.js';
import type { ApiContext } from '../context.js';
import { ResponseStream } from '../response-stream.js';
import type { Services } from '../services.js';

interface NamedPlugin {
  Params: { name: string };
}

/** Bytes of records that wait for a slow reader before it loses some. */
const BACKLOG = 4 * 1024 * 1024;

/** What the engine has seen of plugins that it calls, whoever runs them. Beyond Docker's API. */
export function pluginConnectionRoutes(app: FastifyInstance, services: Services, context: ApiContext): void {
  const { plugins } = services;

  app.get('/gantry/v1/plugins', () => plugins.list().map(connectionJson));

  app.get<NamedPlugin>('/gantry/v1/plugins/:name/trace', async (request, reply) => {
    const { name } = request.params;
    if (!plugins.status(name)) throw new EngineError('not-found', `plugin ${JSON.stringify(name)} not found`);
    const stream = await ResponseStream.open(context, reply, 'application/x-ndjson');
    let lost = 0;
    const stop = plugins.trace(name, (record) => {
      if (stream.backlog > BACKLOG) lost++;
      else void stream.object(`${JSON.stringify(callJson(record, lost))}\n`);
    });
    stream.gone.addEventListener('abort', stop, { once: true });
  });
}

/** One call, as `gantry plugin trace` shows and `replay` repeats it. */
const callJson = (record: PluginCallRecord, lost: number): object => ({
  Plugin: record.plugin,
  Method: record.method,
  Time: record.at,
  Milliseconds: record.ms,
  ...(record.status === undefined ? {} : { Status: record.status }),
  ...(record.request === undefined ? {} : { Request: record.request }),
  ...(record.response === undefined ? {} : { Response: record.response }),
  ...(record.error === undefined ? {} : { Error: record.error }),
  ...(lost === 0 ? {} : { Lost: lost }),
});

/** What the last calls to a plugin showed. */
export const connectionJson = (status: PluginStatus): object => ({
  Name: status.name,
  Address: status.address,
  Source: status.source,
  Implements: status.kinds,
  Connection: status.state,
  Holders: status.holders,
  ...(status.lastError
    ? { LastError: { Time: status.lastError.at, Method: status.lastError.method, Message: status.lastError.message } }
    : {}),
  Calls: status.calls.map(({ method, count, failures, inFlight, p50, p99 }) => ({
    Method: method,
    Count: count,
    Failures: failures,
    InFlight: inFlight,
    MillisecondsP50: p50,
    MillisecondsP99: p99,
  })),
});

/** A plugin that somebody else runs, in the form in which Docker tells of those that the engine runs. */
export const foreignPluginJson = (status: PluginStatus): object => ({
  Id: '',
  Name: status.name,
  Enabled: status.state !== 'unavailable',
  PluginReference: '',
  Settings: { Args: null, Devices: null, Env: null, Mounts: null },
  Config: { Description: 'a plugin that the engine does not run', Interface: { Socket: status.address, Types: status.kinds } },
  State: connectionJson(status),
});
