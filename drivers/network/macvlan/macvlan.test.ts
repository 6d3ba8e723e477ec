import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { host } from '@gantry/native/index.js';
import { NetworkEngine } from '@gantry/test/network/engine.js';
import { inOwnNamespace } from '@gantry/test/network/namespace.js';
import { BRIEFLY, inside, kernelState, reach, serve } from '@gantry/test/network/probe.js';

/** A link that nothing can make: the kernel says which part of it is missing, and first whether it has VLANs at all. */
async function whyNoVlans(): Promise<string | undefined> {
  const wish = host.net.configure('', [{ op: 'add-virtual', kind: 'vlan', name: 'probe', parent: '', id: 1 }]);
  return (await wish.catch(({ code }: NodeJS.ErrnoException) => code)) === 'EOPNOTSUPP' ? 'this kernel has no VLANs' : undefined;
}

const noVlans = await whyNoVlans();

inOwnNamespace(import.meta.url, () => {
  const engine = new NetworkEngine({ bridge: 'none' });
  const stops: (() => void)[] = [];
  /** What is at the other end of the parent's wire: a router with an address in each subnet. */
  const folder = mkdtempSync(join(tmpdir(), 'gantry-network-'));
  const outside = join(folder, 'outside');
  let pristine = '';

  beforeAll(async () => {
    await host.net.createNamespace(outside);
    await host.net.configure('', [
      { op: 'add-veth', name: 'wire0', up: true, peer: { name: 'wire1', namespace: outside } },
      { op: 'add-address', link: 'wire0', address: '10.214.1.9/24' },
    ]);
    await host.net.configure(outside, [
      { op: 'set-link', name: 'wire1', up: true },
      { op: 'add-address', link: 'wire1', address: '10.214.1.1/24' },
    ]);
    if (noVlans) console.log(`skipped the tests of VLANs: ${noVlans}`);
    else
      await host.net.configure(outside, [
        { op: 'add-virtual', kind: 'vlan', name: 'wire1.50', parent: 'wire1', id: 50, up: true },
        { op: 'add-address', link: 'wire1.50', address: '10.214.50.1/24' },
      ]);
    stops.push(await serve(outside, '0.0.0.0', 80, 'outside'));
    pristine = await kernelState();
    await engine.start();
  });

  afterAll(async () => {
    for (const stop of stops) stop();
    await engine.destroy();
    const left = await kernelState();
    await host.net.configure('', [{ op: 'delete-link', name: 'wire0' }]);
    await host.net.removeNamespace(outside);
    rmSync(folder, { recursive: true });
    expect(left).toBe(pristine);
  });

  const make = (name: string, third: number, options: Record<string, string>, internal = false): Promise<string> =>
    engine.network(name, {
      driver: 'macvlan',
      internal,
      options,
      ipam: { subnet: `10.214.${third}.0/24`, ipRange: `10.214.${third}.128/25`, gateway: `10.214.${third}.1` },
    });

  const linkNames = async (): Promise<string[]> => (await host.net.links('')).map(({ name }) => name);

  describe('in mode bridge, containers', () => {
    it('reach each other and the wire, and not the parent’s own host', async () => {
      await make('lan', 1, { parent: 'wire0' });
      const [one, two] = [await engine.run('lan'), await engine.run('lan')];
      stops.push(await serve(one.path, '0.0.0.0', 80, 'one'), await serve('', '10.214.1.9', 8080, 'host'));
      expect(one.address).toBe('10.214.1.128');
      expect(await reach(two.path, one.address, 80)).toBe(`one ${two.address}`);
      expect(await reach(outside, one.address, 80)).toBe('one 10.214.1.1');
      expect(await reach(two.path, '10.214.1.1', 80)).toBe(`outside ${two.address}`);
      expect(await reach(two.path, '10.214.1.9', 8080, BRIEFLY)).toBe('nothing');
      expect(await inside(two.path, 'cat', '/proc/sys/net/ipv6/conf/eth0/disable_ipv6')).toBe('1\n');
      await engine.service.leave('lan', two.id);
      expect((await host.net.links(two.path)).map(({ name }) => name)).toEqual(['lo']);
      await engine.join('lan', two.id);
      expect(await reach(two.path, one.address, 80)).toMatch(/^one /);
      for (const { id } of [one, two]) await engine.stop(id);
    });

    it('go on over a restart of the daemon', async () => {
      const one = await engine.run('lan');
      const stop = await serve(one.path, '0.0.0.0', 80, 'kept');
      await engine.restart();
      expect(await reach(outside, one.address, 80)).toBe('kept 10.214.1.1');
      await expect(engine.service.remove('lan')).rejects.toMatchObject({ kind: 'forbidden' });
      stop();
      await engine.stop(one.id);
    });
  });

  it('keeps containers apart in mode private', async () => {
    await engine.service.remove('lan');
    await make('apart', 1, { parent: 'wire0', macvlan_mode: 'private' });
    const [one, two] = [await engine.run('apart'), await engine.run('apart')];
    stops.push(await serve(one.path, '0.0.0.0', 80, 'one'));
    expect(await reach(two.path, one.address, 80, BRIEFLY)).toBe('nothing');
    expect(await reach(outside, one.address, 80)).toMatch(/^one /);
    for (const { id } of [one, two]) await engine.stop(id);
    await engine.service.remove('apart');
  });

  it('leaves switching to the wire in mode vepa', async () => {
    await make('vepa', 1, { parent: 'wire0', macvlan_mode: 'vepa' });
    const [one, two] = [await engine.run('vepa'), await engine.run('vepa')];
    stops.push(await serve(one.path, '0.0.0.0', 80, 'one'));
    expect(await reach(two.path, one.address, 80, BRIEFLY)).toBe('nothing');
    expect(await reach(two.path, '10.214.1.1', 80)).toMatch(/^outside /);
    for (const { id } of [one, two]) await engine.stop(id);
    await engine.service.remove('vepa');
  });

  it('gives the parent itself to one container in mode passthru', async () => {
    await host.net.configure('', [{ op: 'delete-address', link: 'wire0', address: '10.214.1.9/24' }]);
    await make('through', 1, { parent: 'wire0', macvlan_mode: 'passthru' });
    const one = await engine.run('through');
    expect(await reach(one.path, '10.214.1.1', 80)).toMatch(/^outside /);
    const second = await engine.open();
    await expect(engine.join('through', second)).rejects.toMatchObject({ kind: 'conflict', message: /has its one endpoint/ });
    await expect(make('second', 2, { parent: 'wire0' })).rejects.toMatchObject({
      kind: 'conflict',
      message: /is already using parent interface wire0 in mode passthru/,
    });
    for (const id of [one.id, second]) await engine.stop(id);
    await engine.service.remove('through');
    await host.net.configure('', [{ op: 'add-address', link: 'wire0', address: '10.214.1.9/24' }]);
  });

  it.skipIf(noVlans)('makes a VLAN of the parent, shares it, and takes it away with the last network', async () => {
    await make('vlan', 50, { parent: 'wire0.50' });
    expect(await inside('', 'ip', '-d', 'link', 'show', 'wire0.50')).toMatch(/vlan protocol 802.1Q id 50/);
    expect(await inside('', 'cat', '/proc/sys/net/ipv6/conf/wire0.50/disable_ipv6')).toBe('1\n');
    await make('same', 51, { parent: 'wire0.50' });
    const one = await engine.run('vlan');
    expect(await reach(one.path, '10.214.50.1', 80)).toBe(`outside ${one.address}`);
    await engine.stop(one.id);
    await engine.restart();
    await engine.service.remove('vlan');
    expect(await linkNames()).toContain('wire0.50');
    await engine.service.remove('same');
    expect(await linkNames()).not.toContain('wire0.50');
  });

  it.skipIf(noVlans)('leaves a VLAN alone that was there before', async () => {
    await host.net.configure('', [{ op: 'add-virtual', kind: 'vlan', name: 'wire0.60', parent: 'wire0', id: 60 }]);
    await make('found', 60, { parent: 'wire0.60' });
    await engine.service.remove('found');
    expect(await linkNames()).toContain('wire0.60');
    await host.net.configure('', [{ op: 'delete-link', name: 'wire0.60' }]);
  });

  it('connects containers alone when there is no parent', async () => {
    await make('closed', 70, {});
    const [one, two] = [await engine.run('closed'), await engine.run('closed')];
    stops.push(await serve(one.path, '0.0.0.0', 80, 'one'));
    expect(await reach(two.path, one.address, 80)).toMatch(/^one /);
    expect(await inside(two.path, 'ip', 'route')).not.toContain('default');
    for (const { id } of [one, two]) await engine.stop(id);
    await engine.service.remove('closed');
  });

  it('refuses what cannot be', async () => {
    const refused: [Record<string, string>, RegExp][] = [
      [{ parent: 'lo' }, /loopback/],
      [{ parent: 'ghost7' }, /parent interface ghost7 was not found/],
      [{ parent: 'wire0.4095' }, /invalid VLAN/],
      [{ parent: 'ghost7.5' }, /was not found/],
      [{ parent: 'a/../b' }, /invalid parent interface name/],
      [{ parent: 'wire0', macvlan_mode: 'bridged' }, /invalid macvlan_mode: "bridged"/],
      [{ parent: 'wire0', mystery: '1' }, /unknown option of the macvlan driver: mystery/],
      [{ parent: 'wire0', 'com.docker.network.driver.mtu': '12' }, /invalid mtu/],
    ];
    for (const [options, message] of refused)
      await expect(make('bad', 80, options)).rejects.toMatchObject({ kind: 'invalid-parameter', message });
  });
});
