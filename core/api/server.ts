import { createServer as createHttpServer, type RequestListener, type Server } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import fastify, { type FastifyInstance, type FastifyRequest, type FastifyServerOptions } from 'fastify';
import type { AuthorizationPlugin } from '../contracts/authorization.js';
import type { Logger } from '../contracts/manifest.js';
import type { ActionTimes } from '../system/engine-metrics.js';
import { Authorization } from './authorization.js';
import { compileBodySchema, onlyStreams, readBodies } from './body.js';
import { peerOf, refuseBrowsers } from './connection.js';
import { containerArchiveRoutes } from './containers/archive-routes.js';
import { containerRoutes } from './containers/routes.js';
import { containerStreamRoutes } from './containers/stream-routes.js';
import type { ApiContext } from './context.js';
import { mapErrors } from './errors.js';
import { execRoutes } from './exec/routes.js';
import { gantryRoutes } from './gantry/routes.js';
import { engineHeaders } from './headers.js';
import { acceptUpgrades, upgradeWanted } from './hijack.js';
import { imageArchiveRoutes } from './images/archive-routes.js';
import { imageRoutes } from './images/routes.js';
import { limits } from './limits.js';
import { bindUnix } from './listen.js';
import { measureRoutes } from './measured.js';
import { missingRoutes } from './missing/routes.js';
import { networkRoutes } from './networks/routes.js';
import { pluginArchiveRoutes, pluginRoutes } from './plugins/routes.js';
import type { Services } from './services.js';
import { systemRoutes } from './system/routes.js';
import { rewriteUrl, targetOf } from './version.js';
import { volumeArchiveRoutes, volumeCopyRoutes } from './volumes/copy-routes.js';
import { volumeRoutes } from './volumes/routes.js';

declare module 'fastify' {
  interface FastifyRequest {
    /** Minor number of the API version that the client speaks. */
    readonly apiVersion: number;
  }
}

export interface ServerOptions {
  readonly services: Services;
  readonly log: Logger;
  /** Those that are asked about a request that comes now, in order. Called for each request. */
  readonly authorization?: () => readonly AuthorizationPlugin[];
  /** Host names under which plain TCP clients may ask for the engine, beside addresses, `localhost`, this host's name and what is listened on. */
  readonly hostNames?: readonly string[];
  /** Where the time of routes is noted that the metrics tell of. */
  readonly times?: ActionTimes;
  /** Runs a request that frees disk space, with all that follows from it. */
  readonly whileFreeing?: (work: () => void) => void;
  /** SIOCOUTQ: bytes written to a descriptor that its peer has not taken yet. */
  readonly unsent?: (fd: number) => number;
  /** SO_PEERCRED: user id of the process at the other end of a unix socket. */
  readonly peerUid?: (fd: number) => number | undefined;
}

export interface TlsOptions {
  readonly cert: string | Buffer;
  readonly key: string | Buffer;
  /** Certificate authorities of clients. */
  readonly ca?: string | Buffer;
  /** `--tlsverify`: clients need a certificate of `ca`. */
  readonly verifyClients: boolean;
}

export type ListenOn =
  /** Mode 0660 unless told; `group` is a group id. */
  | { readonly kind: 'unix'; readonly path: string; readonly mode?: number; readonly group?: number }
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number; readonly tls?: TlsOptions }
  /** A listening socket that was inherited (socket activation). */
  | { readonly kind: 'fd'; readonly fd: number };

/** Docker's API over one set of services, on any number of listeners. */
export interface ApiServer {
  /** For requests without a socket, as tests make them. */
  readonly app: FastifyInstance;
  /** Resolves to the address: a path, or `host:port` with the port that was chosen. */
  listen(on: ListenOn): Promise<string>;
  /** Stops listening, ends streams and connections. Repeatable. */
  close(): Promise<void>;
}

// Given both, the framework does not load compilers of its own, which is half of its weight. Its types know its own alone.
const compilers = {
  compilersFactory: {
    buildValidator: () => compileBodySchema,
    buildSerializer: () => () => (payload: unknown) => JSON.stringify(payload),
  },
} as unknown as NonNullable<FastifyServerOptions['schemaController']>;

