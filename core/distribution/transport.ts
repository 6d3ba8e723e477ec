import { Agent as HttpAgent, request as httpRequest, type ClientRequest, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { pipeline } from 'node:stream/promises';
import { Readable } from 'node:stream';
import { getCACertificates } from 'node:tls';
import { EngineError, messageOf } from '../contracts/errors.js';
import { limits } from '../content/limits.js';
import { isLoopbackHost, type TlsSettings } from './endpoints.js';
import { RegistryUnreachable } from './registry-error.js';

/** Bytes of a body whose length is known, made anew for each attempt. */
export interface StreamBody {
  readonly length: number;
  open(): AsyncIterable<Uint8Array>;
}

export interface HttpRequest {
  readonly method: string;
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Uint8Array | StreamBody;
  readonly tls: TlsSettings;
  readonly signal: AbortSignal;
}

const KEPT = { keepAlive: true, maxFreeSockets: 8 } as const;

const proxied = (proxy: NodeJS.ProcessEnv | undefined): { proxyEnv?: NodeJS.ProcessEnv } => (proxy ? { proxyEnv: proxy } : {});

export const cancelled = (signal: AbortSignal): EngineError => new EngineError('cancelled', 'context canceled', { cause: signal.reason });

/** Sends requests over kept connections. An answer comes with its body unread; a connection without a byte for a while is broken off. */
export class Transport {
  private readonly plain: HttpAgent;
  private readonly direct = new HttpAgent(KEPT);
  private readonly secure = new Map<TlsSettings, HttpsAgent>();
  private roots: string[] | undefined;

  constructor(
    private readonly userAgent: string,
    private readonly idleMs: number = limits.idleMs,
    /** HTTP_PROXY, HTTPS_PROXY and NO_PROXY of the daemon. */
    private readonly proxy: NodeJS.ProcessEnv | undefined = undefined,
  ) {
    this.plain = new HttpAgent({ ...KEPT, ...proxied(proxy) });
  }

  /** Fails with {@link RegistryUnreachable}, or `cancelled` when the signal said so. */
  async send(request: HttpRequest): Promise<IncomingMessage> {
    for (let again = false; ; again = true) {
      if (request.signal.aborted) throw cancelled(request.signal);
      const outgoing = this.open(request);
      try {
        return await this.exchange(outgoing, request);
      } catch (error) {
        if (request.signal.aborted) throw cancelled(request.signal);
        // A kept connection may have been closed by the other side just before we wrote: that says nothing of the registry.
        const stale = outgoing.reusedSocket && (error as NodeJS.ErrnoException).code === 'ECONNRESET';
        if (stale && !again) continue;
        if (error instanceof EngineError) throw error;
        throw new RegistryUnreachable(request.url.host, messageOf(error) || String((error as NodeJS.ErrnoException).code), error);
      }
    }
  }

  close(): void {
    this.plain.destroy();
    this.direct.destroy();
    for (const agent of this.secure.values()) agent.destroy();
    this.secure.clear();
  }

  private open(request: HttpRequest): ClientRequest {
    const length = request.body instanceof Uint8Array ? request.body.byteLength : request.body?.length;
    const headers: Record<string, string | number> = { 'User-Agent': this.userAgent, ...request.headers };
    if (length !== undefined) headers['Content-Length'] = length;
    else if (request.method !== 'GET' && request.method !== 'HEAD') headers['Content-Length'] = 0;
    const options = { method: request.method, headers, signal: request.signal, maxHeaderSize: 64 * 1024 };
    return request.url.protocol === 'https:'
      ? httpsRequest(request.url, { ...options, agent: this.agentFor(request.tls, isLoopbackHost(request.url.hostname)) })
      : httpRequest(request.url, { ...options, agent: isLoopbackHost(request.url.hostname) ? this.direct : this.plain });
  }

  private exchange(outgoing: ClientRequest, { body, url }: HttpRequest): Promise<IncomingMessage> {
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
    outgoing.on('response', resolve);
    outgoing.on('error', reject);
    outgoing.setTimeout(this.idleMs, () =>
      outgoing.destroy(new RegistryUnreachable(url.host, `nothing was sent or received for ${Math.round(this.idleMs / 1000)} seconds`)),
    );
    if (body === undefined || body instanceof Uint8Array) outgoing.end(body);
    // An answer may come before all of the body went out; what then breaks the body is not what is told.
    else pipeline(Readable.from(body.open()), outgoing).catch(reject);
    return promise;
  }

  private agentFor(tls: TlsSettings, local: boolean): HttpsAgent {
    let agent = this.secure.get(tls);
    if (!agent) {
      this.roots ??= [...getCACertificates('default'), ...getCACertificates('system')];
      agent = new HttpsAgent({
        ...KEPT,
        // This machine is never reached through a proxy, whatever NO_PROXY says.
        ...(local ? {} : proxied(this.proxy)),
        rejectUnauthorized: tls.verify,
        ca: [...(tls.ca ?? this.roots)],
        ...(tls.cert === undefined ? {} : { cert: tls.cert }),
        ...(tls.key === undefined ? {} : { key: tls.key }),
      });
      this.secure.set(tls, agent);
    }
    return agent;
  }
}

/** A whole body, for answers that are small by nature. More than `limit` bytes is an error. */
export async function readBody(response: IncomingMessage, limit: number, what: string): Promise<Buffer> {
  const declared = Number(response.headers['content-length'] ?? 0);
  if (declared > limit) {
    response.destroy();
    throw new EngineError('system', `${what} has ${declared} bytes, more than ${limit}`);
  }
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > limit) throw new EngineError('system', `${what} has more than ${limit} bytes`);
      chunks.push(chunk);
    }
  } catch (error) {
    response.destroy();
    if (error instanceof EngineError) throw error;
    throw new EngineError('unavailable', `${what} broke off: ${messageOf(error)}`, { cause: error });
  }
  return Buffer.concat(chunks);
}
