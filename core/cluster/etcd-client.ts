import { readFileSync } from 'node:fs';
import { Agent as HttpAgent, request as httpRequest, type ClientRequest, type IncomingMessage, type RequestOptions } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { EngineError, isKind, messageOf, unavailable } from '../contracts/errors.js';
import type { ClusterSettings } from './cluster-settings.js';
import { type EtcdEntry, range, type RangeAnswer } from './etcd-wire.js';

/** An answer that does not come in this time does not come. */
const DEADLINE_MS = 4000;
const LATE = `no answer in ${DEADLINE_MS / 1000} s`;
/** A whole answer, and one line of a stream; etcd's own limit of a request is 1.5 MB. */
const MAX_BYTES = 64 << 20;
const KEEPALIVE_MS = 5000;
const PIECE = 1000;
/** A member that lost the others ends its streams then, instead of keeping them open and silent. */
const STREAM_HEADERS = { 'grpc-metadata-hasleader': 'true' };

/** gRPC's numbers of what went wrong. */
const Code = { invalidArgument: 3, notFound: 5, permissionDenied: 7, failedPrecondition: 9, unauthenticated: 16 } as const;

/** What etcd said, with gRPC's number. */
export class EtcdError extends Error {
  override readonly name = 'EtcdError';
  constructor(
    message: string,
    readonly code: number,
  ) {
    super(message);
  }

  get notFound(): boolean {
    return this.code === Code.notFound;
  }
}

/**
 * etcd's JSON gateway: requests and streams to one of its members, another one when that does not answer, and a token where it asks
 * for a user. Everything that keeps an answer from coming is `unavailable` with the cause.
 */
export class EtcdClient {
  private readonly agent: HttpAgent | HttpsAgent;
  private readonly tls: boolean;
  /** Index of the member that answered last. */
  private current = 0;
  private token: string | undefined;

  constructor(private readonly settings: ClusterSettings) {
    this.tls = settings.caPath !== '';
    const pool = { keepAlive: true, keepAliveMsecs: KEEPALIVE_MS, maxSockets: 32 };
    this.agent = this.tls
      ? new HttpsAgent({
          ...pool,
          ca: readFileSync(settings.caPath),
          ...(settings.certPath !== '' && { cert: readFileSync(settings.certPath), key: readFileSync(settings.keyPath) }),
        })
      : new HttpAgent(pool);
  }

  close(): void {
    this.agent.destroy();
  }

  /** One request, at every member in turn until one answers. */
  async call<T>(path: string, body: unknown): Promise<T> {
    let last: unknown;
    for (let attempt = 0; attempt < this.settings.endpoints.length; attempt++) {
      try {
        return await this.authenticated(() => this.exchange<T>(path, body));
      } catch (error) {
        if (!isKind(error, 'unavailable')) throw error;
        last = error;
        this.current = (this.current + 1) % this.settings.endpoints.length;
      }
    }
    throw last;
  }

  /** All keys that begin with `prefix`, as they were at one moment: in pieces, since members limit the size of an answer. */
  async readAll(prefix: string): Promise<{ entries: readonly EtcdEntry[]; revision: string }> {
    const entries: EtcdEntry[] = [];
    const { key, range_end } = range(prefix);
    let revision: string | undefined;
    for (let from: string | undefined = key; from !== undefined;) {
      const piece: RangeAnswer = await this.call<RangeAnswer>('/v3/kv/range', {
        key: from,
        range_end,
        limit: String(PIECE),
        ...(revision !== undefined && { revision }),
      });
      revision ??= piece.header?.revision ?? '0';
      entries.push(...(piece.kvs ?? []));
      const last = entries.at(-1);
      from = piece.more && last ? Buffer.concat([Buffer.from(last.key, 'base64'), Buffer.of(0)]).toString('base64') : undefined;
    }
    return { entries, revision: revision ?? '0' };
  }

