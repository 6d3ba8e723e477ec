import { describe, expect, it } from 'vitest';
import { FakeApi } from '../../../test/fakes/api.js';

describe('routes of plugins', () => {
  it('hand on what was agreed to, and say under which name it goes on', async () => {
    const api = await FakeApi.open();
    const agreed = [{ Name: 'network', Description: 'x', Value: ['host'] }];
    const answer = await api.post('/plugins/pull?remote=org/p:v1&name=mine:latest', agreed);
    expect(answer).toMatchObject({ status: 200 });
    expect(answer.headers['docker-plugin-name']).toBe('mine:latest');
    expect(api.services.managedPlugins.calls.at(-1)).toMatchObject([
      'pull',
      { remote: 'org/p:v1', name: 'mine:latest', agreed: [{ name: 'network', value: ['host'] }] },
    ]);
    expect(await api.post('/plugins/pull', agreed)).toMatchObject({ status: 400 });
    expect(await api.post('/plugins/pull?remote=x', { Name: 'network' })).toMatchObject({ status: 400 });
  });

  it('read a time limit that is none as none, and refuse what is no number', async () => {
    const api = await FakeApi.open();
    expect(await api.post('/plugins/org/p:v1/enable')).toMatchObject({ status: 200 });
    expect(api.services.managedPlugins.calls.at(-1)).toEqual(['enable', 'org/p:v1', { timeout: 0 }]);
    expect(await api.post('/plugins/p/enable?timeout=soon')).toMatchObject({ status: 400 });
    expect(await api.post('/plugins/p/set', ['A=1'])).toMatchObject({ status: 204 });
    expect(api.services.managedPlugins.calls.at(-1)).toEqual(['set', 'p', ['A=1']]);
    expect(await api.get('/plugins/org/p:v1/json')).toMatchObject({ status: 404, json: { message: 'plugin "org/p:v1" not found' } });
    expect(await api.get('/plugins?filters={"nope":["1"]}')).toMatchObject({ status: 400 });
  });
});
