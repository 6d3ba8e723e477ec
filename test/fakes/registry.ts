import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createHash } from 'node:crypto';
import type { AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

const digestOf = (bytes: Uint8Array): string => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

/** What goes wrong with a request. The first fault that fits and has turns left acts. */
export interface Fault {
  /** Of the request's method and path, `GET /v2/…`. */
  readonly on: RegExp;
  /** How many requests it meets; every one when absent. */
  times?: number;
  /** Breaks the connection after so many bytes of the body. */
  readonly resetAfter?: number;
  /** Done at the moment of that break. */
  readonly onBreak?: () => void;
  /** Changes one bit of the body. */
  readonly flip?: boolean;
  /** Ends the body early, or makes it longer, with a matching length. */
  readonly cut?: number;
  readonly append?: number;
  /** Waits before the answer. */
  readonly delayMs?: number;
  /** Never sends anything after so many bytes. */
  readonly stallAfter?: number;
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  /** Sends the whole although a range was asked for. */
  readonly ignoreRange?: boolean;
}

export interface SeenRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
  readonly status: number;
}

/** An OCI registry in this process, on loopback, that can be told to fail. Keeps everything in memory. */
export class FakeRegistry {
  readonly blobs = new Map<string, Buffer>();
  /** `repository:tag` and `repository@digest` to bytes and type. */
  readonly manifests = new Map<string, { bytes: Buffer; type: string }>();
  readonly requests: SeenRequest[] = [];
  faults: Fault[] = [];
  /** Bearer tokens are asked for when set; `user:password` opens, and `''` lets anybody in. */
  credentials: string | undefined;
  readonly tokensGiven: string[] = [];
  /** One page of tags. */
  pageSize = 100;
  /** How many blobs are being sent, and the most that ever were. */
  sending = 0;
  mostSending = 0;
  private uploads = new Map<string, Buffer>();
  private server: Server | undefined;

  /** `localhost:PORT`. */
  get host(): string {
    if (!this.server) throw new Error('the registry was not started');
    return `localhost:${(this.server.address() as AddressInfo).port}`;
  }

  async start(): Promise<this> {
    this.server = createServer((request, response) => {
      this.answer(request, response).catch((error: unknown) => {
        response.destroy(error as Error);
      });
    });
    const { promise, resolve } = Promise.withResolvers<void>();
    this.server.listen(0, 'localhost', resolve);
    await promise;
    return this;
  }

  async stop(): Promise<void> {
    this.server?.closeAllConnections();
    const { promise, resolve } = Promise.withResolvers<void>();
    this.server?.close(() => resolve());
    await promise;
  }

  putBlob(bytes: Uint8Array): { digest: string; size: number } {
    const digest = digestOf(bytes);
    this.blobs.set(digest, Buffer.from(bytes));
    return { digest, size: bytes.byteLength };
  }

  putManifest(repository: string, tag: string | undefined, manifest: object, type: string): { digest: string; size: number } {
    const bytes = Buffer.from(JSON.stringify(manifest));
    const digest = digestOf(bytes);
    this.manifests.set(`${repository}@${digest}`, { bytes, type });
    if (tag !== undefined) this.manifests.set(`${repository}:${tag}`, { bytes, type });
    return { digest, size: bytes.length };
  }

  seen(pattern: RegExp): SeenRequest[] {
    return this.requests.filter((request) => pattern.test(`${request.method} ${request.path}`));
  }

