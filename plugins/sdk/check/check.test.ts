import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FakePlugin } from '../../../test/fakes/plugin.js';
import { Recorder } from '../../../test/fakes/recorder.js';
import { RoutedNetwork } from '../../examples/routed-network/plugin.js';
import { SnapshotVolumes } from '../../examples/snapshot-volumes/plugin.js';
import { type RunningPlugin, serve } from '../server/serve.js';
import type { PluginParts } from '../server/serve.js';
import { checkPlugin, junit, plain, tap } from './index.js';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync('/tmp/gantry-check-');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** A plugin of the kit that is begun again from its files, as after a kill. */
async function checkParts(parts: () => PluginParts): ReturnType<typeof checkPlugin> {
  const socket = join(folder, 'plugin.sock');
  let running: RunningPlugin = await serve({ ...parts(), socket });
  try {
    return await checkPlugin({
      socket,
      folder: join(folder, 'scratch'),
      restart: async () => {
        await running.close();
        running = await serve({ ...parts(), socket });
      },
    });
  } finally {
    await running.close();
  }
}

describe('the conformance suite', () => {
  it('finds that the example of a volume plugin keeps every promise', async () => {
    const results = await checkParts(() => ({ volume: new SnapshotVolumes(join(folder, 'volumes')) }));
    expect(plain(results)).toMatch(/\b1\d kept, 0 broken, 0 skipped/);
  });

  it('finds that the example of a network plugin keeps every promise', async () => {
    const results = await checkParts(() => ({ network: new RoutedNetwork(join(folder, 'networks.json')) }));
    expect(plain(results)).toMatch(/\b1\d kept, 0 broken, 0 skipped/);
  });

  it('checks a plugin in another language, of all kinds, killed in between', async () => {
    const kinds = ['VolumeDriver', 'NetworkDriver', 'IpamDriver', 'LogDriver', 'GraphDriver', 'authz', 'MetricsCollector'];
    const recorder = await Recorder.start({ name: 'all', sockets: folder, folder, kinds });
    try {
      const results = await checkPlugin({
        socket: recorder.socket,
        folder: join(folder, 'scratch'),
        restart: async () => {
          await recorder.kill();
          await recorder.up();
        },
      });
      const broken = results.filter(({ outcome }) => outcome === 'broken').map(({ kind, name }) => `${kind} ${name}`);
      expect(broken, plain(results)).toEqual([]);
      expect(results.filter(({ outcome }) => outcome === 'kept').length).toBeGreaterThan(45);
    } finally {
      await recorder.kill();
    }
  });

  it('says which promise was broken, with the request and the answer, in all its forms', async () => {
    const plugin = await FakePlugin.start(join(folder, 'bad.sock'), ['VolumeDriver'], {
      'VolumeDriver.Create': () => ({}),
      'VolumeDriver.Get': () => ({ Volume: { Name: 'another' } }),
      'VolumeDriver.List': () => ({ Volumes: null }),
    });
    const results = await checkPlugin({ socket: plugin.socket, folder });
    await plugin.down();
    const first = results.find(({ name }) => name === 'shows a new volume to Get and List');
    expect(first).toMatchObject({
      outcome: 'broken',
      message: 'Get speaks of the volume that was asked for',
      exchange: { method: 'VolumeDriver.Get', status: 200 },
    });
    expect(plain(results)).toContain('request: POST /VolumeDriver.Get {"Name":"check-');
    expect(plain(results)).toContain('answer: 200 {"Volume":{"Name":"another"}}');
    expect(tap(results)).toMatch(/^TAP version 13\n1\.\.\d+\nok 1 - Plugin: says what it implements\nnot ok 2 - VolumeDriver: /);
    expect(junit(results)).toMatch(/<testsuite name="plugin" tests="12" failures="10" skipped="1">/);
    expect(junit(results)).toContain('<failure message="Get speaks of the volume that was asked for">');
  });

  it('leaves out, with the reason, what needs a plugin that it may kill', async () => {
    const socket = join(folder, 'plugin.sock');
    const running = await serve({ socket, volume: new SnapshotVolumes(join(folder, 'volumes')) });
    const results = await checkPlugin({ socket, folder });
    await running.close();
    expect(tap(results)).toContain(
      'ok 11 - VolumeDriver: finds its volumes again after it was killed # SKIP the plugin was not started by this suite',
    );
    expect(junit(results)).toContain('failures="0" skipped="2"');
  });

  it('stops at a plugin that does not say what it is', async () => {
    const plugin = await FakePlugin.start(join(folder, 'mute.sock'), [], { 'Plugin.Activate': () => ({ Implements: 'VolumeDriver' }) });
    const results = await checkPlugin({ socket: plugin.socket, folder });
    await plugin.down();
    expect(results).toHaveLength(1);
    expect(results[0]).toMatchObject({ outcome: 'broken' });
  });
});
