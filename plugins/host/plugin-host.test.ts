import { mkdtempSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { PluginCallRecord } from '@gantry/core/contracts/plugin.js';
import { isKind, messageOf } from '@gantry/core/contracts/errors.js';
import { FakePlugin, faults, type PluginAnswer } from '../../test/fakes/plugin.js';
import { silentLog } from '../../test/fakes/settings.js';
import { Plugin } from './plugin.js';
import { PluginHost } from './plugin-host.js';

let root: string;
let host: PluginHost;
let states: string[];
const started: FakePlugin[] = [];

const start = async (name: string, kinds: readonly string[], answers: Record<string, PluginAnswer> = {}): Promise<FakePlugin> => {
  const plugin = await FakePlugin.start(join(root, `${name}.sock`), kinds, answers);
  started.push(plugin);
  return plugin;
};
const get = (name: string): Plugin => host.get(name) as Plugin;

beforeEach(() => {
  root = mkdtempSync('/tmp/gantry-plugins-');
  mkdirSync(join(root, 'spec'));
  states = [];
  host = new PluginHost({
    folders: { sockets: [root], specifications: [join(root, 'spec')] },
    origins: [],
    log: silentLog,
    logCopy: () => Promise.reject(new Error('no log is kept here')),
    changed: ({ name, state }) => states.push(`${name} ${state}`),
  });
});
afterEach(async () => {
  for (const plugin of started.splice(0)) await plugin.down();
  rmSync(root, { recursive: true, force: true });
});

describe('a plugin is greeted', () => {
  it('when it is first needed and not again', async () => {
    const plugin = await start('p', ['VolumeDriver']);
    expect(get('p').status()).toMatchObject({ state: 'found', kinds: [] });
    await Promise.all([get('p').need('VolumeDriver'), get('p').need('VolumeDriver')]);
    await get('p').need('VolumeDriver');
    expect(plugin.calls).toEqual([{ method: 'Plugin.Activate', body: '' }]);
    expect(get('p').status()).toMatchObject({ state: 'active', kinds: ['VolumeDriver'] });
    expect(states).toEqual(['p activating', 'p active']);
  });

  it('again when it was started anew, and may be of another kind then', async () => {
    const plugin = await start('p', ['VolumeDriver']);
    await get('p').need('VolumeDriver');
    await plugin.down({ removeSocket: true });
    plugin.answers['Plugin.Activate'] = () => ({ Implements: ['authz'] });
    await plugin.up();
    await expect(get('p').need('VolumeDriver')).rejects.toThrow('plugin does not provide "VolumeDriver" capability (it provides authz)');
  });

  it('and one that cannot be reached is tried again at the next call, not never', async () => {
    const plugin = await start('p', ['VolumeDriver']);
    await plugin.down();
    await expect(get('p').need('VolumeDriver')).rejects.toSatisfy((error) => isKind(error, 'unavailable'));
    expect(get('p').status()).toMatchObject({ state: 'unavailable', lastError: { method: 'Plugin.Activate' } });
    await plugin.up();
    await get('p').need('VolumeDriver');
    expect(states).toEqual(['p activating', 'p unavailable', 'p activating', 'p active']);
  });

  it('with MetricsCollector among its kinds without harm', async () => {
    await start('p', ['MetricsCollector', 'VolumeDriver']);
    await get('p').need('VolumeDriver');
    expect(host.names('volume')).toEqual(['p']);
  });
});

describe('a call', () => {
  it('is delivered once, whatever becomes of it', async () => {
    const plugin = await start('p', ['VolumeDriver'], { 'VolumeDriver.Create': faults.dies });
    await get('p').need('VolumeDriver');
    await expect(get('p').call('VolumeDriver.Create', { Name: 'v', Opts: null })).rejects.toThrow(
      /^plugin p: VolumeDriver.Create: the connection ended before the answer/,
    );
    expect(plugin.called('VolumeDriver.Create')).toBe(1);
  });

  it('waits for a plugin that is just being started, and sends its body then', async () => {
    const plugin = await start('p', ['VolumeDriver'], { 'VolumeDriver.Remove': () => ({}) });
    await get('p').need('VolumeDriver');
    await plugin.down({ removeSocket: true });
    const call = get('p').call('VolumeDriver.Remove', { Name: 'v' });
    setTimeout(() => void plugin.up(), 200);
    await call;
    expect(plugin.calls.filter(({ method }) => method === 'VolumeDriver.Remove')).toEqual([
      { method: 'VolumeDriver.Remove', body: '{"Name":"v"}\n' },
    ]);
  });

  it('ends when its caller goes away', async () => {
    await start('p', ['VolumeDriver'], { 'VolumeDriver.Get': faults.hangs });
    await get('p').need('VolumeDriver');
    const cancel = new AbortController();
    const call = get('p').call('VolumeDriver.Get', { Name: 'v' }, { signal: cancel.signal });
    setTimeout(() => cancel.abort(), 20);
    await expect(call).rejects.toMatchObject({ kind: 'cancelled' });
    expect(get('p').status().state).toBe('active');
  });

  it('reads what Go would read: any case of names, null for nothing, more than is known', async () => {
    await start('p', ['VolumeDriver'], {
      'VolumeDriver.Get': () => ({ err: null, volume: { name: 'v', MOUNTPOINT: '/m', Status: null, More: [1] } }),
    });
    await get('p').need('VolumeDriver');
    expect(await get('p').call('VolumeDriver.Get', { Name: 'v' })).toMatchObject({ Volume: { Name: 'v', Mountpoint: '/m' } });
  });

  it('shows what the plugin refuses in its own words, with its kind if it has one', async () => {
    await start('p', ['VolumeDriver', 'NetworkDriver', 'IpamDriver'], {
      'VolumeDriver.Remove': () => ({ Err: 'in use', ErrKind: 'conflict' }),
      'NetworkDriver.Leave': () => ({ Err: 'never joined' }),
      'IpamDriver.ReleasePool': () => ({ Error: 'no pool' }),
      'VolumeDriver.Path': faults['says 500'],
    });
    const plugin = get('p');
    await expect(plugin.call('VolumeDriver.Remove', { Name: 'v' })).rejects.toMatchObject({ kind: 'conflict', message: 'in use' });
    await expect(plugin.call('NetworkDriver.Leave', { NetworkID: 'n', EndpointID: 'e' })).rejects.toThrow(/^remote: never joined$/);
    await expect(plugin.call('IpamDriver.ReleasePool', { PoolID: 'x' })).rejects.toThrow(/^remote: no pool$/);
    await expect(plugin.call('VolumeDriver.Path', { Name: 'v' })).rejects.toThrow(/^VolumeDriver.Path: broken inside$/);
  });

  describe.each(Object.entries(faults))('to a plugin that %s', (fault, answer) => {
    it('fails with plugin, method and cause, in time, and the next one works', async () => {
      const plugin = await start('p', ['VolumeDriver'], { 'VolumeDriver.Get': answer });
      await get('p').need('VolumeDriver');
      const error: unknown = await get('p')
        .call('VolumeDriver.Get', { Name: 'v' }, { deadline: 300 })
        .then(
          (value) => value,
          (thrown: unknown) => thrown,
        );
      // An answer that says nothing at all of the volume is a legal one.
      if (fault === 'answers wrong types' || !(error instanceof Error)) expect(error).toBeInstanceOf(Error);
      expect(messageOf(error)).toMatch(
        fault === 'says 500' || fault === 'says 201' || fault === 'redirects' ? /^VolumeDriver.Get: / : /^plugin p: VolumeDriver.Get: /,
      );
      expect(
        get('p')
          .status()
          .calls.find(({ method }) => method === 'VolumeDriver.Get'),
      ).toMatchObject({ count: 1, failures: 1, inFlight: 0 });
      await plugin.down({ removeSocket: true });
      plugin.answers['VolumeDriver.Get'] = () => ({ Volume: { Name: 'v' } });
      await plugin.up();
      expect(await get('p').call('VolumeDriver.Get', { Name: 'v' })).toMatchObject({ Volume: { Name: 'v' } });
      expect(get('p').status().state).toBe('active');
    });
  });

  it('to one that has just hung fails at once, until a while has passed', async () => {
    const plugin = await start('p', ['VolumeDriver'], { 'VolumeDriver.Get': faults.hangs });
    await get('p').need('VolumeDriver');
    await expect(get('p').call('VolumeDriver.Get', { Name: 'v' }, { deadline: 50 })).rejects.toThrow(/no answer within/);
    await expect(get('p').call('VolumeDriver.Get', { Name: 'v' })).rejects.toThrow(/is tried again in 1 s/);
    expect(plugin.called('VolumeDriver.Get')).toBe(1);
    plugin.answers['VolumeDriver.Get'] = () => ({ Volume: { Name: 'v' } });
    await new Promise((done) => setTimeout(done, 520));
    await get('p').call('VolumeDriver.Get', { Name: 'v' });
    expect(get('p').status().state).toBe('active');
  });
});

describe('lists over all plugins', () => {
  it('name everybody who may be of the kind, without asking anybody', async () => {
    const net = await start('net', ['NetworkDriver']);
    await start('new', ['VolumeDriver']);
    await get('net').need('NetworkDriver');
    expect(host.candidates('volume')).toEqual(['new']);
    expect(host.candidates('network')).toEqual(['net', 'new']);
    expect(host.names('network')).toEqual(['net']);
    expect(net.called('Plugin.Activate')).toBe(1);
  });
});

describe('tracing', () => {
  it('shows calls with their times to who listens, from then until it stops', async () => {
    await start('p', ['VolumeDriver'], { 'VolumeDriver.List': () => ({ Volumes: [] }) });
    await get('p').call('VolumeDriver.List', {});
    const seen: PluginCallRecord[] = [];
    const stop = host.trace('p', (record) => seen.push(record));
    await get('p').call('VolumeDriver.List', {});
    stop();
    await get('p').call('VolumeDriver.List', {});
    expect(seen).toEqual([
      {
        plugin: 'p',
        method: 'VolumeDriver.List',
        at: expect.any(String),
        ms: expect.any(Number),
        request: {},
        response: { Volumes: [] },
        status: 200,
      },
    ]);
  });
});
