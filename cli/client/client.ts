import { parseJson } from '../render/template-value.js';
import { ConnectionError } from './connection.js';
import type { Endpoint } from './endpoint.js';
import { type HttpRequest, type HttpResponse, send } from './http.js';

/** The newest version of Docker's API that this program speaks. */
export const newestApi = '1.51';

/** The engine answered, and the answer is no. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    /** The engine's own words, which scripts look for. */
    readonly reason: string,
  ) {
    super(`Error response from daemon: ${reason}`);
  }
}

export type Query = Record<string, string | number | boolean | readonly string[] | undefined>;

export interface CallOptions {
  query?: Query;
  /** Sent as JSON, unless it is bytes. */
  body?: unknown;
  headers?: Record<string, string>;
}

export interface ClientOptions {
  /** Fixes the version of the API instead of asking the engine. */
  apiVersion?: string;
  /** Called once when nobody answers; true means: try again now. */
  onAbsent?: (error: ConnectionError) => Promise<boolean>;
  /** Told of each request when its answer begins. */
  onAnswer?: (line: string) => void;
}

/** Below, equal or above: versions are compared by their numbers, `1.9` being older than `1.10`. */
export const compareVersions = (left: string, right: string): number => {
  const [a, b] = [left, right].map((version) => version.split('.').map(Number)) as [number[], number[]];
  for (let at = 0; at < Math.max(a.length, b.length); at++) {
    const difference = (a[at] ?? 0) - (b[at] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
};

/** Docker's Engine API over HTTP. Every method waits for the version to be agreed on first. */
export class Client {
  private agreed: Promise<string> | undefined;

  constructor(
    readonly endpoint: Endpoint,
    private readonly options: ClientOptions = {},
  ) {}

  /** The version in use, which is the engine's when that is older than ours. */
  version(): Promise<string> {
    this.agreed ??= this.agree();
    return this.agreed;
  }

  async get<T>(path: string, query?: Query): Promise<T> {
    return this.json<T>('GET', path, query ? { query } : {});
  }

  async post<T = undefined>(path: string, options: CallOptions = {}): Promise<T> {
    return this.json<T>('POST', path, options);
  }

  async delete<T = undefined>(path: string, query?: Query): Promise<T> {
    return this.json<T>('DELETE', path, query ? { query } : {});
  }

  async json<T>(method: string, path: string, options: CallOptions): Promise<T> {
    const text = await this.text(method, path, options);
    return (text === '' ? undefined : parseJson(text)) as T;
  }

  /** The whole body as text, which for JSON keeps the order and the digits that the engine chose. */
  async text(method: string, path: string, options: CallOptions = {}): Promise<string> {
    const response = await this.open(method, path, options);
    return readAll(response);
  }

  /** Sends, and returns as soon as the head of a good answer is there. */
  async open(method: string, path: string, options: CallOptions = {}): Promise<HttpResponse> {
    const version = await this.version();
    const response = await this.send({ method, path: `/v${version}${path}${queryText(options.query)}`, ...payload(options) });
    if (response.status >= 400) throw new ApiError(response.status, await reasonOf(response));
    return response;
  }

  /** Turns the connection into a plain stream in both directions. */
  async hijack(path: string, options: CallOptions = {}): Promise<HttpResponse> {
    return this.open('POST', path, { ...options, headers: { ...options.headers, Connection: 'Upgrade', Upgrade: 'tcp' } });
  }

  private async agree(): Promise<string> {
    if (this.options.apiVersion) return this.options.apiVersion;
    const response = await this.send({ method: 'HEAD', path: '/_ping' });
    response.socket.destroy();
    const theirs = response.headers.get('api-version');
    if (!theirs || !/^\d+\.\d+$/.test(theirs)) return newestApi;
    return compareVersions(theirs, newestApi) < 0 ? theirs : newestApi;
  }

  private async send(request: HttpRequest): Promise<HttpResponse> {
    const { onAnswer } = this.options;
    if (!onAnswer) return this.sendNow(request);
    const began = performance.now();
    const told = (outcome: string): void =>
      onAnswer(`debug ${request.method} ${request.path} ${outcome} ${Math.round(performance.now() - began)}ms`);
    try {
      const response = await this.sendNow(request);
      told(String(response.status));
      return response;
    } catch (error) {
      told((error as Error).message);
      throw error;
    }
  }

  private async sendNow(request: HttpRequest): Promise<HttpResponse> {
    try {
      return await send(this.endpoint, request);
    } catch (error) {
      if (!(error instanceof ConnectionError) || !this.options.onAbsent || !(await this.options.onAbsent(error))) throw error;
      return send(this.endpoint, request);
    }
  }
}

const payload = (options: CallOptions): Pick<HttpRequest, 'headers' | 'body'> => {
  const { body, headers = {} } = options;
  if (body === undefined) return { headers };
  if (Buffer.isBuffer(body) || isStream(body)) return { headers, body };
  return { headers: { 'Content-Type': 'application/json', ...headers }, body: JSON.stringify(body) };
};

const isStream = (body: unknown): body is AsyncIterable<Uint8Array> =>
  typeof body === 'object' && body !== null && Symbol.asyncIterator in body;

const queryText = (query: Query | undefined): string => {
  const pairs: string[] = [];
  for (const [name, value] of Object.entries(query ?? {})) {
    if (value === undefined) continue;
    for (const each of Array.isArray(value) ? (value as string[]) : [value]) {
      const text = each === true ? '1' : each === false ? '0' : String(each);
      pairs.push(`${encodeURIComponent(name)}=${encodeURIComponent(text)}`);
    }
  }
  return pairs.length === 0 ? '' : `?${pairs.join('&')}`;
};

export const readAll = async (response: HttpResponse): Promise<string> => {
  const pieces: Buffer[] = [];
  for await (const piece of response.body) pieces.push(piece);
  return Buffer.concat(pieces).toString('utf8');
};

const reasonOf = async (response: HttpResponse): Promise<string> => {
  const text = (await readAll(response).catch(() => '')).trim();
  try {
    const parsed = JSON.parse(text) as { message?: unknown };
    if (typeof parsed.message === 'string' && parsed.message !== '') return parsed.message.trim();
  } catch {
    // Not JSON: what came is the best that can be shown.
  }
  return text || `the engine answered with status ${response.status}`;
};

/** A path with names in it: a slash inside a name stays a slash, all else that could change the path is encoded. */
export const path = (strings: TemplateStringsArray, ...names: string[]): string =>
  strings.reduce(
    (text, part, at) =>
      text +
      encodeURIComponent(names[at - 1] as string)
        .replaceAll('%2F', '/')
        .replaceAll('%3A', ':')
        .replaceAll('%40', '@') +
      part,
  );

/** Conditions in the form that the API wants; nothing when there are none. */
export const filterQuery = (filters: readonly (readonly [string, string])[]): string | undefined => {
  if (filters.length === 0) return undefined;
  const byKey: Record<string, Record<string, boolean>> = {};
  for (const [key, value] of filters) (byKey[key] ??= {})[value] = true;
  return JSON.stringify(byKey);
};
