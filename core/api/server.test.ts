import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FakeApi } from '../../test/fakes/api.js';
import { EngineError, type ErrorKind } from '../contracts/errors.js';
import type { AccessAnswer, AccessRequest, AuthorizationPlugin } from '../contracts/authorization.js';

let api: FakeApi;

beforeEach(async () => {
  api = await FakeApi.open();
});
afterEach(() => api.close());

describe('the version of a request', () => {
  it('may be any from 1.24 to 1.51, or none for the newest', async () => {
    for (const prefix of ['', '/v1.24', '/v1.32', '/v1.41', '/v1.51']) expect((await api.get(`${prefix}/version`)).status).toBe(200);
  });

  it('is refused in Docker’s words when it is out of range', async () => {
    expect(await api.get('/v1.60/containers/json')).toMatchObject({
      status: 400,
      json: { message: 'client version 1.60 is too new. Maximum supported API version is 1.51' },
    });
    expect((await api.get('/v1.23/_ping')).json).toEqual({
      message: 'client version 1.23 is too old. Minimum supported API version is 1.24, please upgrade your client to a newer version',
    });
    expect((await api.get('/v2.0/version')).status).toBe(400);
  });

  it('is told by an unversioned HEAD of _ping without a body', async () => {
    const { status, headers, text } = await api.ask('HEAD', '/_ping');
    expect([status, text]).toEqual([200, '']);
    expect(headers).toMatchObject({
      'api-version': '1.51',
      'builder-version': '1',
      'docker-experimental': 'false',
      ostype: 'linux',
      swarm: 'inactive',
      'cache-control': 'no-cache, no-store, must-revalidate',
      pragma: 'no-cache',
    });
    expect((await api.get('/_ping')).text).toBe('OK');
  });
});

describe('every answer', () => {
  it('carries the engine’s headers, errors too', async () => {
    for (const url of ['/containers/json', '/containers/ghost/json', '/nowhere', '/v9.9/info']) {
      expect((await api.get(url)).headers).toMatchObject({
        'api-version': '1.51',
        'docker-experimental': 'false',
        ostype: 'linux',
        server: 'Docker/0.1.0 (linux)',
      });
    }
  });

  it('is JSON without a charset', async () => {
    expect((await api.get('/containers/json')).headers['content-type']).toBe('application/json');
    expect((await api.get('/containers/ghost/json')).headers['content-type']).toBe('application/json');
    expect((await api.post('/containers/create', '{')).headers['content-type']).toBe('application/json');
    expect((await api.get('/nowhere')).headers['content-type']).toBe('application/json');
  });
});

describe('errors', () => {
  it('are 404 page not found for an unknown path and for a wrong method', async () => {
    const unknown = { status: 404, json: { message: 'page not found' } };
    expect(await api.get('/nowhere')).toMatchObject(unknown);
    expect(await api.ask('DELETE', '/info/x')).toMatchObject(unknown);
    expect(await api.ask('PUT', '/containers/create')).toMatchObject(unknown);
  });

  it('have Docker’s status for each kind', async () => {
    const statuses: [ErrorKind, number][] = [
      ['invalid-parameter', 400],
      ['unauthorized', 401],
      ['forbidden', 403],
      ['not-found', 404],
      ['conflict', 409],
      ['not-implemented', 501],
      ['unavailable', 503],
      ['cancelled', 500],
      ['system', 500],
    ];
    for (const [kind, status] of statuses) {
      api.services.containers.failures.set('start', new EngineError(kind, `it is ${kind}`));
      expect(await api.post('/containers/x/start')).toMatchObject({ status, json: { message: `it is ${kind}` } });
    }
    api.services.containers.failures.set('start', new TypeError('a bug'));
    expect(await api.post('/containers/x/start')).toMatchObject({ status: 500, json: { message: 'a bug' } });
    expect(api.log.lines.at(-1)).toMatchObject({ level: 'error' });
  });

  it('have no body for what is in that state already', async () => {
    api.services.containers.failures.set('start', new EngineError('not-modified', 'runs'));
    expect(await api.post('/containers/x/start')).toMatchObject({ status: 304, text: '' });
  });

  it('name what is not there yet', async () => {
    for (const [method, url, name] of [
      ['POST', '/build', 'image build'],
      ['POST', '/session', 'BuildKit session'],
      ['POST', '/grpc', 'BuildKit gRPC'],
      ['GET', '/containers/x/checkpoints', 'container checkpoints'],
      ['POST', '/swarm/init', 'swarm mode'],
      ['GET', '/images/library/x/attestations', 'image attestations'],
    ] as const) {
      const { status, json } = await api.ask(method, url);
      expect([url, status]).toEqual([url, 501]);
      expect((json as { message: string }).message).toContain(name);
    }
    expect((await api.get('/plugins')).json).toEqual([]);
    expect(await api.get('/plugins/vieux/sshfs:latest/json')).toMatchObject({
      status: 404,
      json: { message: 'plugin "vieux/sshfs:latest" not found' },
    });
    expect((await api.post('/build/prune')).json).toEqual({ CachesDeleted: null, SpaceReclaimed: 0 });
  });

  it('are 503 in Docker’s words for what only a swarm answers', async () => {
    for (const url of ['/swarm', '/nodes', '/services', '/tasks', '/secrets', '/configs', '/services/x', '/tasks/x/logs']) {
      expect(await api.get(url)).toMatchObject({
        status: 503,
        json: { message: expect.stringContaining('This node is not a swarm manager.') },
      });
    }
  });
});

