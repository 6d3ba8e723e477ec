import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FakeApi, type Json } from '../../../test/fakes/api.js';
import { digestOf, image } from '../../../test/fakes/records.js';
import { EngineError } from '../../contracts/errors.js';
import { humanSize } from '../progress.js';
import { pulledName } from './archive-routes.js';

let api: FakeApi;
beforeEach(async () => {
  api = await FakeApi.open();
});
afterEach(() => api.close());

const called = (name: string): unknown[][] => api.services.images.calls.filter(([each]) => each === name).map(([, ...args]) => args);
const lines = (text: string): Json[] =>
  text
    .split('\r\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Json);

describe('the list of images', () => {
  it('has full ids, whole seconds and lists that are never null', async () => {
    expect((await api.get('/images/json')).json).toEqual([
      {
        Containers: 0,
        Created: 1767225600,
        Id: digestOf('a'),
        Labels: null,
        ParentId: '',
        RepoDigests: [],
        RepoTags: ['busybox:latest'],
        SharedSize: -1,
        Size: 4200000,
      },
    ]);
  });

  it('counts containers from 1.51, and shared bytes when asked', async () => {
    api.services.container();
    expect(((await api.get('/v1.51/images/json?shared-size=1')).json as Json[])[0]).toMatchObject({ Containers: 1, SharedSize: 0 });
    expect(((await api.get('/v1.50/images/json')).json as Json[])[0]).toMatchObject({ Containers: -1, SharedSize: -1 });
  });

  it('gives old clients what they were written for', async () => {
    api.services.images.stored = [image({ repoTags: [] })];
    const first = async (version: string): Promise<Json> => ((await api.get(`/${version}/images/json`)).json as Json[])[0]!;
    expect(await first('v1.42')).toMatchObject({ VirtualSize: 4200000, RepoTags: ['<none>:<none>'], RepoDigests: ['<none>@<none>'] });
    expect(await first('v1.43')).toMatchObject({ VirtualSize: 4200000, RepoTags: [] });
    expect(await first('v1.44')).not.toHaveProperty('VirtualSize');
  });

  it('refuses unknown filters', async () => {
    expect((await api.get(`/images/json?filters=${encodeURIComponent('{"dangling":["true"]}')}`)).status).toBe(200);
    expect(called('list')[0]?.[0]).toEqual({ all: false, filters: new Map([['dangling', ['true']]]) });
    expect((await api.get(`/images/json?filters=${encodeURIComponent('{"x":["true"]}')}`)).status).toBe(400);
  });
});

describe('an image by its name', () => {
  it('may have slashes, a port, a tag and a digest, encoded or not', async () => {
    for (const name of ['library/busybox', 'registry.test:5000/a/b/c:1.0', `a/b@${digestOf('b')}`]) {
      for (const path of [name, encodeURIComponent(name)]) {
        await api.get(`/v1.40/images/${path}/json`);
        expect(called('inspect').at(-1)).toEqual([name]);
        await api.get(`/images/${path}/history`);
        expect(called('history').at(-1)).toEqual([name]);
        await api.post(`/images/${path}/tag?repo=r&tag=t`);
        expect(called('tag').at(-1)).toEqual([name, 'r', 't']);
        await api.ask('DELETE', `/images/${path}?force=1`);
        expect(called('remove').at(-1)).toEqual([name, { force: true, noPrune: false }]);
        await api.get(`/images/${path}/get`);
        expect(called('save').at(-1)).toEqual([[name], undefined]);
        await api.get(`/distribution/${path}/json`);
        expect(called('distribution').at(-1)).toEqual([name, undefined]);
      }
    }
    expect((await api.get('/images/%zz/json')).status).toBe(400);
  });

  it('is inspected with nanoseconds and nulls as Docker has them', async () => {
    expect((await api.get('/images/busybox/json')).json).toMatchObject({
      Id: digestOf('a'),
      RepoTags: ['busybox:latest'],
      RepoDigests: [],
      Created: '2026-01-01T00:00:00.5Z',
      Architecture: 'amd64',
      Os: 'linux',
      GraphDriver: { Name: 'overlay2', Data: null },
      RootFS: { Type: 'layers', Layers: [digestOf('d')] },
      Metadata: { LastTagTime: '0001-01-01T00:00:00Z' },
      Config: { Cmd: ['sh'], Entrypoint: null },
    });
    expect((await api.get('/v1.44/images/busybox/json')).json).toMatchObject({ Container: '', ContainerConfig: null });
    expect((await api.get('/v1.45/images/busybox/json')).json).not.toHaveProperty('ContainerConfig');
  });

  it('is 404 with the words by which clients know an absent image', async () => {
    expect(await api.get('/images/ghost/json')).toMatchObject({ status: 404, json: { message: 'No such image: ghost' } });
  });

  it('of another platform than asked for is absent', async () => {
    const platform = (architecture: string): string => encodeURIComponent(JSON.stringify({ os: 'linux', architecture }));
    expect((await api.get(`/images/busybox/json?platform=${platform('amd64')}`)).status).toBe(200);
    expect(await api.get(`/images/busybox/json?platform=${platform('arm64')}`)).toMatchObject({
      status: 404,
      json: { message: expect.stringContaining('does not match the specified platform') },
    });
  });

  it('has a history without escapes', async () => {
    expect((await api.get('/images/busybox/history')).text).toContain('"Id":"<missing>"');
    expect((await api.get('/images/busybox/history')).text).toContain('a && b');
  });

  it('is removed with a list of what went, tagged with 201', async () => {
    expect((await api.ask('DELETE', '/images/busybox')).json).toEqual([{ Untagged: 'busybox:latest' }, { Deleted: digestOf('a') }]);
    expect((await api.ask('DELETE', '/images/busybox?platforms=%7B%7D')).status).toBe(501);
    expect((await api.post('/images/busybox/tag?repo=x')).status).toBe(201);
  });
});

describe('pull', () => {
  const auth = Buffer.from('{"username":"me","password":"p"}').toString('base64url');

  it('takes name, tag or digest, platform as text and credentials', async () => {
    await api.post('/images/create?fromImage=library%2Fbusybox&tag=1.36&platform=linux/arm64/v8', undefined, { 'X-Registry-Auth': auth });
    expect(called('pull')[0]?.[0]).toEqual({
      name: 'library/busybox',
      tag: '1.36',
      platform: { os: 'linux', architecture: 'arm64', variant: 'v8' },
      auth: { username: 'me', password: 'p', identityToken: '', registryToken: '', serverAddress: '' },
      storageDriver: '',
    });
    expect(pulledName('r.test:5000/a', '')).toEqual({ name: 'r.test:5000/a', tag: '' });
    expect(pulledName('r.test:5000/a:1', '')).toEqual({ name: 'r.test:5000/a', tag: '1' });
    expect(pulledName(`a@${digestOf('a')}`, '')).toEqual({ name: 'a', tag: digestOf('a') });
  });

  it('that fails before the first progress has its real status', async () => {
    api.services.images.failure = new EngineError('not-found', 'pull access denied for ghost, repository does not exist');
    expect(await api.post('/images/create?fromImage=ghost&tag=latest')).toMatchObject({
      status: 404,
      headers: { 'content-type': 'application/json' },
    });
  });

  it('that fails later says so inside the 200', async () => {
    api.services.images.progress = [{ status: 'Pulling from library/x', id: 'latest' }];
    api.services.images.failure = new EngineError('system', 'unexpected EOF');
    const { status, text } = await api.post('/images/create?fromImage=x&tag=latest');
    expect(status).toBe(200);
    expect(lines(text)).toEqual([
      { status: 'Pulling from library/x', progressDetail: {}, id: 'latest' },
      { errorDetail: { message: 'unexpected EOF' }, error: 'unexpected EOF' },
    ]);
  });

  it('wants an image or a source', async () => {
    expect((await api.post('/images/create')).status).toBe(400);
    expect((await api.post('/images/create?fromSrc=ftp://x/y')).status).toBe(400);
  });
});

describe('push', () => {
  it('needs no credentials, and ends with what was pushed', async () => {
    api.services.images.progress = [{ status: 'Pushed', id: 'abc' }, { aux: { tag: 'latest', digest: digestOf('a'), size: 528 } }];
    const { status, text } = await api.post('/v1.46/images/r.test/a/push?tag=latest', undefined, { 'X-Registry-Auth': 'e30=' });
    expect(status).toBe(200);
    expect(lines(text).at(-1)).toEqual({ progressDetail: {}, aux: { Tag: 'latest', Digest: digestOf('a'), Size: 528 } });
    expect(called('push')[0]?.[0]).toEqual({ name: 'r.test/a', tag: 'latest', platform: undefined, auth: undefined });
  });
});

describe('archives of images', () => {
  it('are loaded whatever their type, quietly unless told', async () => {
    api.services.images.progress = [{ stream: 'Loaded image: busybox:latest\n' }];
    for (const type of ['application/x-tar', 'application/json', 'application/tar']) {
      const { status, text } = await api.post('/images/load', Buffer.from('{"not json'), { 'content-type': type });
      expect(status).toBe(200);
      expect(lines(text)).toEqual([{ stream: 'Loaded image: busybox:latest\n' }]);
      expect(api.services.images.received.toString()).toBe('{"not json');
    }
    expect(called('load')[0]?.[0]).toEqual({ quiet: true });
    await api.post('/images/load?quiet=0', Buffer.from('x'), { 'content-type': 'application/x-tar' });
    expect(called('load').at(-1)?.[0]).toEqual({ quiet: false });
  });

  it('are imported, with the id at the end', async () => {
    const { text } = await api.post('/images/create?fromSrc=-&repo=r&tag=t&message=m&changes=CMD%20x', Buffer.from('tar'), {
      'content-type': 'text/plain',
    });
    expect(lines(text)).toEqual([{ status: digestOf('a') }]);
    expect(called('import')[0]?.[0]).toEqual({ repository: 'r', tag: 't', message: 'm', changes: ['CMD x'], platform: undefined });
    expect(api.services.images.received.toString()).toBe('tar');
  });

  it('are imported from a URL, or not when there is nothing behind it', async () => {
    const files = createServer((request, response) => {
      if (request.url === '/there.tar') response.end('from afar');
      else response.writeHead(404).end();
    });
    await new Promise<void>((resolve) => files.listen(0, '127.0.0.1', resolve));
    const { port } = files.address() as AddressInfo;
    const { text } = await api.post(`/images/create?fromSrc=127.0.0.1:${port}/there.tar&repo=r`);
    expect(lines(text)).toEqual([{ status: `Downloading from http://127.0.0.1:${port}/there.tar` }, { status: digestOf('a') }]);
    expect(api.services.images.received.toString()).toBe('from afar');
    expect(await api.post(`/images/create?fromSrc=http://127.0.0.1:${port}/ghost.tar`)).toMatchObject({
      status: 400,
      json: { message: expect.stringContaining('404') },
    });
    files.closeAllConnections();
    files.close();
    expect(await api.post(`/images/create?fromSrc=http://127.0.0.1:${port}/there.tar`)).toMatchObject({
      status: 500,
      json: { message: expect.stringContaining('cannot download') },
    });
  });

  it('are saved for one name or several', async () => {
    expect(await api.get('/images/get?names=a&names=b%2Fc')).toMatchObject({
      status: 200,
      text: 'saved',
      headers: { 'content-type': 'application/x-tar' },
    });
    expect(called('save')[0]?.[0]).toEqual(['a', 'b/c']);
  });
});

describe('registries', () => {
  it('are asked for a digest without a pull', async () => {
    expect((await api.get('/distribution/busybox/json')).json).toEqual({
      Descriptor: { mediaType: 'application/vnd.oci.image.index.v1+json', digest: digestOf('a'), size: 12 },
      Platforms: [{ architecture: 'amd64', os: 'linux' }],
    });
  });

  it('are searched', async () => {
    expect((await api.get('/images/search?term=busy')).json).toEqual([
      { star_count: 9, is_official: true, name: 'busybox', is_automated: false, description: 'small' },
    ]);
    expect((await api.get('/images/search?term=busy&limit=1000')).status).toBe(400);
  });

  it('check a login', async () => {
    expect((await api.post('/auth', { username: 'me', password: 'right', serveraddress: 'r.test' })).json).toEqual({
      Status: 'Login Succeeded',
      IdentityToken: '',
    });
    expect((await api.post('/auth', { username: 'me', password: 'wrong' })).status).toBe(401);
  });
});

it('prints sizes as Docker does', () => {
  expect([0, 999, 1000, 4_215_678, 1_500_000_000].map(humanSize)).toEqual(['0B', '999B', '1kB', '4.216MB', '1.5GB']);
});