export async function createServer(options: ServerOptions): Promise<ApiServer> {
  const { services, log } = options;
  const hostNames = new Set([hostname(), ...(options.hostNames ?? [])].map((name) => name.toLowerCase()));
  const peer = (request: FastifyRequest): ReturnType<typeof peerOf> => peerOf(request.raw.socket, options.peerUid);
  const authorization = new Authorization(options.authorization ?? (() => []), peer);
  const context: ApiContext = {
    log,
    accessPlugins: () => authorization.names,
    authorizeAnswer: (request, statusCode) => authorization.response(request, { statusCode }),
    ...(options.unsent ? { unsent: options.unsent } : {}),
    open: new Set(),
  };

  let handler: RequestListener | undefined;
  const app = fastify({
    serverFactory: (listener) => {
      handler = listener;
      return createHttpServer();
    },
    rewriteUrl: (raw) => rewriteUrl(raw),
    bodyLimit: Number.MAX_SAFE_INTEGER,
    exposeHeadRoutes: false,
    return503OnClosing: false,
    schemaController: compilers,
    routerOptions: { maxParamLength: limits.parameter, ignoreTrailingSlash: true },
  });
  app.setSchemaErrorFormatter(([first]) => first as unknown as Error);
  app.setReplySerializer((payload) => `${JSON.stringify(payload)}\n`);
  mapErrors(app, log);
  readBodies(app);

  app.decorateRequest('apiVersion', { getter: (): number => 0 });
  const headers = Object.entries(engineHeaders(services.system.version().version));
  app.addHook('onRequest', (request, reply, done) => {
    const target = targetOf(request.raw);
    log.debug('request', { method: request.method, url: request.originalUrl });
    Object.defineProperty(request, 'apiVersion', { value: target.version });
    for (const [name, value] of headers) reply.header(name, value);
    if (target.refusal) return done(target.refusal);
    try {
      refuseBrowsers(request.raw, hostNames);
    } catch (error) {
      return done(error as Error);
    }
    done();
  });
  const { whileFreeing } = options;
  // Not earlier: what reads a body goes on in the context of its connection.
  if (whileFreeing) app.addHook('preHandler', (request, _reply, done) => (freesSpace(request) ? whileFreeing(done) : done()));
  app.addHook('onSend', (_request, reply, payload, done) => {
    if (typeof payload === 'string') {
      const type = reply.getHeader('content-type');
      // To the letter: the framework would add a charset to errors.
      if (type === undefined || String(type).startsWith('application/json')) reply.header('content-type', 'application/json');
    }
    done(null, payload);
  });
  authorization.guard(app);

  if (options.times) measureRoutes(app, options.times);
  systemRoutes(app, services, context);
  containerRoutes(app, services, context);
  containerStreamRoutes(app, services, context);
  execRoutes(app, services, context);
  imageRoutes(app, services, context);
  networkRoutes(app, services);
  volumeRoutes(app, services);
  gantryRoutes(app, services, context);
  volumeCopyRoutes(app, services);
  pluginRoutes(app, services, context);
  missingRoutes(app);
  await app.register(async (streams) => {
    onlyStreams(streams);
    containerArchiveRoutes(streams, services, context);
    imageArchiveRoutes(streams, services, context);
    pluginArchiveRoutes(streams, services);
    volumeArchiveRoutes(streams, services, context);
  });
  app.options('/*', (_request, reply) => reply.code(200).send());
  await app.ready();
  if (!handler) throw new Error('the HTTP framework made no handler');
  return new Listeners(app, handler, context, hostNames, log);
}

const freesSpace = ({ method, url }: FastifyRequest): boolean =>
  method === 'DELETE' || (method === 'POST' && /\/(prune|stop|kill)(\?|$)/.test(url));

class Listeners implements ApiServer {
  private readonly servers = new Set<Server>();
  private readonly connections = new Set<Socket>();
  private closing: Promise<void> | undefined;

  constructor(
    readonly app: FastifyInstance,
    private readonly handler: RequestListener,
    private readonly context: ApiContext,
    private readonly hostNames: Set<string>,
    private readonly log: Logger,
  ) {}

  async listen(on: ListenOn): Promise<string> {
    const server = this.makeServer(on.kind === 'tcp' ? on.tls : undefined);
    if (on.kind === 'tcp') this.hostNames.add(on.host.toLowerCase());
    if (on.kind === 'unix') await bindUnix(server, on);
    else
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject);
        server.listen(on.kind === 'fd' ? { fd: on.fd } : { host: on.host, port: on.port }, () => {
          server.off('error', reject);
          resolve();
        });
      });
    this.servers.add(server);
    const address = server.address() as AddressInfo | string | null;
    if (typeof address === 'string') return address;
    if (!address) return '';
    return address.family === 'IPv6' ? `[${address.address}]:${address.port}` : `${address.address}:${address.port}`;
  }

  close(): Promise<void> {
    this.closing ??= this.closeAll();
    return this.closing;
  }

  /** Streams end at once, for they may last for ever; requests at work get some seconds to be answered. */
  private async closeAll(): Promise<void> {
    const closing = new Set(this.servers);
    for (const server of this.servers) server.close(() => closing.delete(server));
    for (const stream of this.context.open) stream.destroy();
    const patience = performance.now() + limits.closeGrace;
    while (closing.size > 0 && performance.now() < patience) {
      for (const server of closing) server.closeIdleConnections();
      await sleep(10);
    }
    for (const connection of this.connections) connection.destroy();
    await this.app.close();
  }

  private makeServer(tls: TlsOptions | undefined): Server {
    const common = {
      maxHeaderSize: limits.head,
      keepAlive: true,
      shouldUpgradeCallback: upgradeWanted,
    };
    const server = tls
      ? createHttpsServer(
          {
            ...common,
            // Else the end of a client's input would end the output, too.
            allowHalfOpen: true,
            cert: tls.cert,
            key: tls.key,
            ...(tls.ca === undefined ? {} : { ca: tls.ca }),
            requestCert: tls.verifyClients,
            rejectUnauthorized: tls.verifyClients,
            minVersion: 'TLSv1.2',
          },
          this.handler,
        )
      : createHttpServer(common, this.handler);
    // Uploads and followed streams last as long as they last.
    server.requestTimeout = 0;
    server.timeout = 0;
    server.headersTimeout = limits.headersTimeout;
    server.keepAliveTimeout = limits.keepAliveTimeout;
    server.on('connection', (connection: Socket) => {
      this.connections.add(connection);
      connection.once('close', () => this.connections.delete(connection));
    });
    acceptUpgrades(server, this.handler as (request: unknown, response: unknown) => void);
    server.on('clientError', (error: NodeJS.ErrnoException, stream) => {
      // What the parser refuses gets an answer; a connection that broke cannot.
      if (!error.code?.startsWith('HPE_') || !stream.writable) return stream.destroy();
      this.log.debug('a client was not understood', { error: error.message });
      stream.end(
        `HTTP/1.1 ${error.code === 'HPE_HEADER_OVERFLOW' ? '431 Request Header Fields Too Large' : '400 Bad Request'}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`,
      );
    });
    return server as Server;
  }
}
