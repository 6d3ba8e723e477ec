import type { IncomingMessage } from 'node:http';
import { EngineError } from '../contracts/errors.js';
import { parseDigest, sha256, type Digest } from '../contracts/ids.js';
import { JsonReader, parseJson } from '../content/json.js';
import { limits } from '../content/limits.js';
import { acceptedManifests } from '../content/media-types.js';
import { Authorizer } from './auth.js';
import type { RegistryAuth } from './credentials.js';
import { hostnameOf, isInternalAddress, isLoopbackHost, type Endpoint, type Endpoints } from './endpoints.js';
import { registryError, RegistryUnreachable } from './registry-error.js';
import { readBody, type StreamBody, type Transport } from './transport.js';

export interface FetchedManifest {
  readonly bytes: Buffer;
  readonly mediaType: string;
  readonly digest: Digest;
}

export interface BlobResponse {
  /** Offset of the first byte of `body` in the blob: what was asked for, or 0 when the registry knows no ranges. */
  readonly from: number;
  readonly body: IncomingMessage;
}

export type UploadStart = { readonly mounted: true } | { readonly mounted: false; readonly location: URL };

const MANIFEST_TYPE = /^[\w.+/-]{0,200}$/;

interface Ask {
  readonly method: string;
  readonly url: URL;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array | StreamBody;
  readonly scopes: readonly string[];
  readonly signal: AbortSignal;
}

export interface ClientOptions {
  /** Asks for a token that lasts. */
  readonly offline?: boolean;
  /** The repository holds plugins: a token server has another word for the right to it. */
  readonly plugin?: boolean;
}

/** One repository at one endpoint, on behalf of one user. Speaks the OCI distribution protocol; verifies what has a digest in its name. */
export class RegistryClient {
  private readonly authorizer: Authorizer;

  constructor(
    private readonly transport: Transport,
    private readonly endpoints: Endpoints,
    readonly endpoint: Endpoint,
    /** '' for the registry as a whole. */
    readonly repository: string,
    auth: RegistryAuth | undefined,
    private readonly options?: ClientOptions,
  ) {
    this.authorizer = new Authorizer(transport, endpoints, endpoint, endpoint.mirror ? undefined : auth, {
      offline: options?.offline ?? false,
    });
  }

  /** Whether there is a registry, and it takes our credentials. Gives back a refresh token when one was asked for. */
  async ping(signal: AbortSignal): Promise<string> {
    const response = await this.ask({ method: 'GET', url: new URL('/v2/', this.endpoint.origin), scopes: [], signal });
    await this.expect(response, [200]);
    response.resume();
    return this.authorizer.refreshToken;
  }

  /** By tag or digest. Bytes asked for by digest have that digest. */
  async manifest(tagOrDigest: string, signal: AbortSignal): Promise<FetchedManifest> {
    const response = await this.ask({
      method: 'GET',
      url: this.url(`manifests/${tagOrDigest}`),
      headers: { Accept: acceptedManifests.join(', ') },
      scopes: this.pullScope(),
      signal,
    });
    await this.expect(response, [200]);
    const mediaType = (response.headers['content-type'] ?? '').split(';', 1)[0]?.trim() ?? '';
    const bytes = await readBody(response, limits.manifestBytes, 'the manifest');
    const digest = sha256(bytes);
    const announced = tagOrDigest.includes(':') ? tagOrDigest : response.headers['docker-content-digest'];
    if (announced !== undefined && announced !== digest)
      throw new EngineError(
        'system',
        `manifest verification failed for digest ${String(announced).slice(0, 100)}: the bytes have ${digest}`,
      );
    return { bytes, digest, mediaType: MANIFEST_TYPE.test(mediaType) && mediaType !== 'application/json' ? mediaType : '' };
  }

  /** Bytes of a blob from `from` on. */
  async blob(digest: Digest, from: number, signal: AbortSignal): Promise<BlobResponse> {
    const response = await this.ask({
      method: 'GET',
      url: this.url(`blobs/${digest}`),
      headers: from === 0 ? {} : { Range: `bytes=${from}-` },
      scopes: this.pullScope(),
      signal,
    });
    await this.expect(response, [200, 206]);
    if (response.statusCode === 200) return { from: 0, body: response };
    const range = /^bytes (\d{1,15})-/.exec(response.headers['content-range'] ?? '');
    if (Number(range?.[1]) !== from) {
      response.destroy();
      throw new EngineError('system', `the registry sent another range of blob ${digest} than was asked for`);
    }
    return { from, body: response };
  }

  async hasBlob(digest: Digest, signal: AbortSignal): Promise<boolean> {
    return this.exists(`blobs/${digest}`, signal);
  }

  async hasManifest(tagOrDigest: string, signal: AbortSignal): Promise<boolean> {
    return this.exists(`manifests/${tagOrDigest}`, signal);
  }

