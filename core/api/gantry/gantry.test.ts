import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { conflict } from '../../contracts/errors.js';
import { FakeApi } from '../../../test/fakes/api.js';

let api: FakeApi;
beforeEach(async () => {
  api = await FakeApi.open();
});
afterEach(() => api.close());

const step = { kind: 'container', id: 'c'.repeat(64), name: 'box', outcome: 'moved', reason: '', digest: 'sha256:x', size: 5 } as const;

describe('what Docker has no words for', () => {
  it('is found with and without the version of its API', async () => {
    const answer = await api.get('/v1.51/gantry/v1/storage');
    expect(answer.json).toEqual((await api.get('/gantry/v1/storage')).json);
    expect(answer.json).toMatchObject({ Drivers: [{ Name: 'overlay2', Default: true, LayersSize: 42 }], BlobsSize: 7, LogsSize: 3 });
    expect((await api.get('/gantry/v2/storage')).status).toBe(404);
  });

  it('shows one driver, and the layers of an image whose name has slashes', async () => {
    expect((await api.get('/gantry/v1/storage/overlay2')).json).toMatchObject({
      ContainerFiles: [{ Name: 'box', Size: 5, Quota: null }],
      UnpackedLayers: [{ UsedBy: [{ Kind: 'image', Name: 'busybox:latest' }] }],
    });
    expect((await api.get('/gantry/v1/layers?image=host:1/a/b:tag')).json).toMatchObject([{ BlobSize: null, Places: [{ Size: 42 }] }]);
    expect(api.services.storage.calls).toEqual([
      ['inspect', 'overlay2'],
      ['imageLayers', 'host:1/a/b:tag'],
    ]);
  });

  it('repairs only when asked to', async () => {
    expect((await api.post('/gantry/v1/check')).json).toMatchObject({ Findings: [{ State: 'found' }] });
    expect((await api.post('/gantry/v1/check?repair=1&storage=1')).json).toMatchObject({ Findings: [{ State: 'repaired' }] });
    expect(api.services.check.calls).toEqual([
      { repair: false, storageOnly: false, deep: false },
      { repair: true, storageOnly: true, deep: false },
    ]);
  });

  it('tells of a migration step by step', async () => {
    api.services.storage.steps = [step, { ...step, outcome: 'failed', reason: 'no' }];
    const answer = await api.post('/gantry/v1/storage/migrate?from=a&to=b');
    const lines = answer.text.trim().split('\n');
    expect(lines.map((line) => (JSON.parse(line) as { Outcome: string }).Outcome)).toEqual(['moved', 'failed']);
  });

  it('refuses a migration with a status of its own, and tells of one that broke off in its last line', async () => {
    api.services.storage.failure = conflict('a migration is under way');
    expect(await api.post('/gantry/v1/storage/migrate?from=a&to=b')).toMatchObject({ status: 409 });
    api.services.storage.steps = [step];
    expect((await api.post('/gantry/v1/storage/migrate?from=a&to=b')).text).toContain('{"error":"a migration is under way"}\n');
  });

  it('says what was removed', async () => {
    expect((await api.post('/gantry/v1/storage/prune?all=1')).json).toEqual({ Removed: ['overlay2 x'], SpaceReclaimed: 1 });
    expect(api.services.storage.calls).toEqual([['prune', { all: true }]]);
  });
});
