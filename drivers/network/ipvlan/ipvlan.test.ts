import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { host } from '@gantry/native/index.js';
import { networkConformance } from '@gantry/test/conformance/network.js';
import { silentLog } from '@gantry/test/fakes/settings.js';
import { NetworkEngine } from '@gantry/test/network/engine.js';
import { inOwnNamespace } from '@gantry/test/network/namespace.js';
import { BRIEFLY, inside, kernelState, reach, serve } from '@gantry/test/network/probe.js';
import { ipvlanKind } from './kind.js';
import { ipvlanNetwork } from './manifest.js';

const env = { root: '/nonexistent', runRoot: '/nonexistent', instance: 'x', options: {}, host, log: silentLog };
const probe = await ipvlanNetwork.probe(env);
const reason = probe.ok ? undefined : probe.reason;

describe('options of an ipvlan network', () => {
  it('have Docker’s words and defaults', () => {
    expect(ipvlanKind.parse({ parent: 'eth0' })).toEqual({ parent: 'eth0', mtu: 0, mode: 'l2', flag: 'bridge' });
    expect(ipvlanKind.parse({ ipvlan_mode: 'l3s', ipvlan_flag: 'vepa' })).toMatchObject({ mode: 'l3s', flag: 'vepa' });
    expect(() => ipvlanKind.parse({ ipvlan_mode: 'l4' })).toThrow('invalid ipvlan_mode: "l4" (it is one of l2, l3, l3s)');
    expect(() => ipvlanKind.parse({ macvlan_mode: 'bridge' })).toThrow('unknown option of the ipvlan driver: macvlan_mode');
  });

  it('leave no MAC address to choose', () => {
    const config = ipvlanKind.parse({});
    expect(() => ipvlanKind.macFor(config, { mac: '02:00:00:00:00:01' }, 0, { name: 'eth0', mac: '' })).toThrow(
      'do not support custom mac',
    );
  });
});

it.skipIf(!reason)('says that the kernel has none', () => {
  expect(reason).toBe('this kernel has no ipvlan links');
});

if (reason) console.log(`skipped the tests of ipvlan links: ${reason}`);
else
  inOwnNamespace(import.meta.url, () => {
    networkConformance(ipvlanNetwork);

    describe('an ipvlan network', () => {
      const engine = new NetworkEngine({ bridge: 'none' });
      const stops: (() => void)[] = [];
      const folder = mkdtempSync(join(tmpdir(), 'gantry-network-'));
      const outside = join(folder, 'outside');
      let pristine = '';

      beforeAll(async () => {
        await host.net.createNamespace(outside);
        await host.net.configure('', [{ op: 'add-veth', name: 'wire0', up: true, peer: { name: 'wire1', namespace: outside } }]);
        await host.net.configure(outside, [
          { op: 'set-link', name: 'wire1', up: true },
          { op: 'add-address', link: 'wire1', address: '10.215.1.1/24' },
          { op: 'add-route', destination: '10.215.2.0/24', link: 'wire1' },
        ]);
        stops.push(await serve(outside, '0.0.0.0', 80, 'outside'));
        pristine = await kernelState();
        await engine.start();
      });

      afterAll(async () => {
        for (const stop of stops) stop();
        await engine.destroy();
        expect(await kernelState()).toBe(pristine);
        await host.net.configure('', [{ op: 'delete-link', name: 'wire0' }]);
        await host.net.removeNamespace(outside);
        rmSync(folder, { recursive: true });
      });

      const make = (third: number, options: Record<string, string>): Promise<string> =>
        engine.network('ip', {
          driver: 'ipvlan',
          options: { parent: 'wire0', ...options },
          ipam: { subnet: `10.215.${third}.0/24`, ipRange: `10.215.${third}.128/25`, gateway: `10.215.${third}.1` },
        });

      it('of mode l2 has containers on the wire with the parent’s MAC address', async () => {
        await make(1, {});
        await expect(
          engine.network('two', { driver: 'ipvlan', options: { parent: 'wire0' }, ipam: { subnet: '10.215.9.0/24' } }),
        ).rejects.toMatchObject({ kind: 'conflict', message: /is already using parent interface wire0/ });
        const [one, two] = [await engine.run('ip'), await engine.run('ip')];
        stops.push(await serve(one.path, '0.0.0.0', 80, 'one'));
        expect(await reach(two.path, one.address, 80)).toBe(`one ${two.address}`);
        expect(await reach(outside, one.address, 80)).toBe('one 10.215.1.1');
        const macs = await Promise.all(
          [one, two].map(async ({ path }) => (await host.net.links(path)).find(({ name }) => name === 'eth0')?.mac),
        );
        expect(macs[0]).toBe(macs[1]);
        await engine.restart();
        expect(await reach(two.path, one.address, 80)).toMatch(/^one /);
        for (const { id } of [one, two]) await engine.stop(id);
        await engine.service.remove('ip');
      });

      it.each(['private', 'vepa'])('of flag %s does not switch between containers', async (flag) => {
        await make(1, { ipvlan_flag: flag });
        const [one, two] = [await engine.run('ip'), await engine.run('ip')];
        stops.push(await serve(one.path, '0.0.0.0', 80, 'one'));
        expect(await reach(two.path, one.address, 80, BRIEFLY)).toBe('nothing');
        for (const { id } of [one, two]) await engine.stop(id);
        await engine.service.remove('ip');
      });

      it.each(['l3', 'l3s'])('of mode %s routes by the host, without neighbours', async (mode) => {
        await make(2, { ipvlan_mode: mode });
        const [one, two] = [await engine.run('ip'), await engine.run('ip')];
        stops.push(await serve(one.path, '0.0.0.0', 80, 'one'));
        expect(await inside(one.path, 'ip', 'route')).toMatch(/^default dev eth0/m);
        expect(await reach(two.path, one.address, 80)).toBe(`one ${two.address}`);
        for (const { id } of [one, two]) await engine.stop(id);
        await engine.service.remove('ip');
      });
    });
  });
