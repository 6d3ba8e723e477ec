import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FakeApi } from '../../../test/fakes/api.js';

let api: FakeApi;
beforeEach(async () => {
  api = await FakeApi.open();
});
afterEach(() => api.close());

describe('exec', () => {
  beforeEach(() => api.services.container());

  it('is made with 201 and refused without a command', async () => {
    const { status, json } = await api.post('/containers/web/exec', {
      Cmd: ['sh'],
      Tty: true,
      ConsoleSize: [24, 80],
      Env: ['A=b'],
      User: 'u',
      DetachKeys: 'ctrl-x',
    });
    expect(status).toBe(201);
    const { Id } = json as { Id: string };
    expect(api.services.execs.inspect(Id).request).toMatchObject({
      cmd: ['sh'],
      tty: true,
      consoleSize: [24, 80],
      env: ['A=b'],
      user: 'u',
      detachKeys: 'ctrl-x',
    });
    for (const Cmd of [[], null]) expect((await api.post('/containers/web/exec', { Cmd })).status).toBe(400);
    await api.post('/v1.41/containers/web/exec', { Cmd: ['x'], ConsoleSize: [24, 80] });
    expect(api.services.execs.calls.at(-1)?.[2]).toMatchObject({ consoleSize: undefined });
  });

  it('starts detached with 200, resizes with 200, and shows no exit code before there is one', async () => {
    const { Id } = (await api.post('/containers/web/exec', { Cmd: ['sh', '-c', 'x'], AttachStdout: true })).json as { Id: string };
    expect(await api.post(`/exec/${Id}/start`, { Detach: true })).toMatchObject({ status: 200, text: '' });
    expect((await api.post(`/exec/${Id}/resize?h=1&w=2`)).status).toBe(200);
    expect((await api.get(`/exec/${Id}/json`)).json).toMatchObject({
      ID: Id,
      Running: false,
      ExitCode: null,
      ContainerID: 'c'.repeat(64),
      OpenStdin: false,
      OpenStdout: true,
      ProcessConfig: { tty: false, entrypoint: 'sh', arguments: ['-c', 'x'], privileged: false },
    });
    expect((await api.get('/exec/ghost/json')).status).toBe(404);
  });
});