  private async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', `http://${this.host}`);
    const line = `${request.method} ${url.pathname}`;
    const body = await readAll(request);
    response.on('finish', () => this.log(request, url, response.statusCode));
    const fault = this.faults.find((one) => one.on.test(line) && (one.times ?? 1) > 0);
    if (fault?.times !== undefined) fault.times--;
    if (fault?.delayMs !== undefined) await delay(fault.delayMs);
    if (fault?.status !== undefined) {
      response.writeHead(fault.status, { ...fault.headers }).end(fault.body ?? '');
      return;
    }
    if (url.pathname === '/token') return this.giveToken(request, url, response);
    if (!this.allowed(request)) {
      response
        .writeHead(401, { 'WWW-Authenticate': `Bearer realm="http://${this.host}/token",service="fake, with a comma"` })
        .end(JSON.stringify({ errors: [{ code: 'UNAUTHORIZED', message: 'authentication required' }] }));
      return;
    }
    await this.route(request, url, body, response, fault);
  }

  private async route(request: IncomingMessage, url: URL, body: Buffer, response: ServerResponse, fault: Fault | undefined): Promise<void> {
    const path = url.pathname;
    if (path === '/v2/') return void response.writeHead(200).end('{}');
    const tags = /^\/v2\/(.+)\/tags\/list$/.exec(path);
    if (tags) return this.listTags(tags[1] ?? '', url, response);
    const manifest = /^\/v2\/(.+)\/manifests\/([^/]+)$/.exec(path);
    if (manifest) return this.manifest(request, manifest[1] ?? '', manifest[2] ?? '', body, response, fault);
    const upload = /^\/v2\/(.+)\/blobs\/uploads\/([^/]*)$/.exec(path);
    if (upload) return this.upload(request, url, upload[1] ?? '', upload[2] ?? '', body, response);
    const blob = /^\/v2\/(.+)\/blobs\/([^/]+)$/.exec(path);
    if (blob) return this.blob(request, blob[2] ?? '', response, fault);
    response.writeHead(404).end();
  }

  private manifest(
    request: IncomingMessage,
    repository: string,
    reference: string,
    body: Buffer,
    response: ServerResponse,
    fault: Fault | undefined,
  ): void | Promise<void> {
    if (request.method === 'PUT') {
      const digest = digestOf(body);
      const type = request.headers['content-type'] ?? '';
      this.manifests.set(`${repository}@${digest}`, { bytes: body, type });
      if (!reference.includes(':')) this.manifests.set(`${repository}:${reference}`, { bytes: body, type });
      response.writeHead(201, { 'Docker-Content-Digest': digest }).end();
      return;
    }
    const found = this.manifests.get(`${repository}${reference.includes(':') ? '@' : ':'}${reference}`);
    if (!found) return refuse(response, 404, 'MANIFEST_UNKNOWN', 'manifest unknown');
    const headers = { 'Content-Type': found.type, 'Docker-Content-Digest': digestOf(found.bytes) };
    return send(response, request, found.bytes, headers, fault);
  }

  private async blob(request: IncomingMessage, digest: string, response: ServerResponse, fault: Fault | undefined): Promise<void> {
    const found = this.blobs.get(digest);
    if (!found) return refuse(response, 404, 'BLOB_UNKNOWN', 'blob unknown to registry');
    const from = fault?.ignoreRange ? 0 : Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
    this.mostSending = Math.max(this.mostSending, ++this.sending);
    const headers = from > 0 ? { 'Content-Range': `bytes ${from}-${found.length - 1}/${found.length}` } : {};
    try {
      await send(response, request, found.subarray(from), headers, fault, from > 0 ? 206 : 200);
    } finally {
      this.sending--;
    }
  }

  private upload(request: IncomingMessage, url: URL, repository: string, id: string, body: Buffer, response: ServerResponse): void {
    const at = (upload: string): string => `http://${this.host}/v2/${repository}/blobs/uploads/${upload}?state=x`;
    if (request.method === 'POST') {
      const mount = url.searchParams.get('mount');
      if (mount !== null && this.blobs.has(mount)) return void response.writeHead(201, { 'Docker-Content-Digest': mount }).end();
      const upload = `u${this.uploads.size + 1}`;
      this.uploads.set(upload, Buffer.alloc(0));
      return void response.writeHead(202, { Location: at(upload), Range: '0-0' }).end();
    }
    const before = this.uploads.get(id);
    if (!before) return refuse(response, 404, 'BLOB_UPLOAD_UNKNOWN', 'blob upload unknown to registry');
    if (request.method === 'GET')
      return void response.writeHead(204, { Location: at(id), Range: `0-${Math.max(0, before.length - 1)}` }).end();
    const bytes = Buffer.concat([before, body]);
    this.uploads.set(id, bytes);
    if (request.method === 'PATCH') return void response.writeHead(202, { Location: at(id), Range: `0-${bytes.length - 1}` }).end();
    const digest = url.searchParams.get('digest') ?? '';
    if (digestOf(bytes) !== digest) return refuse(response, 400, 'DIGEST_INVALID', 'provided digest did not match uploaded content');
    this.blobs.set(digest, bytes);
    response.writeHead(201, { 'Docker-Content-Digest': digest }).end();
  }

  private listTags(repository: string, url: URL, response: ServerResponse): void {
    const all = [...this.manifests.keys()]
      .flatMap((key) => (key.startsWith(`${repository}:`) ? [key.slice(repository.length + 1)] : []))
      .toSorted();
    if (all.length === 0) return refuse(response, 404, 'NAME_UNKNOWN', 'repository name not known to registry');
    const last = url.searchParams.get('last') ?? '';
    const rest = all.filter((tag) => tag > last);
    const page = rest.slice(0, this.pageSize);
    const more =
      rest.length > page.length ? { Link: `</v2/${repository}/tags/list?last=${page.at(-1)}&n=${this.pageSize}>; rel="next"` } : {};
    response.writeHead(200, { 'Content-Type': 'application/json', ...more }).end(JSON.stringify({ name: repository, tags: page }));
  }

  private allowed(request: IncomingMessage): boolean {
    if (this.credentials === undefined) return true;
    const bearer = /^Bearer (.+)$/.exec(request.headers.authorization ?? '')?.[1];
    return bearer !== undefined && this.tokensGiven.includes(bearer);
  }

  private giveToken(request: IncomingMessage, url: URL, response: ServerResponse): void {
    const basic = /^Basic (.+)$/.exec(request.headers.authorization ?? '')?.[1];
    const given = basic === undefined ? '' : Buffer.from(basic, 'base64').toString();
    if (given !== this.credentials) return refuse(response, 401, 'UNAUTHORIZED', 'incorrect username or password');
    const token = `token-${this.tokensGiven.length}-${url.searchParams.getAll('scope').join('+')}`.replaceAll(/[^\w+,:-]/g, '_');
    this.tokensGiven.push(token);
    const refresh = url.searchParams.get('offline_token') === 'true' ? { refresh_token: 'refresh-me' } : {};
    response.writeHead(200, { 'Content-Type': 'application/json' }).end(JSON.stringify({ token, expires_in: 300, ...refresh }));
  }

  private log(request: IncomingMessage, url: URL, status: number): void {
    this.requests.push({ method: request.method ?? '', path: url.pathname + url.search, headers: request.headers, status });
  }
}

