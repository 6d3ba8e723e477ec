import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { AccessAnswer, AccessRequest, AuthorizationPlugin } from '../contracts/authorization.js';
import { EngineError, messageOf } from '../contracts/errors.js';
import type { Peer } from './connection.js';

interface Asked {
  readonly access: AccessRequest;
  /** Those that were asked. They judge the answer, too, whoever is asked about the next request. */
  readonly chain: readonly AuthorizationPlugin[];
}

/** Asks every access plugin, in order; the first refusal or failure ends the request. An empty chain allows all. */
export class Authorization {
  private readonly asked = new WeakMap<FastifyRequest, Asked>();

  constructor(
    /** Those of this moment: the chain changes while the server runs. */
    private readonly plugins: () => readonly AuthorizationPlugin[],
    private readonly peer: (request: FastifyRequest) => Peer,
  ) {}

  get names(): readonly string[] {
    return this.plugins().map(({ name }) => name);
  }

  /** After routing and parsing: what is asked about is what the handler will act on. */
  async request(request: FastifyRequest, chain: readonly AuthorizationPlugin[]): Promise<void> {
    const { user, authenticationMethod, certificates } = this.peer(request);
    const body = request.body;
    const isJson = typeof body === 'object' && body !== null && !('pipe' in body);
    const access: AccessRequest = {
      user,
      authenticationMethod,
      peerCertificates: certificates,
      method: request.method,
      uri: canonicalUri(request),
      headers: visibleHeaders(request),
      ...(isJson ? { body: Buffer.from(JSON.stringify(body)) } : {}),
    };
    this.asked.set(request, { access, chain });
    for (const plugin of chain) await this.judge(plugin, () => plugin.authorizeRequest(access));
  }

  /** Before the answer goes out; a request that was refused is not asked about again. */
  async response(request: FastifyRequest, answer: Omit<AccessAnswer, keyof AccessRequest>): Promise<void> {
    const asked = this.asked.get(request);
    if (!asked) return;
    this.asked.delete(request);
    for (const plugin of asked.chain.toReversed()) await this.judge(plugin, () => plugin.authorizeResponse({ ...asked.access, ...answer }));
  }

  private async judge(plugin: AuthorizationPlugin, ask: () => ReturnType<AuthorizationPlugin['authorizeRequest']>): Promise<void> {
    const decision = await ask().catch((error: unknown) => {
      throw new EngineError('system', `plugin ${plugin.name} failed with error: ${messageOf(error)}`, { cause: error });
    });
    if (!decision.allow) throw new EngineError('forbidden', `authorization denied by plugin ${plugin.name}: ${decision.reason}`);
  }

  /** Hooks it into every route. */
  guard(app: FastifyInstance): void {
    app.addHook('preHandler', async (request) => {
      const chain = this.plugins();
      if (chain.length > 0) await this.request(request, chain);
    });
    app.addHook('onSend', async (request, reply, payload) => {
      if (reply.statusCode === 403) this.asked.delete(request);
      if (!this.asked.has(request)) return payload;
      await this.response(request, {
        statusCode: reply.statusCode,
        responseHeaders: Object.fromEntries(Object.entries(reply.getHeaders()).map(([name, value]) => [name, String(value)])),
        ...(typeof payload === 'string' ? { responseBody: Buffer.from(payload) } : {}),
      });
      return payload;
    });
  }
}

/**
 * The path of the route that was found, with the names in it written in one way. What the client wrote may have been another
 * spelling of it, and a plugin that compares text must not be led past by one.
 */
function canonicalUri(request: FastifyRequest): string {
  const version = /^\/v\d+(\.\d+)*(?=\/)/.exec(request.originalUrl)?.[0] ?? '';
  const params = request.params as Readonly<Record<string, string>>;
  const path = (request.routeOptions.url ?? '').replaceAll(/:(\w+)|\*/g, (_, name: string | undefined) =>
    encodeURI(params[name ?? '*'] ?? '').replaceAll(/[?#]/g, encodeURIComponent),
  );
  const query = request.originalUrl.indexOf('?');
  return `${version}${path}${query < 0 ? '' : request.originalUrl.slice(query)}`;
}

/** Credentials are the engine's business alone. */
function visibleHeaders(request: FastifyRequest): Record<string, string> {
  const visible: Record<string, string> = {};
  for (const [name, value] of Object.entries(request.headers)) {
    if (name === 'authorization' || name.startsWith('x-registry-') || value === undefined) continue;
    visible[name] = Array.isArray(value) ? value.join(', ') : value;
  }
  return visible;
}
