import type { AuthorizationPlugin } from '@gantry/core/contracts/authorization.js';
import { createServer, type ApiServer } from '@gantry/core/api/server.js';
import { FakeLog, FakeServices } from './services.js';

export interface Answer {
  status: number;
  headers: Record<string, string | undefined>;
  text: string;
  /** The body as JSON; `undefined` when it is none. */
  json: unknown;
}

/** JSON to reach into; what is expected of a leaf is said by the test. */
export interface Json {
  readonly [key: string]: Json;
}

/** Docker's API over fake services, asked without a socket. */
export class FakeApi {
  private constructor(
    readonly services: FakeServices,
    readonly server: ApiServer,
    readonly log: FakeLog,
  ) {}

  static async open(authorization: AuthorizationPlugin[] = []): Promise<FakeApi> {
    const services = new FakeServices();
    const log = new FakeLog();
    return new FakeApi(services, await createServer({ services, log, authorization: () => authorization }), log);
  }

  async ask(method: string, url: string, body?: unknown, headers: Record<string, string> = {}): Promise<Answer> {
    const text = body === undefined ? undefined : typeof body === 'string' || Buffer.isBuffer(body) ? body : JSON.stringify(body);
    const typed = text !== undefined && !Object.keys(headers).some((name) => name.toLowerCase() === 'content-type');
    const answer = await this.server.app.inject({
      method: method as 'GET',
      url,
      headers: { ...(typed ? { 'content-type': 'application/json' } : {}), ...headers },
      ...(text === undefined ? {} : { payload: text }),
    });
    let json: unknown;
    try {
      json = JSON.parse(answer.payload);
    } catch {
      json = undefined;
    }
    return { status: answer.statusCode, headers: answer.headers as Record<string, string>, text: answer.payload, json };
  }

  get(url: string, headers?: Record<string, string>): Promise<Answer> {
    return this.ask('GET', url, undefined, headers);
  }

  post(url: string, body?: unknown, headers?: Record<string, string>): Promise<Answer> {
    return this.ask('POST', url, body, headers);
  }

  close(): Promise<void> {
    return this.server.close();
  }
}