describe('OPTIONS', () => {
  it('is fine everywhere', async () => {
    expect(await api.ask('OPTIONS', '/v1.40/containers/json')).toMatchObject({ status: 200, text: '' });
  });
});

describe('access plugins', () => {
  class Plugin implements AuthorizationPlugin {
    readonly name = 'gate';
    readonly requests: AccessRequest[] = [];
    readonly answers: AccessAnswer[] = [];
    deny: 'request' | 'response' | undefined;
    broken = false;

    async authorizeRequest(request: AccessRequest) {
      this.requests.push(request);
      if (this.broken) throw new Error('no answer');
      return this.deny === 'request' ? { allow: false as const, reason: 'not you' } : { allow: true as const };
    }

    async authorizeResponse(answer: AccessAnswer) {
      this.answers.push(answer);
      return this.deny === 'response' ? { allow: false as const, reason: 'not that' } : { allow: true as const };
    }
  }

  let plugin: Plugin;
  beforeEach(async () => {
    plugin = new Plugin();
    await api.close();
    api = await FakeApi.open([plugin]);
  });

  it('see the canonical request without credentials, and the status', async () => {
    await api.post('/v1.40/containers/create?name=web', '{"IMAGE":"busybox","Unknown":1}', {
      'content-type': 'application/json',
      'X-Registry-Auth': 'e30',
      Authorization: 'x',
    });
    const [request] = plugin.requests;
    expect(request).toMatchObject({ method: 'POST', uri: '/v1.40/containers/create?name=web' });
    expect(JSON.parse(String(request?.body))).toEqual({ Image: 'busybox' });
    expect(Object.keys(request?.headers ?? {})).not.toContain('x-registry-auth');
    expect(Object.keys(request?.headers ?? {})).not.toContain('authorization');
    expect(plugin.answers[0]?.statusCode).toBe(201);
  });

  it('are named in info', async () => {
    expect((await api.get('/info')).json).toMatchObject({ Plugins: { Authorization: ['gate'] } });
  });

  it('refuse with 403 and their name, and the service is not reached', async () => {
    plugin.deny = 'request';
    expect(await api.post('/containers/x/start')).toMatchObject({
      status: 403,
      json: { message: 'authorization denied by plugin gate: not you' },
    });
    expect(api.services.containers.calls).toEqual([]);
  });

  it('refuse answers, streams too', async () => {
    plugin.deny = 'response';
    api.services.container();
    for (const url of ['/containers/json', '/events?until=1', '/containers/web/export', '/containers/web/logs?stdout=1']) {
      expect(await api.get(url)).toMatchObject({ status: 403, json: { message: 'authorization denied by plugin gate: not that' } });
    }
  });

  it('fail closed', async () => {
    plugin.broken = true;
    expect((await api.get('/containers/json')).status).toBe(500);
    expect(api.services.containers.calls).toEqual([]);
  });
});
