import { gunzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FakeApi } from '../../../test/fakes/api.js';
import { goFileMode } from './path-stat.js';

let api: FakeApi;
beforeEach(async () => {
  api = await FakeApi.open();
});
afterEach(() => api.close());

const calls = (name: string): unknown[][] => api.services.containers.calls.filter(([called]) => called === name).map(([, ...args]) => args);

describe('copying', () => {
  beforeEach(() => api.services.container());

  it('tells of a path in a header: base name, Go’s mode bits, base64 of the standard alphabet', async () => {
    api.services.containers.stat = { name: 'ü>?', size: 5, mode: 0o041777, mtimeMs: 0, linkTarget: '/x' };
    const { status, text, headers } = await api.ask('HEAD', '/containers/web/archive?path=/tmp');
    expect([status, text]).toEqual([200, '']);
    expect(JSON.parse(Buffer.from(headers['x-docker-container-path-stat'] ?? '', 'base64').toString())).toEqual({
      name: 'ü>?',
      size: 5,
      mode: 2 ** 31 + 2 ** 20 + 0o777,
      mtime: '1970-01-01T00:00:00.000Z',
      linkTarget: '/x',
    });
  });

  it('has Go’s bits for every type of file', () => {
    expect(goFileMode(0o100644)).toBe(0o644);
    expect(goFileMode(0o120777)).toBe(2 ** 27 + 0o777);
    expect(goFileMode(0o104755)).toBe(2 ** 23 + 0o755);
    expect(goFileMode(0o102755)).toBe(2 ** 22 + 0o755);
    expect(goFileMode(0o020666)).toBe(2 ** 26 + 2 ** 21 + 0o666);
    expect(goFileMode(0o060660)).toBe(2 ** 26 + 0o660);
    expect(goFileMode(0o010644)).toBe(2 ** 25 + 0o644);
    expect(goFileMode(0o140755)).toBe(2 ** 24 + 0o755);
  });

  it('out is an archive with the same header, compressed for who takes gzip', async () => {
    const plain = await api.get('/containers/web/archive?path=/x');
    expect(plain).toMatchObject({ status: 200, text: 'archive', headers: { 'content-type': 'application/x-tar' } });
    expect(plain.headers['x-docker-container-path-stat']).toBeTruthy();
    const zipped = await api.server.app.inject({ url: '/containers/web/archive?path=/x', headers: { 'accept-encoding': 'deflate, gzip' } });
    expect(zipped.headers['content-encoding']).toBe('gzip');
    expect(gunzipSync(zipped.rawPayload).toString()).toBe('archive');
    const unwanted = await api.server.app.inject({ url: '/containers/web/archive?path=/x', headers: { 'accept-encoding': 'gzip;q=0' } });
    expect(unwanted.headers['content-encoding']).toBeUndefined();
    expect((await api.get('/containers/web/archive')).status).toBe(400);
  });

  it('in is 200 whatever the content type says', async () => {
    for (const type of ['application/x-tar', 'application/json', 'application/octet-stream']) {
      expect(
        await api.ask('PUT', '/containers/web/archive?path=/&noOverwriteDirNonDir=true&copyUIDGID=1', Buffer.from('{"tar'), {
          'content-type': type,
        }),
      ).toMatchObject({ status: 200, text: '' });
      expect(api.services.containers.extracted.toString()).toBe('{"tar');
    }
    expect(calls('extract')[0]).toEqual(['web', '/', { noOverwriteDirNonDir: true, copyUidGid: true }]);
  });

  it('exports the whole root', async () => {
    expect(await api.get('/containers/web/export')).toMatchObject({ status: 200, text: 'tar' });
  });
});
