import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { host } from '@gantry/native/index.js';
import { MemoryCluster } from '../fakes/cluster.js';
import { hostAt } from '../fakes/host-at.js';
import { NetworkEngine } from './engine.js';
import { inOwnNamespace } from './namespace.js';
import { ask, BRIEFLY, eventually, inside, reach, serve } from './probe.js';

/** Network services on hosts of their own that share a cluster; the store is in memory, and the kernel is real. */
inOwnNamespace(import.meta.url, () => {
  const folder = mkdtempSync(join(tmpdir(), 'gantry-network-'));
  const wire = join(folder, 'wire');
  const cluster = new MemoryCluster();
  const engines: NetworkEngine[] = [];
  const stops: (() => void)[] = [];

  const plug = async (name: string, address: string): Promise<NetworkEngine> => {
    const path = join(folder, name);
    await host.net.createNamespace(path);
    await host.net.configure(wire, [{ op: 'add-veth', name, master: 'switch', up: true, peer: { name: 'eth0', namespace: path } }]);
    await host.net.configure(path, [
      { op: 'set-link', name: 'eth0', up: true },
      { op: 'add-address', link: 'eth0', address: `${address}/24` },
    ]);
    const settings = { instance: `${name}0001`, bridge: 'none' };
    const engine = new NetworkEngine(settings, { host: hostAt(path), cluster: cluster.member(name, address) });
    await engine.start();
    engines.push(engine);
    return engine;
  };

  let one: NetworkEngine;
  let two: NetworkEngine;

  beforeAll(async () => {
    await host.net.createNamespace(wire);
    await host.net.configure(wire, [
      { op: 'add-bridge', name: 'switch' },
      { op: 'set-link', name: 'switch', up: true },
    ]);
    one = await plug('one', '10.97.0.1');
    two = await plug('two', '10.97.0.2');
  });

  afterAll(async () => {
    for (const stop of stops) stop();
    for (const engine of engines) await engine.destroy();
    for (const name of ['one', 'two', 'wire']) await host.net.removeNamespace(join(folder, name));
    rmSync(folder, { recursive: true, force: true });
  });

  describe('a network of several hosts', () => {
    it('is on all of them, with one identity', async () => {
      const id = await one.network('red', { driver: 'overlay', internal: true });
      await eventually(async () => two.service.find('red') !== undefined, 'the other one knows it');
      expect(two.service.find('red')).toEqual(one.service.find('red'));
      expect(two.service.find('red')).toMatchObject({ id, scope: 'global', ipv4: [{ pool: '10.0.0.0/24' }] });
      await expect(two.network('red', { driver: 'overlay' })).rejects.toMatchObject({ kind: 'conflict' });
      await expect(two.network('near', { driver: 'overlay', scope: 'local' })).rejects.toMatchObject({ kind: 'invalid-parameter' });
    });

    it('connects its containers by address and name, over restarts, and takes names back', async () => {
      const first = await one.run('red', { containerName: 'first', aliases: ['a'] });
      const second = await two.run('red', { containerName: 'second' });
      expect(second.address).not.toBe(first.address);
      stops.push(await serve(first.path, '0.0.0.0', 80, 'first'), await serve(second.path, '0.0.0.0', 80, 'second'));
      expect(await reach(second.path, first.address, 80)).toBe(`first ${second.address}`);
      expect(await reach(first.path, second.address, 80)).toBe(`second ${first.address}`);
      await eventually(async () => (await ask(second.path, 'a')) === first.address, 'an alias is known there');
      expect(await ask(second.path, 'first')).toBe(first.address);
      expect(await ask(first.path, 'second')).toBe(second.address);
      await two.restart();
      expect(await reach(second.path, first.address, 80)).toBe(`first ${second.address}`);
      await eventually(async () => (await ask(second.path, 'first')) === first.address, 'names are served again');
      await expect(one.service.remove('red')).rejects.toMatchObject({ kind: 'forbidden' });
      await one.stop(first.id);
      await eventually(async () => (await ask(second.path, 'first')) === 'ENOTFOUND', 'the name is gone');
      expect(await reach(second.path, first.address, 80, BRIEFLY)).toBe('nothing');
      await expect(one.service.remove('red')).rejects.toMatchObject({ message: /active endpoints on other hosts/ });
      await two.stop(second.id);
    });

    it('sends nothing to hosts that it does not concern', async () => {
      const first = await one.run('red');
      const before = (await host.net.counters(join(folder, 'two')))['eth0']?.rxPackets ?? 0;
      for (let i = 2; i < 30; i++)
        await inside(first.path, 'timeout', '0.1', 'bash', '-c', `exec 3<>/dev/tcp/10.0.0.${200 + i}/80`).catch(() => undefined);
      const after = (await host.net.counters(join(folder, 'two')))['eth0']?.rxPackets ?? 0;
      // Some of the switch's own.
      expect(after - before).toBeLessThan(10);
      await one.stop(first.id);
    });

    it('is gone from all of them when one removes it, and from the kernel before that', async () => {
      for (const name of ['one', 'two'])
        expect((await host.net.links(join(folder, name))).map((link) => link.name)).toEqual(['lo', 'eth0']);
      await two.service.remove('red');
      await eventually(async () => one.service.find('red') === undefined, 'the other one has forgotten it');
      const store = cluster.member('nobody', '192.0.2.9');
      expect([...(await store.list('')).keys()]).toEqual(['ipam/epoch']);
    });
  });
});
