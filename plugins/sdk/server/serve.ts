import { mkdirSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { dirname } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { kindOf, messageOf, PluginError } from '../protocol/errors.js';
import { describe, isMethod, kindOfMethod, MEDIA_TYPE, type JsonMethod, type Method } from '../protocol/methods.js';
import { canonical, whyInvalid } from '../protocol/validate.js';
import { accessPart, type AccessPlugin } from './access.js';
import type { JsonHandlers, Part } from './handlers.js';
import { ipamPart, type IpamPlugin } from './ipam.js';
import { logPart, type LogPlugin } from './log.js';
import { metricsPart, type MetricsPlugin } from './metrics.js';
import { networkPart, type NetworkPlugin } from './network.js';
import { storagePart, type StoragePlugin } from './storage.js';
import { volumePart, type VolumePlugin } from './volume.js';

/** Bytes of a request that a plugin reads. */
const LONGEST_REQUEST = 8 * 1024 * 1024;

/** The parts of one plugin, any of them. */
export interface PluginParts {
  readonly volume?: VolumePlugin;
  readonly network?: NetworkPlugin;
  readonly ipam?: IpamPlugin;
  readonly storage?: StoragePlugin;
  readonly log?: LogPlugin;
  readonly access?: AccessPlugin;
  readonly metrics?: MetricsPlugin;
}

/** One call that was answered. */
export interface ServedCall {
  readonly method: string;
  readonly ms: number;
  readonly request?: unknown;
  readonly error?: string;
}

export interface ServeOptions extends PluginParts {
  /** Where engines look for it: `/run/docker/plugins/NAME.sock`. */
  readonly socket: string;
  readonly onCall?: (call: ServedCall) => void;
  /** After the last answer, before the process ends. */
  readonly onClose?: () => Promise<void>;
}

export interface RunningPlugin {
  readonly socket: string;
  /** Ends after the calls at work were answered, and takes the socket away. */
  close(): Promise<void>;
}

/**
 * Serves a plugin until the process is told to end. What the handlers throw becomes `Err`, with the kind of the error beside it for
 * engines that know kinds.
 */
export async function serve(options: ServeOptions): Promise<RunningPlugin> {
  const parts: Part[] = [
    ...(options.volume ? [volumePart(options.volume)] : []),
    ...(options.network ? [networkPart(options.network)] : []),
    ...(options.ipam ? [ipamPart(options.ipam)] : []),
    ...(options.storage ? [storagePart(options.storage)] : []),
    ...(options.log ? [logPart(options.log)] : []),
    ...(options.access ? [accessPart(options.access)] : []),
    ...(options.metrics ? [metricsPart(options.metrics)] : []),
  ];
  if (parts.length === 0)
    throw new PluginError('invalid-parameter', 'a plugin needs at least one part: volume, network, ipam, storage, log, access or metrics');
  const table = new Table(parts, options.onCall);
  const server = createServer((request, response) => void table.answer(request, response));
  // A call takes as long as the work behind it; engines have deadlines of their own.
  server.requestTimeout = 0;
  await listen(server, options.socket);
  const close = async (): Promise<void> => {
    process.off('SIGTERM', end);
    process.off('SIGINT', end);
    await new Promise((done) => {
      server.close(done);
      server.closeIdleConnections();
    });
    for (const part of parts) await part.close?.();
    await options.onClose?.();
  };
  const end = (): void => void close().then(() => process.exit(0));
  process.once('SIGTERM', end);
  process.once('SIGINT', end);
  return { socket: options.socket, close };
}

/** A socket that nobody serves is left of a plugin that was killed; one that answers belongs to somebody. */
async function listen(server: Server, socket: string): Promise<void> {
  mkdirSync(dirname(socket), { recursive: true });
  if (await answers(socket)) throw new PluginError('conflict', `another plugin serves ${socket}`);
  rmSync(socket, { force: true });
  await new Promise<void>((done, fail) => {
    server.once('error', fail);
    server.listen(socket, () => {
      server.off('error', fail);
      done();
    });
  });
}

const answers = (socket: string): Promise<boolean> =>
  new Promise((done) => {
    const probe = connect(socket);
    probe.once('connect', () => {
      probe.destroy();
      done(true);
    });
    probe.once('error', () => done(false));
  });

class Table {
  private readonly json: JsonHandlers;
  private readonly streams: NonNullable<Part['streams']>;

  constructor(
    private readonly parts: readonly Part[],
    private readonly onCall: ((call: ServedCall) => void) | undefined,
  ) {
    this.json = Object.assign({}, ...parts.map((part) => part.json)) as JsonHandlers;
    this.streams = Object.assign({}, ...parts.map((part) => part.streams ?? {})) as NonNullable<Part['streams']>;
    this.json['Plugin.Activate'] = async () => ({ Implements: this.parts.map((part) => part.kind) });
  }

  async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const began = performance.now();
    const url = new URL(request.url ?? '/', 'http://plugin');
    const method = url.pathname.slice(1);
    let body: unknown;
    let error: string | undefined;
    try {
      if (!isMethod(method)) throw new PluginError('not-implemented', `no such method: ${method.slice(0, 100)}`);
      if (method === 'GraphDriver.ApplyDiff') await this.apply(url, request, response);
      else {
        body = await readBody(method, request);
        await this.run(method, body, response);
      }
    } catch (thrown) {
      error = messageOf(thrown);
      refuse(method, thrown, response);
    }
    this.onCall?.({
      method,
      ms: Math.round((performance.now() - began) * 100) / 100,
      ...(body === undefined ? {} : { request: body }),
      ...(error === undefined ? {} : { error }),
    });
  }

  private async run(method: Method, body: unknown, response: ServerResponse): Promise<void> {
    if (method === 'GraphDriver.Diff') {
      const diff = this.streams[method];
      if (!diff) throw notServed(method);
      const archive = await diff(body as { ID: string });
      response.writeHead(200, { 'content-type': 'application/x-tar' });
      // A failure in the middle breaks the connection: an archive that ends early must not look whole.
      return pipeline(archive, response).catch((error: unknown) => void response.destroy(error as Error));
    }
    if (method === 'LogDriver.ReadLogs') {
      const read = this.streams[method];
      if (!read) throw notServed(method);
      const gone = new AbortController();
      response.once('close', () => gone.abort());
      response.writeHead(200, { 'content-type': 'application/octet-stream' }).flushHeaders();
      return pipeline(Readable.from(read(body as never, gone.signal)), response).catch(
        (error: unknown) => void response.destroy(error as Error),
      );
    }
    const handler = this.json[method as JsonMethod] as ((request: unknown) => Promise<object>) | undefined;
    if (!handler) throw notServed(method);
    send(response, 200, await handler(body));
  }

  private async apply(url: URL, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const apply = this.streams['GraphDriver.ApplyDiff'];
    if (!apply) throw notServed('GraphDriver.ApplyDiff');
    send(response, 200, await apply({ id: url.searchParams.get('id') ?? '', parent: url.searchParams.get('parent') ?? '' }, request));
  }
}