function refuse(response: ServerResponse, status: number, code: string, message: string): void {
  response.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify({ errors: [{ code, message }] }));
}

async function readAll(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks);
}

async function send(
  response: ServerResponse,
  request: IncomingMessage,
  whole: Buffer,
  headers: Readonly<Record<string, string>>,
  fault: Fault | undefined,
  status = 200,
): Promise<void> {
  let bytes = Buffer.from(whole);
  if (fault?.flip && bytes.length > 0) bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 1;
  if (fault?.cut !== undefined) bytes = bytes.subarray(0, bytes.length - fault.cut);
  if (fault?.append !== undefined) bytes = Buffer.concat([bytes, Buffer.alloc(fault.append)]);
  response.writeHead(status, { ...headers, 'Content-Length': bytes.length });
  if (request.method === 'HEAD') return void response.end();
  const stop = fault?.resetAfter ?? fault?.stallAfter;
  if (stop === undefined) {
    const { promise, resolve } = Promise.withResolvers<void>();
    response.on('close', resolve);
    response.end(bytes, resolve);
    return promise;
  }
  response.write(bytes.subarray(0, stop));
  await delay(20);
  if (fault?.resetAfter === undefined) return;
  fault.onBreak?.();
  response.socket?.resetAndDestroy();
}
