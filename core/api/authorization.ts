import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { AccessRequest, AuthorizationPlugin } from '../contracts/authorization.js';
import { EngineError, messageOf } from '../contracts/errors.js';
import type { Peer } from './connection.js';

/** Asks every access plugin, in order; the first refusal or failure ends the request. An empty chain allows all. */
export class Authorization {
  private readonly asked = new WeakMap<FastifyRequest, AccessRequest>();

  constructor(
    private readonly plugins: readonly AuthorizationPlugin[],
    private readonly peer: (request: FastifyRequest) => Peer,
  ) {}

  get active(): boolean {
    return this.plugins.length > 0;
  }

  /** After routing and parsing: what is asked about is what the handler will act on. */
  async request(request: FastifyRequest): Promise<void> {
    const { user, authenticationMethod } = this.peer(request);
    const body = request.body;
    const isJson = typeof body === 'object' && body !== null && !('pipe' in body);
    const access: AccessRequest = {
      user,
      authenticationMethod,
      method: request.method,
      uri: request.originalUrl,
      headers: visibleHeaders(request),
      ...(isJson ? { body: Buffer.from(JSON.stringify(body)) } : {}),
    };
    this.asked.set(request, access);
    for (const plugin of this.plugins) await this.judge(plugin, () => plugin.authorizeRequest(access));
  }

  /** Before the answer goes out; a request that was refused is not asked about again. */
  async response(request: FastifyRequest, statusCode: number): Promise<void> {
    const access = this.asked.get(request);
    if (!access) return;
    this.asked.delete(request);
    for (const plugin of this.plugins.toReversed()) await this.judge(plugin, () => plugin.authorizeResponse({ ...access, statusCode }));
  }

  private async judge(plugin: AuthorizationPlugin, ask: () => ReturnType<AuthorizationPlugin['authorizeRequest']>): Promise<void> {
    const decision = await ask().catch((error: unknown) => {
      throw new EngineError('system', `plugin ${plugin.name} failed with error: ${messageOf(error)}`, { cause: error });
    });
    if (!decision.allow) throw new EngineError('forbidden', `authorization denied by plugin ${plugin.name}: ${decision.reason}`);
  }

  /** Hooks it into every route. */
  guard(app: FastifyInstance): void {
    if (!this.active) return;
    app.addHook('preHandler', async (request) => this.request(request));
    app.addHook('onSend', async (request, reply, payload) => {
      if (reply.statusCode === 403) this.asked.delete(request);
      await this.response(request, reply.statusCode);
      return payload;
    });
  }
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