  /**
   * A request whose answer goes on: `each` is called for every line. Ends only by failing: with the signal's reason, or because the
   * stream ended or did not begin. The next one goes to another member.
   */
  async stream(path: string, body: unknown, each: (line: unknown) => void, signal: AbortSignal): Promise<never> {
    try {
      return await this.authenticated(async () => {
        signal.throwIfAborted();
        const request = this.send(path, body, STREAM_HEADERS);
        const abort = (): void => void request.destroy(signal.reason as Error);
        signal.addEventListener('abort', abort, { once: true });
        const timer = setTimeout(() => request.destroy(new Error(LATE)), DEADLINE_MS);
        try {
          const answer = await opened(request);
          clearTimeout(timer);
          if (answer.statusCode !== 200) throw refused(JSON.parse(await whole(answer)), answer.statusCode ?? 0);
          let rest = '';
          for await (const chunk of answer.setEncoding('utf8')) {
            const lines = (rest + String(chunk)).split('\n');
            rest = lines.pop() ?? '';
            if (rest.length > MAX_BYTES) throw new Error('a line is too long');
            for (const line of lines) if (line !== '') each(JSON.parse(line));
          }
          throw new Error('the stream ended');
        } finally {
          clearTimeout(timer);
          signal.removeEventListener('abort', abort);
          request.destroy();
        }
      });
    } catch (error) {
      this.current = (this.current + 1) % this.settings.endpoints.length;
      throw error instanceof EtcdError ? error : this.away(error);
    }
  }

  private async authenticated<T>(work: () => Promise<T>): Promise<T> {
    const { user } = this.settings;
    if (user === '') return work();
    this.token ??= await this.logIn();
    const used = this.token;
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof EtcdError) || !staleToken(error)) throw error;
      // Tokens end when they were not used for a while, and with the member that gave them.
      if (this.token === used) this.token = undefined;
      this.token ??= await this.logIn();
      return work();
    }
  }

  private async logIn(): Promise<string> {
    const password = readFileSync(this.settings.passwordPath, 'utf8').replace(/\r?\n$/, '');
    const { token } = await this.exchange<{ token?: string }>('/v3/auth/authenticate', { name: this.settings.user, password });
    return token ?? '';
  }

  private async exchange<T>(path: string, body: unknown): Promise<T> {
    const request = this.send(path, body);
    const timer = setTimeout(() => request.destroy(new Error(LATE)), DEADLINE_MS);
    let text: string;
    let status: number;
    try {
      const answer = await opened(request);
      status = answer.statusCode ?? 0;
      text = await whole(answer);
    } catch (error) {
      throw this.away(error);
    } finally {
      clearTimeout(timer);
    }
    let parsed: unknown;
    try {
      parsed = JSON.parse(text);
    } catch (error) {
      throw this.away(new Error(`status ${status} and no JSON`, { cause: error }));
    }
    if (status === 200) return parsed as T;
    const error = refused(parsed, status);
    if (staleToken(error)) throw error;
    if (
      error.code === Code.permissionDenied ||
      error.code === Code.unauthenticated ||
      /user name is empty|authentication failed/.test(error.message)
    )
      throw new EngineError('forbidden', `cluster store ${this.settings.store} refuses this engine: ${error.message}`, { cause: error });
    if (error.code === Code.notFound || error.code === Code.invalidArgument || error.code === Code.failedPrecondition) throw error;
    // No leader, no quorum, too many requests, no space: another member or a later time may do.
    throw this.away(error);
  }

  private send(path: string, body: unknown, headers: Readonly<Record<string, string>> = {}): ClientRequest {
    const endpoint = new URL(`${this.tls ? 'https' : 'http'}://${this.settings.endpoints[this.current]}`);
    const text = JSON.stringify(body);
    const options: RequestOptions = {
      agent: this.agent,
      host: endpoint.hostname.replace(/^\[|\]$/g, ''),
      port: endpoint.port,
      method: 'POST',
      path,
      headers: {
        'content-type': 'application/json',
        'content-length': Buffer.byteLength(text),
        ...headers,
        ...(this.token !== undefined && path !== '/v3/auth/authenticate' && { authorization: this.token }),
      },
    };
    const request = this.tls ? httpsRequest(options) : httpRequest(options);
    // Whoever waits hears of it; this keeps a late one from being nobody's.
    request.on('error', () => undefined);
    request.end(text);
    return request;
  }

  private away(cause: unknown): EngineError {
    if (cause instanceof EngineError) return cause;
    return unavailable(`cluster store ${this.settings.store} does not answer: ${messageOf(cause)}`, cause);
  }
}

const staleToken = ({ message }: EtcdError): boolean => /invalid auth token|revision of auth store/.test(message);

function opened(request: ClientRequest): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    request.on('response', resolve).on('error', reject);
  });
}

async function whole(answer: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of answer) {
    size += (chunk as Buffer).length;
    if (size > MAX_BYTES) throw new Error('the answer is too long');
    chunks.push(chunk as Buffer);
  }
  return Buffer.concat(chunks).toString();
}

function refused(answer: unknown, status: number): EtcdError {
  const { message, error, code } = Object(answer) as { message?: unknown; error?: unknown; code?: unknown };
  return new EtcdError(String(message ?? error ?? `status ${status}`), Number(code ?? -1));
}
