import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { eventually } from '../network/probe.js';
import { FakePlugin, faults, type PluginAnswer } from '../fakes/plugin.js';
import { whyNoEngine } from './engine.js';
import { openTrial, type Trial } from './trial.js';

const reason = whyNoEngine();

interface VolumeList {
  Volumes: { Name: string; Driver: string }[];
  Warnings: string[] | null;
}

describe.skipIf(reason)(`plugins that hang, die and lie${reason ? ` (skipped: ${reason})` : ''}`, { timeout: 180_000 }, () => {
  let trial: Trial;
  let scratch: string;
  const started: FakePlugin[] = [];
  let names = 0;

  const good = (place: string): Record<string, PluginAnswer> => ({
    'VolumeDriver.Capabilities': () => ({ Capabilities: { Scope: 'local' } }),
    'VolumeDriver.Get': ({ Name }) => ({ Volume: { Name } }),
    'VolumeDriver.Create': () => ({}),
    'VolumeDriver.Remove': () => ({}),
    'VolumeDriver.Mount': () => ({ Mountpoint: place }),
    'VolumeDriver.Unmount': () => ({}),
    'VolumeDriver.List': () => ({ Volumes: [] }),
  });
  const start = async (answers: Record<string, PluginAnswer>): Promise<{ name: string; plugin: FakePlugin }> => {
    const name = `bad${++names}`;
    const plugin = await FakePlugin.start(join(trial.engine.pluginFolder, `${name}.sock`), ['VolumeDriver'], {
      ...good(scratch),
      ...answers,
    });
    started.push(plugin);
    return { name, plugin };
  };
  const api = <T>(method: string, path: string, body?: unknown): Promise<{ status: number; body: T }> =>
    trial.engine.api<T>(method, path, body);
  const fine = async (): Promise<void> => {
    expect(await api('GET', '/containers/json?all=1')).toMatchObject({ status: 200 });
    expect(await api('POST', '/volumes/create', { Name: 'beside' })).toMatchObject({ status: 201 });
    expect(await api('DELETE', '/volumes/beside')).toMatchObject({ status: 204 });
  };

  beforeAll(async () => {
    trial = await openTrial();
    mkdirSync(trial.engine.pluginFolder, { recursive: true });
    scratch = mkdtempSync('/tmp/gantry-bad-');
  });
  afterEach(async () => {
    for (const plugin of started.splice(0)) await plugin.down({ removeSocket: true });
  });
  afterAll(async () => {
    rmSync(scratch, { recursive: true, force: true });
    if (trial) expect(await trial.close()).toEqual({});
  });

  it.each(Object.entries(faults).filter(([name]) => name !== 'hangs' && name !== 'drips'))(
    'are named when a call to one %s, and nothing is left of it',
    async (_, answer) => {
      const { name } = await start({ 'VolumeDriver.Get': () => ({ Err: 'none' }), 'VolumeDriver.Create': answer });
      const created = await api<{ message: string }>('POST', '/volumes/create', { Name: `on-${name}`, Driver: name });
      expect(created.status).toBeGreaterThanOrEqual(400);
      expect(created.body.message).toContain('VolumeDriver.');
      expect((await api<VolumeList>('GET', '/volumes')).body.Volumes).not.toContainEqual(expect.objectContaining({ Name: `on-${name}` }));
      await fine();
    },
  );

  it.each(['/', '/etc', '/proc/1/root', '/var/../etc', 'relative', '/no/such/folder', 'LINK', 'ROOT', '/dev/null', ''])(
    'give no container the path %j',
    async (lie) => {
      const link = join(scratch, 'link');
      rmSync(link, { force: true });
      symlinkSync('/etc', link);
      const path = lie === 'LINK' ? link : lie === 'ROOT' ? join(trial.engine.folder, 'data') : lie;
      const { name, plugin } = await start({ 'VolumeDriver.Mount': () => ({ Mountpoint: path }) });
      const created = await api<{ Id: string }>('POST', '/containers/create', {
        Image: trial.image,
        Cmd: ['true'],
        HostConfig: { Binds: [`lie-${name}:/data`], VolumeDriver: name },
      });
      expect(created.status).toBe(201);
      const begun = await api<{ message: string }>('POST', `/containers/${created.body.Id}/start`);
      expect(begun.status).toBe(500);
      expect(begun.body.message).toContain(`plugin ${name}: VolumeDriver.Mount: `);
      // What was mounted for nothing is given back.
      if (path !== '') expect(plugin.called('VolumeDriver.Unmount')).toBeGreaterThanOrEqual(1);
      expect(await api('DELETE', `/containers/${created.body.Id}?v=1`)).toMatchObject({ status: 204 });
      expect(await api('DELETE', `/volumes/lie-${name}`)).toMatchObject({ status: 204 });
      await fine();
    },
  );

  it('become warnings of a list, which shows all others', async () => {
    const { name: hanging } = await start({ 'Plugin.Activate': faults.hangs });
    const { name: listing } = await start({ 'VolumeDriver.List': () => ({ Volumes: [{ Name: 'theirs' }] }) });
    const { name: flooding } = await start({ 'VolumeDriver.List': faults['answers for ever'] });
    const { body } = await api<VolumeList>('GET', '/volumes');
    expect(body.Volumes).toContainEqual(expect.objectContaining({ Name: 'theirs', Driver: listing }));
    for (const name of [hanging, flooding]) expect(body.Warnings?.join('\n')).toContain(name);
    await fine();
  });

  it('that hang keep nobody from starting the daemon, and are shown as what they are', async () => {
    const { name, plugin } = await start({});
    expect(await api('POST', '/volumes/create', { Name: 'held', Driver: name })).toMatchObject({ status: 201 });
    for (const method of Object.keys(plugin.answers)) plugin.answers[method] = faults.hangs;
    await trial.engine.down('SIGKILL');
    await trial.engine.up();
    await fine();
    const lists = await api<VolumeList>('GET', '/volumes');
    expect(lists.body.Volumes).toContainEqual(expect.objectContaining({ Name: 'held', Driver: name }));
    const shown = await api<{ State: { Holders: string[] } }>('GET', `/plugins/${name}/json`);
    expect(shown.body.State.Holders).toEqual(['volume held']);
    await plugin.down({ removeSocket: true });
    plugin.answers = { 'Plugin.Activate': () => ({ Implements: ['VolumeDriver'] }), ...good(scratch) };
    await plugin.up();
    // An opening of the driver that began before may still be failing, and who comes meanwhile shares it.
    await eventually(async () => (await api('DELETE', '/volumes/held')).status === 204, 'the plugin is met again');
    expect((await api<{ State: { Connection: string } }>('GET', `/plugins/${name}/json`)).body.State.Connection).toBe('active');
  });

  it('may call the engine while it waits for them', async () => {
    const { name } = await start({
      'VolumeDriver.Create': async () => ((await api('GET', '/volumes')).status === 200 ? {} : { Err: 'the engine did not answer' }),
      'VolumeDriver.Get': ({ Name }) => (Name === 'asked-back' ? { Err: 'none' } : { Volume: { Name } }),
    });
    expect(await api('POST', '/volumes/create', { Name: 'asked-back', Driver: name })).toMatchObject({ status: 201 });
    expect(await api('DELETE', '/volumes/asked-back')).toMatchObject({ status: 204 });
  });
});
