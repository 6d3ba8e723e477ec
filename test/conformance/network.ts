import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Capability, DriverEnv, DriverManifest } from '@gantry/core/contracts/manifest.js';
import { newId } from '@gantry/core/contracts/ids.js';
import type { CreateNetwork, GlobalAllocation, NetworkDriver } from '@gantry/core/contracts/network.js';
import { host } from '@gantry/native/index.js';
import { MemoryCluster } from '../fakes/cluster.js';
import { silentLog } from '../fakes/settings.js';
import { eventually, kernelState, reach, serve } from '../network/probe.js';

let subnets = 0;

/** A config that no other network of the suite overlaps. */
const config = (own: Partial<CreateNetwork> = {}): CreateNetwork => {
  subnets++;
  const ipv4 = [{ pool: `10.213.${subnets}.0/24`, gateway: `10.213.${subnets}.1/24`, auxAddresses: {} }];
  return { options: {}, internal: false, ipv4, ipv6: [], ...own };
};

/**
 * What every network driver promises, on a real kernel: run it in a network namespace of its own. What a driver may leave
 * out is asked for by its declared capabilities.
 */
export function networkConformance(manifest: DriverManifest<'network'>): void {
  const has = (capability: Capability): boolean => manifest.capabilities.includes(capability);

  describe(`network driver ${manifest.name} keeps the contract`, () => {
    let root: string;
    let env: DriverEnv;
    let driver: NetworkDriver;
    let before: string;

    beforeEach(async () => {
      root = mkdtempSync(join(tmpdir(), 'gantry-network-'));
      const cluster = new MemoryCluster().member('netconf1', '192.0.2.1');
      env = { root, runRoot: root, instance: 'netconf1', options: {}, host, cluster, log: silentLog };
      before = await kernelState();
      driver = await manifest.open(env);
      await driver.settle();
    });

    afterEach(async () => {
      await driver.close();
      await host.net.nft('', [{ op: 'delete-table', table: 'gantry-netconf1' }]);
      rmSync(root, { recursive: true, force: true });
    });

    const sandbox = async (): Promise<string> => {
      const path = join(root, newId().slice(0, 12));
      await host.net.createNamespace(path);
      return path;
    };

    /** The engine's part of a join. */
    const enter = async (path: string, network: string, endpoint: string, address: string): Promise<void> => {
      const info = await driver.join(network, endpoint, path);
      if (!info.link) return;
      const name = `${info.link.dstPrefix}0`;
      if (!info.link.inSandbox) await host.net.configure('', [{ op: 'set-link', name: info.link.srcName, namespace: path }]);
      await host.net.configure(path, [
        { op: 'set-link', name: info.link.srcName, rename: name },
        { op: 'set-link', name, up: true },
        { op: 'add-address', link: name, address },
        ...(info.gateway === undefined ? [] : [{ op: 'add-route', destination: '0.0.0.0/0', gateway: info.gateway } as const]),
      ]);
    };

    /** What a driver of networks on several hosts is told has what it allocated before. */
    const allocated = async (id: string): Promise<CreateNetwork> => {
      const wanted = config();
      if (!has('global-allocation')) return wanted;
      return { ...wanted, options: await (driver as NetworkDriver & GlobalAllocation).allocateNetwork(id, wanted) };
    };

    it.runIf(has('global-allocation'))('gives each network what only one may have, until it is freed', async () => {
      const global = driver as NetworkDriver & GlobalAllocation;
      const ids = [newId(), newId()] as const;
      const given = await Promise.all(ids.map((id) => allocated(id)));
      expect(given[0]?.options).not.toEqual(given[1]?.options);
      const wish = { ...config(), options: given[0]?.options ?? {} };
      await expect(global.allocateNetwork(newId(), wish)).rejects.toMatchObject({ kind: 'conflict' });
      await global.freeNetwork(ids[0]);
      await global.freeNetwork(ids[0]);
      expect(await global.allocateNetwork(ids[0], wish)).toEqual(wish.options);
      // The second is known to nobody.
      await global.auditNetworks(new Set([ids[0]]));
      expect(await global.allocateNetwork(newId(), { ...wish, options: given[1]?.options ?? {} })).toEqual(given[1]?.options);
    });

    it('makes a network once, however often it is told, and takes all of it away', async () => {
      const id = newId();
      const wanted = await allocated(id);
      await driver.createNetwork(id, wanted);
      const made = await kernelState();
      await driver.createNetwork(id, wanted);
      expect(await kernelState()).toBe(made);
      await driver.deleteNetwork(id);
      await host.net.nft('', [{ op: 'delete-table', table: 'gantry-netconf1' }]);
      expect(await kernelState()).toBe(before);
    });

    it('forgives the removal of what is not there', async () => {
      await driver.deleteNetwork(newId());
      await driver.deleteEndpoint(newId(), newId());
      await driver.leave(newId(), newId());
      await driver.unpublish(newId(), newId());
    });

    it('says that only one network may be, where that is so', async () => {
      const [first, second] = [newId(), newId()];
      await driver.createNetwork(first, await allocated(first));
      const another = driver.createNetwork(second, await allocated(second));
      if (has('single')) await expect(another).rejects.toMatchObject({ kind: 'forbidden' });
      else await another;
      await driver.deleteNetwork(first);
      await driver.deleteNetwork(second);
    });

    // The endpoints of a driver of several hosts need those hosts; its own tests have them.
    it.skipIf(has('global-allocation'))('has endpoints of both families, or refuses the network with nothing left behind', async () => {
      const id = newId();
      const wanted = await allocated(id);
      const subnet = `fd00:213:${wanted.ipv4[0]?.pool.split('.')[2]}`;
      const dual = { ...wanted, ipv6: [{ pool: `${subnet}::/64`, gateway: `${subnet}::1/64`, auxAddresses: {} }] };
      const refusal = await driver.createNetwork(id, dual).then(
        () => undefined,
        (error: unknown) => error,
      );
      if (refusal !== undefined) {
        expect(refusal).toMatchObject({ kind: expect.stringMatching(/not-implemented|invalid-parameter/) as unknown });
        await driver.deleteNetwork(id);
        expect(await kernelState()).toBe(before);
        return;
      }
      const endpoint = newId();
      const path = await sandbox();
      const address = wanted.ipv4[0]?.gateway?.replace(/1\/24$/, '2/24') ?? '';
      await driver.createEndpoint(id, endpoint, { address, addressV6: `${subnet}::2/64` }, {});
      const info = await driver.join(id, endpoint, path);
      if (info.gatewayV6 !== undefined) expect(info.gatewayV6).toBe(`${subnet}::1`);
      await driver.leave(id, endpoint);
      await driver.deleteEndpoint(id, endpoint);
      await driver.deleteNetwork(id);
      await host.net.removeNamespace(path);
    });

    it.runIf(has('publish'))('refuses an option that it does not know', async () => {
      await expect(driver.createNetwork(newId(), config({ options: { mystery: '1' } }))).rejects.toMatchObject({
        kind: 'invalid-parameter',
      });
      expect(await kernelState()).toBe(before);
    });

    it.runIf(has('publish'))('connects endpoints, publishes their ports and lets go of them', async () => {
      const id = newId();
      const wanted = config();
      const gateway = wanted.ipv4[0]?.gateway ?? '';
      const [one, two] = [gateway.replace(/1\/24$/, '2/24'), gateway.replace(/1\/24$/, '3/24')];
      await driver.createNetwork(id, wanted);
      const endpoints = [newId(), newId()] as const;
      const paths = [await sandbox(), await sandbox()] as const;
      for (const [index, address] of [one, two].entries()) {
        const endpoint = endpoints[index] as string;
        const made = await driver.createEndpoint(id, endpoint, { address }, {});
        expect(made.mac).toMatch(/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/);
        await enter(paths[index] as string, id, endpoint, address);
      }
      const stop = await serve(paths[0], '0.0.0.0', 80, 'one');
      expect(await reach(paths[1], one.replace('/24', ''), 80)).toMatch(/^one /);
      const wish = [{ protocol: 'tcp', containerPort: 80, hostPort: 18900 }] as const;
      expect(await driver.publish(id, endpoints[0], wish)).toContainEqual({ ...wish[0], hostIp: '0.0.0.0' });
      expect(await reach('', '127.0.0.1', 18900)).toMatch(/^one /);
      await expect(driver.publish(id, endpoints[1], wish)).rejects.toMatchObject({
        kind: 'conflict',
        message: 'Bind for 0.0.0.0:18900 failed: port is already allocated',
      });
      // In place of what was there, itself included.
      const both = await driver.publish(id, endpoints[0], [wish[0], { ...wish[0], hostPort: 18901 }]);
      expect(both.filter(({ hostIp }) => hostIp === '0.0.0.0')).toHaveLength(2);
      await driver.unpublish(id, endpoints[0]);
      await driver.unpublish(id, endpoints[0]);
      await driver.publish(id, endpoints[1], wish);
      stop();
      for (const endpoint of endpoints) {
        await driver.unpublish(id, endpoint);
        await driver.leave(id, endpoint);
        await driver.deleteEndpoint(id, endpoint);
        await driver.deleteEndpoint(id, endpoint);
      }
      for (const path of paths) await host.net.removeNamespace(path);
      await driver.deleteNetwork(id);
      await host.net.nft('', [{ op: 'delete-table', table: 'gantry-netconf1' }]);
      await eventually(async () => (await kernelState()) === before, 'the kernel is as before');
    });

    // Who keeps networks by itself is not told which of them are still claimed.
    it.runIf(has('publish') && !has('keeps-state'))('knows its own again after a restart, and takes away what nobody claims', async () => {
      const [id, orphan] = [newId(), newId()];
      const wanted = config();
      const address = (wanted.ipv4[0]?.gateway ?? '').replace(/1\/24$/, '2/24');
      await driver.createNetwork(id, wanted);
      await driver.createNetwork(orphan, config());
      const endpoint = newId();
      const { mac } = await driver.createEndpoint(id, endpoint, { address }, {});
      const path = await sandbox();
      await enter(path, id, endpoint, address);
      const stop = await serve(path, '0.0.0.0', 80, 'kept');
      const ports = await driver.publish(id, endpoint, [{ protocol: 'tcp', containerPort: 80 }]);
      await driver.close();

      driver = await manifest.open(env);
      await driver.createNetwork(id, wanted);
      expect(await driver.createEndpoint(id, endpoint, { address, ...(mac !== undefined && { mac }) }, {})).toMatchObject({ mac });
      expect(await driver.publish(id, endpoint, ports)).toEqual(ports);
      expect(await reach('', '127.0.0.1', ports[0]?.hostPort ?? 0)).toMatch(/^kept /);
      await driver.settle();
      expect(await reach('', '127.0.0.1', ports[0]?.hostPort ?? 0)).toMatch(/^kept /);
      expect((await host.net.links('')).some(({ alias }) => alias.endsWith(orphan))).toBe(false);
      stop();
      await driver.deleteEndpoint(id, endpoint);
      await host.net.removeNamespace(path);
      await driver.deleteNetwork(id);
      await host.net.nft('', [{ op: 'delete-table', table: 'gantry-netconf1' }]);
      await eventually(async () => (await kernelState()) === before, 'the kernel is as before');
    });
  });
}