  /** Begins an upload, or has the registry take the blob from another of its repositories. Only 201 means that it did. */
  async startUpload(mount: { digest: Digest; from: string } | undefined, signal: AbortSignal): Promise<UploadStart> {
    const url = this.url('blobs/uploads/');
    if (mount) {
      url.searchParams.set('mount', mount.digest);
      url.searchParams.set('from', mount.from);
    }
    const scopes = [...this.pushScope(), ...(mount ? [`repository:${mount.from}:pull`] : [])];
    const response = await this.ask({ method: 'POST', url, scopes, signal });
    await this.expect(response, [201, 202]);
    response.resume();
    if (mount && response.statusCode === 201) {
      const taken = response.headers['docker-content-digest'];
      if (taken !== undefined && taken !== mount.digest)
        throw new EngineError('system', `the registry took blob ${String(taken).slice(0, 100)} where ${mount.digest} was asked for`);
      return { mounted: true };
    }
    return { mounted: false, location: this.location(response, url) };
  }

  /** Sends bytes of a blob from `from` on; gives back where to go on. The caller retries. */
  async uploadChunk(location: URL, from: number, body: StreamBody, signal: AbortSignal): Promise<URL> {
    const headers: Record<string, string> = { 'Content-Type': 'application/octet-stream' };
    if (from > 0) headers['Content-Range'] = `${from}-${from + body.length - 1}`;
    const response = await this.ask({ method: 'PATCH', url: location, headers, body, scopes: this.pushScope(), signal });
    await this.expect(response, [202]);
    response.resume();
    return this.location(response, location);
  }

  /** How far an upload came that broke off. */
  async uploadedBytes(location: URL, signal: AbortSignal): Promise<{ bytes: number; location: URL }> {
    const response = await this.ask({ method: 'GET', url: location, scopes: this.pushScope(), signal });
    await this.expect(response, [204]);
    response.resume();
    // A server that has nothing yet says `0-0`, as it does with one byte; asking it to go on at 0 is right in both cases.
    const last = Number(/^(?:bytes=)?0-(\d{1,15})$/.exec(response.headers.range ?? '')?.[1] ?? 0);
    return { bytes: last === 0 ? 0 : last + 1, location: this.location(response, location) };
  }

  /** Ends an upload; `body` is the rest, or the whole of a small blob. */
  async finishUpload(location: URL, digest: Digest, body: Uint8Array, signal: AbortSignal): Promise<void> {
    const url = new URL(location);
    url.searchParams.set('digest', digest);
    const response = await this.ask({
      method: 'PUT',
      url,
      headers: { 'Content-Type': 'application/octet-stream' },
      body,
      scopes: this.pushScope(),
      signal,
    });
    await this.expect(response, [201, 204]);
    response.resume();
  }

  async putManifest(tagOrDigest: string, mediaType: string, bytes: Uint8Array, signal: AbortSignal): Promise<Digest> {
    const response = await this.ask({
      method: 'PUT',
      url: this.url(`manifests/${tagOrDigest}`),
      headers: { 'Content-Type': mediaType },
      body: bytes,
      scopes: this.pushScope(),
      signal,
    });
    await this.expect(response, [200, 201, 202]);
    response.resume();
    const announced = response.headers['docker-content-digest'];
    const digest = sha256(bytes);
    if (announced !== undefined && parseDigest(String(announced)) !== digest)
      throw new EngineError('system', `the registry stored the manifest as ${String(announced)} where ${digest} was sent`);
    return digest;
  }

  /** All tags, page after page. */
  async tags(signal: AbortSignal): Promise<string[]> {
    const found: string[] = [];
    let url: URL | undefined = this.url('tags/list');
    for (let page = 0; url; page++) {
      if (page >= limits.tagPages) throw new EngineError('system', `the registry gives more than ${limits.tagPages} pages of tags`);
      const response = await this.ask({ method: 'GET', url, scopes: this.pullScope(), signal });
      await this.expect(response, [200]);
      const next = nextLink(String(response.headers.link ?? ''));
      const body = await readBody(response, limits.tagPageBytes, 'the list of tags');
      found.push(...(JsonReader.of(parseJson(body, 'the list of tags'), 'the list of tags').strings('tags') ?? []));
      if (found.length > limits.tags) throw new EngineError('system', `the repository has more than ${limits.tags} tags`);
      const following: URL | undefined = next === undefined ? undefined : new URL(next, url);
      if (following && following.origin !== this.endpoint.origin)
        throw new EngineError('system', 'the list of tags goes on at another host');
      url = following;
    }
    return found;
  }

  /** A small blob, verified: a configuration that is looked at and not kept. */
  async smallBlob(digest: Digest, limit: number, signal: AbortSignal): Promise<Buffer> {
    const { body } = await this.blob(digest, 0, signal);
    const bytes = await readBody(body, limit, 'the blob');
    if (sha256(bytes) !== digest)
      throw new EngineError('system', `verification failed for digest ${digest}: the bytes have ${sha256(bytes)}`);
    return bytes;
  }

