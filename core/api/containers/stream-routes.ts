import type { FastifyInstance } from 'fastify';
import type { AttachOptions, WaitCondition } from '../../container/containers.js';
import { invalid } from '../../contracts/errors.js';
import type { ApiContext } from '../context.js';
import { serveHijacked, streamType } from '../hijack.js';
import { Query } from '../query.js';
import { ResponseStream } from '../response-stream.js';
import type { Services } from '../services.js';
import { logLine } from './log-line.js';
import type { NamedRoute } from './routes.js';
import { statsOnce, statsStream } from './stats-stream.js';
import { openWebsocket } from './websocket.js';

const CONDITIONS: readonly string[] = ['not-running', 'next-exit', 'removed'] satisfies WaitCondition[];

function attachOptions(query: Query): AttachOptions {
  return {
    stdin: query.bool('stdin'),
    stdout: query.bool('stdout'),
    stderr: query.bool('stderr'),
    logs: query.bool('logs'),
    stream: query.bool('stream'),
    detachKeys: query.text('detachKeys'),
  };
}

/** `all`, nothing and what is no number mean every line. */
function tailOf(text: string): number | undefined {
  return /^\d+$/.test(text) ? Number(text) : undefined;
}

/** Routes whose answers last: their heads go out before there is anything to say. */
export function containerStreamRoutes(app: FastifyInstance, services: Services, context: ApiContext): void {
  const { containers } = services;

  app.post<NamedRoute>('/containers/:name/attach', async (request, reply) => {
    const options = attachOptions(new Query(request));
    await serveHijacked(context, reply, { stdin: options.stdin }, (open) => containers.attach(request.params.name, options, open));
  });

  app.get<NamedRoute>('/containers/:name/attach/ws', async (request, reply) => {
    const options = attachOptions(new Query(request));
    let client: Awaited<ReturnType<typeof openWebsocket>> | undefined;
    await containers.attach(request.params.name, options, async () => (client = await openWebsocket(context, reply, options.stdin)));
    client?.end();
  });

  app.post<NamedRoute>('/containers/:name/resize', async (request, reply) => {
    const query = new Query(request);
    await containers.resize(request.params.name, query.uint32('h'), query.uint32('w'));
    return reply.code(200).send();
  });

  app.post<NamedRoute>('/containers/:name/wait', async (request, reply) => {
    const condition = request.apiVersion >= 30 ? new Query(request).text('condition') : '';
    if (condition !== '' && !CONDITIONS.includes(condition)) throw invalid(`invalid condition: ${JSON.stringify(condition)}`);
    const gone = new AbortController();
    reply.raw.once('close', () => gone.abort());
    const { result } = await containers.wait(request.params.name, (condition || 'not-running') as WaitCondition, gone.signal);
    // The client starts the container only after it has seen this head.
    const stream = await ResponseStream.open(context, reply, 'application/json');
    try {
      const { exitCode, error } = await result;
      await stream.object(`${JSON.stringify({ StatusCode: exitCode, ...(error ? { Error: { Message: error } } : {}) })}\n`);
      await stream.end();
    } catch {
      stream.fail();
    }
  });

  app.get<NamedRoute>('/containers/:name/logs', async (request, reply) => {
    const query = new Query(request);
    const stdout = query.bool('stdout');
    const stderr = query.bool('stderr');
    if (!stdout && !stderr) throw invalid('Bad parameters: you must choose at least one stream');
    const tail = tailOf(query.text('tail'));
    const since = query.time('since');
    const until = query.time('until');
    const gone = new AbortController();
    reply.raw.once('close', () => gone.abort());
    const wanted = {
      stdout,
      stderr,
      follow: query.bool('follow'),
      signal: gone.signal,
      ...(tail === undefined ? {} : { tail }),
      ...(since === undefined ? {} : { since }),
      ...(until === undefined ? {} : { until }),
    };
    const timestamps = query.bool('timestamps');
    const details = query.bool('details');
    // Details are rare, and only entries have them.
    const { name } = request.params;
    const { tty, entries } = await (details ? containers.logs(name, wanted) : containers.logRuns(name, wanted, { timestamps }));
    const form = { timestamps, details, framed: !tty };
    const stream = await ResponseStream.open(context, reply, streamType(!tty, request.apiVersion));
    try {
      for await (const entry of entries) await (Buffer.isBuffer(entry) ? stream.writeOut(entry) : stream.write(logLine(entry, form)));
      await stream.end();
    } catch (error) {
      context.log.warn('a log could not be read to its end', { container: request.params.name, error: String(error) });
      stream.fail();
    }
  });

  app.get<NamedRoute>('/containers/:name/stats', async (request, reply) => {
    const query = new Query(request);
    if (query.bool('stream', true)) return statsStream(context, containers, request.params.name, reply);
    const gone = new AbortController();
    reply.raw.once('close', () => gone.abort());
    return statsOnce(containers, request.params.name, request.apiVersion >= 41 && query.bool('one-shot'), gone.signal);
  });
}