const notServed = (method: string): PluginError => new PluginError('not-implemented', `${method} is not served by this plugin`);

/** Engines send an empty body for calls without arguments, and some send it for a call that they repeat: both are read as they are. */
async function readBody(method: Method, request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > LONGEST_REQUEST)
      throw new PluginError('invalid-parameter', `${method}: the request is larger than ${LONGEST_REQUEST} bytes`);
    chunks.push(chunk);
  }
  const schema = describe(method).request;
  if (schema === undefined || schema === 'stream') return undefined;
  const text = Buffer.concat(chunks).toString('utf8').trim();
  let value: unknown;
  try {
    value = canonical(text === '' ? {} : JSON.parse(text), schema);
  } catch (error) {
    throw new PluginError('invalid-parameter', `${method}: the request is not JSON: ${messageOf(error)}`);
  }
  const wrong = whyInvalid(value, schema);
  if (wrong !== undefined) throw new PluginError('invalid-parameter', `${method}: ${text === '' ? 'EOF: the request is empty' : wrong}`);
  return value;
}

function refuse(method: string, thrown: unknown, response: ServerResponse): void {
  if (response.headersSent) return void response.destroy();
  const kind = kindOf(thrown);
  // A method that is not there is 404, which engines take for "do without"; all else is told in the body, as they expect it.
  const status = kind === 'not-implemented' ? 404 : 200;
  const text = messageOf(thrown) || 'failed without a word';
  const denied = isMethod(method) && kindOfMethod(method) === 'authz' ? { Allow: false } : {};
  send(response, status, { ...denied, Err: text, ErrKind: kind, ...(method.startsWith('IpamDriver.') ? { Error: text } : {}) });
}

function send(response: ServerResponse, status: number, value: object): void {
  const bytes = Buffer.from(`${JSON.stringify(value)}\n`);
  response.writeHead(status, { 'content-type': MEDIA_TYPE, 'content-length': bytes.length }).end(bytes);
}
