import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { host } from '@gantry/native/index.js';
import { NetworkEngine, tcpPort } from './engine.js';
import { inOwnNamespace } from './namespace.js';
import { ask, BRIEFLY, eventually, inside, reach, reachUdp, serve, serveUdp } from './probe.js';

const HOST = 'fd00:d::1';
const NEIGHBOUR = 'fd00:d::2';

inOwnNamespace(import.meta.url, () => {
  const engine = new NetworkEngine();
  const neighbour = join(engine.root, 'neighbour');
  const stops: (() => void)[] = [];

  beforeAll(async () => {
    mkdirSync(engine.root, { recursive: true });
    await host.net.createNamespace(neighbour);
    await host.net.configure('', [
      { op: 'add-veth', name: 'wire0', up: true, peer: { name: 'wire1', namespace: neighbour } },
      { op: 'sysctl', key: 'ipv6/conf/wire0/disable_ipv6', value: '0' },
      { op: 'add-address', link: 'wire0', address: `${HOST}/64` },
      { op: 'add-address', link: 'wire0', address: '10.213.200.1/24' },
    ]);
    await host.net.configure(neighbour, [
      { op: 'sysctl', key: 'ipv6/conf/wire1/accept_dad', value: '0' },
      { op: 'sysctl', key: 'ipv6/conf/wire1/disable_ipv6', value: '0' },
      { op: 'set-link', name: 'wire1', up: true },
      { op: 'add-address', link: 'wire1', address: `${NEIGHBOUR}/64` },
      { op: 'add-address', link: 'wire1', address: '10.213.200.2/24' },
      { op: 'add-route', destination: 'fd00:213::/32', gateway: HOST },
      { op: 'add-route', destination: '10.213.0.0/16', gateway: '10.213.200.1' },
    ]);
    await engine.start();
    await engine.network('dual', { enableIpv6: true, configs: [{ subnet: '10.213.30.0/24' }, { subnet: 'fd00:213:1::/64' }] });
    await engine.network('six', { enableIpv4: false, enableIpv6: true, configs: [{ subnet: 'fd00:213:2::/64' }] });
    await engine.network('inner', {
      internal: true,
      enableIpv6: true,
      configs: [{ subnet: '10.213.33.0/24' }, { subnet: 'fd00:213:3::/64' }],
    });
    await engine.network('routed', {
      enableIpv6: true,
      configs: [{ subnet: '10.213.34.0/24' }, { subnet: 'fd00:213:4::/64' }],
      options: { 'com.docker.network.bridge.gateway_mode_ipv6': 'routed', 'com.docker.network.bridge.gateway_mode_ipv4': 'routed' },
    });
    await engine.network('open', {
      enableIpv6: true,
      configs: [{ subnet: '10.213.35.0/24' }, { subnet: 'fd00:213:5::/64' }],
      options: {
        'com.docker.network.bridge.gateway_mode_ipv6': 'nat-unprotected',
        'com.docker.network.bridge.gateway_mode_ipv4': 'nat-unprotected',
      },
    });
    await engine.network('apart', {
      internal: true,
      enableIpv6: true,
      configs: [{ subnet: '10.213.36.0/24' }, { subnet: 'fd00:213:6::/64' }],
      options: {
        'com.docker.network.bridge.gateway_mode_ipv6': 'isolated',
        'com.docker.network.bridge.gateway_mode_ipv4': 'isolated',
      },
    });
    stops.push(await serve(neighbour, NEIGHBOUR, 8000, 'outside'));
    stops.push(await serve(neighbour, '10.213.200.2', 8000, 'outside'));
  });

  afterAll(async () => {
    for (const stop of stops) stop();
    await host.net.configure('', [{ op: 'delete-link', name: 'wire0' }]);
    await host.net.removeNamespace(neighbour);
    await engine.destroy();
  });

  const web = async (network: string, name: string, ...ports: ReturnType<typeof tcpPort>[]) => {
    const container = await engine.run(network, { containerName: name, ports });
    for (const address of [container.address && '0.0.0.0', '::']) if (address) stops.push(await serve(container.path, address, 80, name));
    return container;
  };

  it('gives addresses of both families, at once and for good', async () => {
    const id = await engine.open();
    const state = await engine.join('dual', id, { ipv6Address: 'fd00:213:1::77' });
    expect(state).toMatchObject({ globalIpv6Address: 'fd00:213:1::77', globalIpv6PrefixLength: 64, ipv6Gateway: 'fd00:213:1::1' });
    const shown = await inside(engine.path(id), 'ip', '-6', 'addr', 'show', 'eth0');
    expect(shown).toContain('fd00:213:1::77/64');
    expect(shown).not.toContain('tentative');
    expect(engine.service.nameFiles(id).hosts).toMatch(/^fd00:213:1::77\t/m);
    const other = await engine.open();
    await expect(engine.join('dual', other, { ipv6Address: 'fd00:213:1::77' })).rejects.toMatchObject({ kind: 'forbidden' });
    await expect(engine.join('dual', other, { ipv6Address: 'fd00:99::1' })).rejects.toMatchObject({ kind: 'invalid-parameter' });
    await expect(engine.join('dual', other, { ipv6Address: 'no' })).rejects.toMatchObject({ kind: 'invalid-parameter' });
    await engine.stop(id);
    await engine.stop(other);
  });

  it('draws pools for networks that name none', async () => {
    const id = await engine.network('drawn', { enableIpv6: true });
    const other = await engine.network('drawn2', { enableIpv6: true });
    const pools = [id, other].map((each) => engine.service.find(each)?.ipv6[0]?.pool ?? '');
    for (const pool of pools) expect(pool).toMatch(/^fd[0-9a-f]{2}:.*\/64$/);
    expect(pools[0]).not.toBe(pools[1]);
    await engine.service.remove(id);
    await engine.service.remove(other);
  });

  it('publishes a port in both families, and answers the host, its loopback, the neighbour and containers', async () => {
    const server = await web('dual', 'web', tcpPort(80, 18080));
    const client = await engine.run('dual');
    const six = await engine.run('six');
    expect(engine.service.endpointsOf(server.id)['dual']?.published.map(({ hostIp }) => hostIp)).toEqual(['0.0.0.0', '::']);
    expect(await reach('', '127.0.0.1', 18080)).toMatch(/^web /);
    expect(await reach('', HOST, 18080)).toMatch(/^web /);
    expect(await reach(neighbour, HOST, 18080)).toBe(`web ${NEIGHBOUR}`);
    expect(await reach(neighbour, '10.213.200.1', 18080)).toBe('web 10.213.200.2');
    expect(await reach(client.path, HOST, 18080)).toMatch(/^web /);
    expect(await reach(six.path, HOST, 18080)).toMatch(/^web /);
    expect(await reach(server.path, HOST, 18080)).toMatch(/^web /);
    for (const address of ['0.0.0.0', '::']) expect(() => host.net.reservePort('tcp', address, 18080)).toThrow(/in use/);
  });

  it('keeps a port of one family or address where it was asked for', async () => {
    await web('dual', 'single', tcpPort(80, 18082, 'FD00:D::1'));
    expect(await reach(neighbour, HOST, 18082)).toMatch(/^single /);
    expect(await reach('', '127.0.0.1', 18082, BRIEFLY)).toBe('nothing');
    expect(await reach(neighbour, '10.213.200.1', 18082, BRIEFLY)).toBe('nothing');
    const only = await engine.open();
    await expect(engine.join('six', only, { ports: [tcpPort(80, 18083, '127.0.0.1')] })).rejects.toThrow(/no IPv4 address/);
    await engine.stop(only);
  });

  it('publishes UDP, and has one port for both families where it chooses', async () => {
    const container = await engine.run('dual', {
      ports: [
        { protocol: 'udp', containerPort: 53, hostPort: 18053 },
        { protocol: 'udp', containerPort: 54 },
      ],
    });
    stops.push(await serveUdp(container.path, '::', 53, 'dns'));
    expect(await reachUdp(neighbour, HOST, 18053)).toBe(`dns ${NEIGHBOUR}`);
    const chosen = (engine.service.endpointsOf(container.id)['dual']?.published ?? []).filter(({ containerPort }) => containerPort === 54);
    expect(chosen).toHaveLength(2);
    expect(chosen[0]?.hostPort).toBe(chosen[1]?.hostPort);
  });

  it('lets containers out under the host address, and nobody in', async () => {
    const dual = await web('dual', 'd');
    const six = await web('six', 's');
    const dualV6 = engine.service.endpointsOf(dual.id)['dual']?.globalIpv6Address ?? '';
    const sixV6 = engine.service.endpointsOf(six.id)['six']?.globalIpv6Address ?? '';
    for (const path of [dual.path, six.path]) expect(await reach(path, NEIGHBOUR, 8000)).toBe(`outside ${HOST}`);
    expect(await reach(dual.path, sixV6, 80, BRIEFLY)).toBe('nothing');
    expect(await reach(six.path, dualV6, 80, BRIEFLY)).toBe('nothing');
    expect(await reach(neighbour, dualV6, 80, BRIEFLY)).toBe('nothing');
    const second = await engine.run('six', { containerName: 'second' });
    expect(await reach(second.path, sixV6, 80)).toMatch(/^s /);
    expect(await ask(second.path, 's', 'AAAA')).toBe(sixV6);
    expect(await ask(second.path, 's', 'A')).toBe('ENODATA');
    expect(await ask(dual.path, 'd', 'AAAA')).toBe(dualV6);
  });

  it('keeps internal networks to themselves', async () => {
    const inner = await web('inner', 'inner', tcpPort(80, 18084));
    const other = await engine.run('inner');
    const innerV6 = engine.service.endpointsOf(inner.id)['inner']?.globalIpv6Address ?? '';
    expect(await reach(other.path, innerV6, 80)).toMatch(/^inner /);
    await host.net.configure(other.path, [{ op: 'add-route', destination: '::/0', gateway: 'fd00:213:3::1' }]);
    expect(await reach(other.path, NEIGHBOUR, 8000, BRIEFLY)).toBe('nothing');
    expect(await reach(other.path, HOST, 18080, BRIEFLY)).toBe('nothing');
    expect(await reach(neighbour, innerV6, 80, BRIEFLY)).toBe('nothing');
  });

  it('routes to published ports of routed networks, and to all of unprotected ones', async () => {
    const routed = await engine.run('routed', { containerName: 'r', ports: [tcpPort(80, 18085)] });
    const open = await engine.run('open', { containerName: 'o' });
    for (const { path } of [routed, open])
      for (const port of [80, 81]) for (const address of ['0.0.0.0', '::']) stops.push(await serve(path, address, port, 'x'));
    const v6 = (id: string, network: string): string => engine.service.endpointsOf(id)[network]?.globalIpv6Address ?? '';
    for (const address of [v6(routed.id, 'routed'), routed.address]) {
      expect(await reach(neighbour, address, 80)).toMatch(/^x /);
      expect(await reach(neighbour, address, 81, BRIEFLY)).toBe('nothing');
    }
    expect(await reach(neighbour, HOST, 18085, BRIEFLY)).toBe('nothing');
    for (const address of [v6(open.id, 'open'), open.address]) expect(await reach(neighbour, address, 81)).toMatch(/^x /);
    // Under their own addresses.
    expect(await reach(routed.path, NEIGHBOUR, 8000)).toBe(`outside ${v6(routed.id, 'routed')}`);
    expect(await reach(routed.path, '10.213.200.2', 8000)).toBe(`outside ${routed.address}`);
  });

  it('keeps even the host out of isolated networks', async () => {
    const apart = await web('apart', 'apart');
    const second = await engine.run('apart');
    expect(await reach(second.path, apart.address, 80)).toMatch(/^apart /);
    expect(await reach('', apart.address, 80, BRIEFLY)).toBe('nothing');
    await expect(
      engine.network('wrong', {
        options: { 'com.docker.network.bridge.gateway_mode_ipv4': 'isolated' },
        configs: [{ subnet: '10.213.37.0/24' }],
      }),
    ).rejects.toThrow(/internal network/);
  });

  it('hears no router that a container plays', async () => {
    const links = await host.net.links('');
    const bridges = links.filter(({ kind }) => kind === 'bridge').map(({ name }) => name);
    for (const name of bridges) expect((await inside('', 'cat', `/proc/sys/net/ipv6/conf/${name}/accept_ra`)).trim()).toBe('0');
    expect((await inside('', 'cat', '/proc/sys/net/ipv6/conf/wire0/accept_ra')).trim()).toBe('2');
    const four = await engine.run('bridge');
    expect((await inside(four.path, 'cat', '/proc/sys/net/ipv6/conf/eth0/disable_ipv6')).trim()).toBe('1');
  });

  it('is the same after the daemon died and after somebody flushed the rules', async () => {
    await engine.die();
    expect(await reach(neighbour, HOST, 18080)).toBe(`web ${NEIGHBOUR}`);
    await engine.start();
    expect(await reach(neighbour, HOST, 18080)).toBe(`web ${NEIGHBOUR}`);
    await inside('', 'nft', 'flush', 'ruleset');
    // Nobody calls for it: the flush itself is heard of.
    const tables = async (): Promise<string> => inside('', 'nft', 'list', 'tables');
    await eventually(async () => (await tables()).includes('table ip6 gantry-nett0001'), 'the tables are back');
    expect(await tables()).toContain('table ip gantry-nett0001');
    expect(await reach(neighbour, HOST, 18080)).toBe(`web ${NEIGHBOUR}`);
  });

  it('comes with the default network where the daemon is told', async () => {
    const own = new NetworkEngine({
      instance: 'nett0006',
      bridge: 'gnett6',
      bip: '10.213.120.1/24',
      ipv6: true,
      fixedCidrV6: 'fd00:213:9::/64',
    });
    await own.start();
    const container = await own.run('bridge');
    expect(own.service.endpointsOf(container.id)['bridge']).toMatchObject({
      globalIpv6Address: 'fd00:213:9::2',
      ipv6Gateway: 'fd00:213:9::1',
    });
    await own.stop(container.id);
    await own.destroy();
  });
});