  /** The old search, which the Hub has and few others. */
  async search(term: string, count: number, signal: AbortSignal): Promise<Buffer> {
    const url = new URL('/v1/search', this.endpoint.origin);
    url.searchParams.set('q', term);
    url.searchParams.set('n', String(count));
    const response = await this.ask({ method: 'GET', url, scopes: [], signal });
    if (response.statusCode === 404) {
      response.resume();
      throw new EngineError('not-implemented', `registry ${url.host} has no search: it lacks the v1 search endpoint`);
    }
    await this.expect(response, [200]);
    return readBody(response, limits.tagPageBytes, "the search's answer");
  }

  private async exists(path: string, signal: AbortSignal): Promise<boolean> {
    const response = await this.ask({
      method: 'HEAD',
      url: this.url(path),
      headers: { Accept: acceptedManifests.join(', ') },
      scopes: this.pullScope(),
      signal,
    });
    response.resume();
    if (response.statusCode === 404) return false;
    await this.expect(response, [200]);
    return true;
  }

  /** Proves who we are when asked to; follows redirects of reads. */
  private async ask(ask: Ask): Promise<IncomingMessage> {
    for (let proven = false; ; proven = true) {
      const response = await this.follow(ask, await this.authorizer.header(ask.scopes, ask.signal));
      if (response.statusCode !== 401 || proven) return response;
      if (!this.authorizer.learn(response.headers['www-authenticate'], ask.scopes)) return response;
      response.resume();
      // A stream went out with the refused request: its owner makes it anew, and the next request has the new proof.
      if (ask.body && !(ask.body instanceof Uint8Array)) throw new RegistryUnreachable(ask.url.host, 'a token ended during an upload');
    }
  }

  private async follow(ask: Ask, authorization: { reveal(): string } | undefined): Promise<IncomingMessage> {
    let url = ask.url;
    for (let hops = 0; ; hops++) {
      const own = url.origin === this.endpoint.origin;
      // Credentials stay with their origin: the store that a blob is redirected to has its own signature in the URL.
      const headers = { ...ask.headers, ...(own && authorization ? { Authorization: authorization.reveal() } : {}) };
      const tls = own ? this.endpoint.tls : await this.endpoints.tlsFor(url.host);
      const response = await this.transport.send({
        method: ask.method,
        url,
        headers,
        ...(ask.body === undefined ? {} : { body: ask.body }),
        tls,
        signal: ask.signal,
      });
      const redirects = [301, 302, 303, 307, 308].includes(response.statusCode ?? 0) && (ask.method === 'GET' || ask.method === 'HEAD');
      if (!redirects) return response;
      response.resume();
      if (hops >= limits.redirects)
        throw new EngineError('system', `registry ${this.endpoint.origin} redirects more than ${limits.redirects} times`);
      url = this.location(response, url);
    }
  }

  /** Where an answer sends us, when we may go there. */
  private location(response: IncomingMessage, base: URL): URL {
    const url = URL.parse(response.headers.location ?? '', base.href);
    if (!url) throw new EngineError('system', `registry ${this.endpoint.origin} sent no usable Location`);
    if (url.protocol !== 'https:' && !(url.protocol === 'http:' && base.protocol === 'http:'))
      throw new EngineError('system', `registry ${this.endpoint.origin} redirects from TLS to ${url.protocol}//, which is refused`);
    const hostname = hostnameOf(url.host);
    if (
      isInternalAddress(hostname) &&
      url.origin !== this.endpoint.origin &&
      !isLoopbackHost(hostnameOf(new URL(this.endpoint.origin).host))
    )
      throw new EngineError('system', `registry ${this.endpoint.origin} redirects to ${hostname}, which is refused`);
    return url;
  }

  private async expect(response: IncomingMessage, statuses: readonly number[]): Promise<void> {
    const status = response.statusCode ?? 0;
    if (statuses.includes(status)) return;
    throw registryError(
      status,
      await readBody(response, limits.errorBytes, 'the error').catch(() => Buffer.alloc(0)),
      response.headers['retry-after'],
    );
  }

  private url(path: string): URL {
    return new URL(`/v2/${this.repository}/${path}`, this.endpoint.origin);
  }

  private pullScope(): string[] {
    return [`${this.resource}:${this.repository}:pull`];
  }

  private pushScope(): string[] {
    return [`${this.resource}:${this.repository}:pull,push`];
  }

  private get resource(): string {
    return this.options?.plugin ? 'repository(plugin)' : 'repository';
  }
}

/** The `next` page of a Link header. */
export function nextLink(header: string): string | undefined {
  for (const part of header.split(',')) {
    const match = /^\s*<([^>]*)>\s*;(.*)$/.exec(part);
    if (match && /(?:^|;)\s*rel="?next"?\s*(?:;|$)/.test(match[2] ?? '')) return match[1];
  }
  return undefined;
}
