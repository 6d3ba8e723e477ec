import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { host } from '@gantry/native/index.js';
import { NetworkEngine, tcpPort } from './engine.js';
import { inOwnNamespace } from './namespace.js';
import { BRIEFLY, eventually, inside, reach, reachUdp, serve, serveUdp } from './probe.js';

const HOST = '10.213.200.1';

/** Without those that the proxy publishes: these networks have no IPv6. */
const inV4 = <P extends { readonly hostIp: string }>(ports: readonly P[]): P[] => ports.filter(({ hostIp }) => !hostIp.includes(':'));

inOwnNamespace(import.meta.url, () => {
  const engine = new NetworkEngine();
  const neighbour = join(engine.root, 'neighbour');
  const stops: (() => void)[] = [];

  beforeAll(async () => {
    mkdirSync(engine.root, { recursive: true });
    await host.net.createNamespace(neighbour);
    await host.net.configure('', [
      { op: 'add-veth', name: 'wire0', up: true, peer: { name: 'wire1', namespace: neighbour } },
      { op: 'add-address', link: 'wire0', address: `${HOST}/24` },
    ]);
    await host.net.configure(neighbour, [
      { op: 'set-link', name: 'wire1', up: true },
      { op: 'add-address', link: 'wire1', address: '10.213.200.2/24' },
      { op: 'add-route', destination: '10.213.0.0/16', gateway: HOST },
    ]);
    await engine.start();
    await engine.network('red', { ipam: { subnet: '10.213.1.0/24' } });
    await engine.network('blue', { ipam: { subnet: '10.213.2.0/24' } });
    await engine.network('closed', { internal: true, ipam: { subnet: '10.213.3.0/24' } });
    await engine.network('quiet', { options: { 'com.docker.network.bridge.enable_icc': 'false' }, ipam: { subnet: '10.213.4.0/24' } });
  });

  afterAll(async () => {
    for (const stop of stops) stop();
    await host.net.configure('', [{ op: 'delete-link', name: 'wire0' }]);
    await host.net.removeNamespace(neighbour);
    await engine.destroy();
  });

  const web = async (network: string, name: string, ...ports: ReturnType<typeof tcpPort>[]) => {
    const container = await engine.run(network, { containerName: name, ports });
    stops.push(await serve(container.path, '0.0.0.0', 80, name));
    return container;
  };

  describe('a published port', () => {
    it('answers on every address of the host, to everybody', async () => {
      const server = await web('red', 'web', tcpPort(80, 18080));
      const client = await engine.run('red');
      const stranger = await engine.run('blue');
      expect(await reach('', '127.0.0.1', 18080)).toBe('web 10.213.1.1');
      expect(await reach('', '127.9.9.9', 18080)).toBe('web 10.213.1.1');
      expect(await reach('', HOST, 18080)).toBe(`web ${HOST}`);
      expect(await reach(neighbour, HOST, 18080)).toBe('web 10.213.200.2');
      expect(await reach(client.path, HOST, 18080)).toMatch(/^web /);
      expect(await reach(client.path, '10.213.1.1', 18080)).toMatch(/^web /);
      expect(await reach(stranger.path, HOST, 18080)).toMatch(/^web /);
      expect(await reach(stranger.path, '10.213.1.1', 18080)).toMatch(/^web /);
      expect(await reach(server.path, HOST, 18080)).toMatch(/^web /);
      expect(await reach(server.path, HOST, 18080)).toMatch(/^web /);
      expect(await reach(client.path, HOST, 18080)).toMatch(/^web /);
    });

    it('is the same for UDP, also right after somebody tried in vain', async () => {
      expect(await reachUdp(neighbour, HOST, 18053, BRIEFLY)).toBe('nothing');
      const server = await engine.run('red', { ports: [{ protocol: 'udp', containerPort: 53, hostPort: 18053 }] });
      stops.push(await serveUdp(server.path, '0.0.0.0', 53, 'dns'));
      expect(await reachUdp('', '127.0.0.1', 18053)).toBe('dns 10.213.1.1');
      expect(await reachUdp('', HOST, 18053)).toBe(`dns ${HOST}`);
      expect(await reachUdp(neighbour, HOST, 18053)).toBe('dns 10.213.200.2');
    });

    it('on 127.0.0.1 is not for the neighbour, whatever the host lets in', async () => {
      await web('red', 'private', tcpPort(80, 18081, '127.0.0.1'));
      expect(await reach('', '127.0.0.1', 18081)).toMatch(/^private /);
      expect(await reach('', HOST, 18081, BRIEFLY)).toBe('nothing');
      expect(await reach(neighbour, HOST, 18081, BRIEFLY)).toBe('nothing');
      // A neighbour that sends packets for 127.0.0.1 to our link, and a host that was told not to mind.
      await host.net.configure('', [{ op: 'sysctl', key: 'ipv4/conf/wire0/route_localnet', value: '1' }]);
      await host.net.configure(neighbour, [
        { op: 'set-link', name: 'lo', up: false },
        { op: 'sysctl', key: 'ipv4/conf/wire1/route_localnet', value: '1' },
        { op: 'add-route', destination: '127.0.0.1/32', gateway: HOST, link: 'wire1' },
      ]);
      expect(await reach(neighbour, '127.0.0.1', 18081, BRIEFLY)).toBe('nothing');
      expect(await reach(neighbour, '127.0.0.1', 18080, BRIEFLY)).toBe('nothing');
      await host.net.configure('', [{ op: 'sysctl', key: 'ipv4/conf/wire0/route_localnet', value: '0' }]);
      await host.net.configure(neighbour, [
        { op: 'delete-route', destination: '127.0.0.1/32', gateway: HOST, link: 'wire1' },
        { op: 'set-link', name: 'lo', up: true },
      ]);
    });

    it('on one address of the host is nowhere else', async () => {
      await web('red', 'single', tcpPort(80, 18082, HOST));
      expect(await reach(neighbour, HOST, 18082)).toBe('single 10.213.200.2');
      expect(await reach('', '127.0.0.1', 18082, BRIEFLY)).toBe('nothing');
    });

    it('is chosen from the ephemeral range when none is given, and from a range in order', async () => {
      const some = await engine.open();
      const first = await engine.join('red', some, { ports: [tcpPort(80, 0), { ...tcpPort(81, 18090), hostPortEnd: 18092 }] });
      const other = await engine.open();
      const second = await engine.join('red', other, { ports: [{ ...tcpPort(81, 18090), hostPortEnd: 18092 }] });
      expect(first.published[0]?.hostPort).toBeGreaterThanOrEqual(32_768);
      expect(inV4(first.published).map(({ hostPort }) => hostPort)).toEqual([first.published[0]?.hostPort, 18090]);
      expect(inV4(second.published).map(({ hostPort }) => hostPort)).toEqual([18091]);
    });

    it('that is taken, by a container or by a process, is refused with nothing left behind', async () => {
      const id = await engine.open();
      await expect(engine.join('red', id, { ports: [tcpPort(80, 18200), tcpPort(80, 18080)] })).rejects.toThrow(
        /Bind for 0.0.0.0:18080 failed: port is already allocated/,
      );
      stops.push(await serve('', HOST, 18201, 'process'));
      await expect(engine.join('red', id, { ports: [tcpPort(80, 18201)] })).rejects.toMatchObject({ kind: 'conflict' });
      expect(engine.service.endpointsOf(id)).toEqual({});
      // What was reserved before the failure is free again.
      const state = await engine.join('red', id, { ports: [tcpPort(80, 18200)] });
      expect(inV4(state.published)).toHaveLength(1);
      await engine.stop(id);
    });

    it('can be published and taken away while the container runs, and is as before when that fails', async () => {
      const { id } = await web('red', 'live', tcpPort(80, 18210));
      stops.push(await serve(engine.path(id), '0.0.0.0', 81, 'second'));
      expect(inV4(await engine.service.publish('red', id, [tcpPort(80, 18210), tcpPort(81, 18211)]))).toHaveLength(2);
      expect(await reach(neighbour, HOST, 18210)).toMatch(/^live /);
      expect(await reach(neighbour, HOST, 18211)).toMatch(/^second /);
      await expect(engine.service.publish('red', id, [tcpPort(80, 18212), tcpPort(81, 18080)])).rejects.toMatchObject({ kind: 'conflict' });
      expect(await reach(neighbour, HOST, 18210)).toMatch(/^live /);
      expect(await reach(neighbour, HOST, 18211)).toMatch(/^second /);
      host.net.closeSocket(host.net.reservePort('tcp', '0.0.0.0', 18212).fd);
      await engine.restart();
      const published = engine.service.endpointsOf(id)['red']?.published ?? [];
      expect(inV4(published).map(({ hostPort }) => hostPort)).toEqual([18210, 18211]);
      await engine.service.publish('red', id, [tcpPort(81, 18211)]);
      expect(await reach(neighbour, HOST, 18210, BRIEFLY)).toBe('nothing');
      expect(await reach(neighbour, HOST, 18211)).toMatch(/^second /);
      const { ports } = await engine.service.exposure();
      const own = { container: 'live', containerId: id, network: 'red', protocol: 'tcp', containerPort: 81 };
      expect(ports.filter(({ containerId }) => containerId === id)).toEqual(
        ['0.0.0.0', '::'].map((address) => ({ ...own, address, port: 18211, reach: 'everyone' })),
      );
    });

    it('has one owner each, however many want it at once', async () => {
      const ids = await Promise.all(Array.from({ length: 60 }, () => engine.open()));
      const results = await Promise.allSettled(ids.map((id, i) => engine.join('red', id, { ports: [tcpPort(80, 18220 + (i % 20))] })));
      const owners = results.flatMap((result) =>
        result.status === 'fulfilled' ? inV4(result.value.published).map(({ hostPort }) => hostPort) : [],
      );
      expect(owners.toSorted()).toEqual(Array.from({ length: 20 }, (_, i) => 18220 + i));
      for (const result of results) if (result.status === 'rejected') expect(result.reason).toMatchObject({ kind: 'conflict' });
      for (const id of ids) await engine.stop(id);
      for (let port = 18220; port < 18240; port++) host.net.closeSocket(host.net.reservePort('tcp', '0.0.0.0', port).fd);
    });

    it('of SCTP belongs to one container', async () => {
      const sctp = { protocol: 'sctp', containerPort: 36412, hostPort: 36412 } as const;
      const { id } = await engine.run('red', { ports: [sctp] });
      const other = await engine.open();
      await expect(engine.join('red', other, { ports: [{ ...sctp, hostIp: '127.0.0.1' }] })).rejects.toThrow(/already allocated/);
      expect(await inside('', 'nft', 'list', 'map', 'ip', 'gantry-nett0001', 'published-any')).toContain('sctp . 36412');
      await engine.stop(id);
      await engine.join('red', other, { ports: [sctp] });
      await engine.stop(other);
    });

    it('is free for anybody once its container is gone', async () => {
      const { id } = await web('red', 'brief', tcpPort(80, 18083));
      expect(() => host.net.reservePort('tcp', '0.0.0.0', 18083)).toThrow(/in use/);
      await engine.stop(id);
      const { fd } = host.net.reservePort('tcp', '0.0.0.0', 18083);
      host.net.closeSocket(fd);
      expect(await reach(neighbour, HOST, 18083, BRIEFLY)).toBe('nothing');
    });
  });

  describe('networks', () => {
    it('let containers of one talk to each other and to the outside, under the host address', async () => {
      const a = await web('red', 'a');
      const b = await engine.run('red');
      expect(await reach(b.path, a.address, 80)).toBe(`a ${b.address}`);
      stops.push(await serve(neighbour, '10.213.200.2', 8000, 'outside'));
      expect(await reach(b.path, '10.213.200.2', 8000)).toBe(`outside ${HOST}`);
    });

    it('do not let containers of two talk to each other, nor strangers in', async () => {
      const red = await web('red', 'r');
      const blue = await web('blue', 'b');
      expect(await reach(blue.path, red.address, 80, BRIEFLY)).toBe('nothing');
      expect(await reach(red.path, blue.address, 80, BRIEFLY)).toBe('nothing');
      expect(await reach(neighbour, red.address, 80, BRIEFLY)).toBe('nothing');
      expect(await reach('', red.address, 80)).toMatch(/^r /);
    });

    it('that are internal reach nothing but themselves', async () => {
      const inner = await web('closed', 'inner');
      const other = await engine.run('closed');
      expect(await reach(other.path, inner.address, 80)).toMatch(/^inner /);
      // With a default route that a container gives itself.
      await host.net.configure(other.path, [{ op: 'add-route', destination: '0.0.0.0/0', gateway: '10.213.3.1' }]);
      expect(await reach(other.path, '10.213.200.2', 8000, BRIEFLY)).toBe('nothing');
      expect(await reach(other.path, HOST, 18080, BRIEFLY)).toBe('nothing');
      expect(await reach(neighbour, inner.address, 80, BRIEFLY)).toBe('nothing');
    });

    it('without communication between containers keep them apart, and their ports published', async () => {
      const a = await web('quiet', 'hermit', tcpPort(80, 18084));
      const b = await engine.run('quiet');
      expect(await reach(b.path, a.address, 80, BRIEFLY)).toBe('nothing');
      // Through the host's IP layer instead of the bridge.
      await inside(b.path, 'ip', 'route', 'replace', `${a.address}/32`, 'via', '10.213.4.1');
      expect(await reach(b.path, a.address, 80, BRIEFLY)).toBe('nothing');
      expect(await reach('', '127.0.0.1', 18084)).toMatch(/^hermit /);
      expect(await reach(b.path, '10.213.200.2', 8000)).toMatch(/^outside /);
    });

    it("open what is published to links that they trust, at the containers' own addresses", async () => {
      const options = { 'com.docker.network.bridge.trusted_host_interfaces': 'wire0:vpn0' };
      await engine.network('trusting', { options, ipam: { subnet: '10.213.6.0/24' } });
      const server = await web('trusting', 'trusted', tcpPort(80, 18086), tcpPort(80, 18087));
      stops.push(await serve(server.path, '0.0.0.0', 81, 'unpublished'));
      expect(await reach(neighbour, server.address, 80)).toBe('trusted 10.213.200.2');
      expect(await reach(neighbour, server.address, 81, BRIEFLY)).toBe('nothing');
      expect(await reach((await engine.run('blue')).path, server.address, 80, BRIEFLY)).toBe('nothing');
      await engine.service.publish('trusting', server.id, [tcpPort(81, 18086)]);
      expect(await reach(neighbour, server.address, 81)).toBe('unpublished 10.213.200.2');
      expect(await reach(neighbour, server.address, 80, BRIEFLY)).toBe('nothing');
      await engine.stop(server.id);
    });

    it('leave the IPv4 gateway to somebody else where they are told', async () => {
      const options = { 'com.docker.network.bridge.inhibit_ipv4': 'true', 'com.docker.network.bridge.name': 'gnett-in' };
      await engine.network('inhibited', { options, ipam: { subnet: '10.213.7.0/24' } });
      const router = join(engine.root, 'router');
      await host.net.createNamespace(router);
      await host.net.configure('', [
        { op: 'add-veth', name: 'gnett-ro', up: true, master: 'gnett-in', peer: { name: 'eth0', namespace: router } },
      ]);
      await host.net.configure(router, [
        { op: 'set-link', name: 'eth0', up: true },
        { op: 'add-address', link: 'eth0', address: '10.213.7.1/24' },
        { op: 'add-address', link: 'eth0', address: '10.213.207.1/24' },
      ]);
      stops.push(await serve(router, '10.213.207.1', 80, 'beyond'));
      const container = await engine.run('inhibited');
      expect(await reach(container.path, '10.213.207.1', 80)).toBe(`beyond ${container.address}`);
      const addresses = async () => (await host.net.links('')).find(({ name }) => name === 'gnett-in')?.addresses;
      expect(await addresses()).toEqual([]);
      // What its owner gives the bridge stays.
      await host.net.configure('', [{ op: 'add-address', link: 'gnett-in', address: '10.213.7.9/24' }]);
      await engine.restart();
      expect(await addresses()).toEqual(['10.213.7.9/24']);
      await engine.stop(container.id);
      await engine.service.remove('inhibited');
      await host.net.configure('', [{ op: 'delete-link', name: 'gnett-ro' }]);
      await host.net.removeNamespace(router);
    });

    it('do not let a container reach the host loopback', async () => {
      stops.push(await serve('', '127.0.0.1', 18300, 'secret'));
      const red = await engine.run('red');
      await host.net.configure(red.path, [
        { op: 'set-link', name: 'lo', up: false },
        { op: 'sysctl', key: 'ipv4/conf/eth0/route_localnet', value: '1' },
        { op: 'add-route', destination: '127.0.0.1/32', gateway: '10.213.1.1', link: 'eth0' },
      ]);
      expect(await reach(red.path, '127.0.0.1', 18300, BRIEFLY)).toBe('nothing');
    });
  });

  describe('the rules', () => {
    it('come back at once when somebody flushes them or takes a part away, whether or not anybody looks', async () => {
      const set = ['nft', 'delete', 'element', 'ip', 'gantry-nett0001', 'internal', '{', 'br-', '}'];
      for (const [program = '', ...args] of [
        ['nft', 'flush', 'ruleset'],
        ['nft', 'delete', 'table', 'ip', 'gantry-nett0001'],
        ['nft', 'flush', 'chain', 'ip', 'gantry-nett0001', 'filter'],
        set,
      ]) {
        if (args.includes('br-')) args[args.indexOf('br-')] = `br-${engine.service.find('closed')?.id.slice(0, 12)}`;
        await inside('', program, ...args);
        await eventually(async () => (await reach(neighbour, HOST, 18080, BRIEFLY)) === 'web 10.213.200.2', 'the port is back');
        const driver = (await engine.registry.get('network', 'bridge')).driver as unknown as { verify(): Promise<boolean> };
        await eventually(async () => driver.verify(), 'all of the table is back');
      }
    });

    it('of the host that stand in the way are told, and left alone', async () => {
      expect(await engine.service.hostWarnings()).toEqual([]);
      writeFileSync(
        join(engine.root, 'strict.nft'),
        'table inet strict { chain forward { type filter hook forward priority 0; policy drop; }; }\n',
      );
      await inside('', 'nft', '-f', join(engine.root, 'strict.nft'));
      expect(await engine.service.hostWarnings()).toEqual([expect.stringContaining('chain forward of nftables table inet strict')]);
      expect(await reach(neighbour, HOST, 18080, BRIEFLY)).toBe('nothing');
      expect(await inside('', 'nft', 'list', 'tables')).toContain('table inet strict');
      await inside('', 'nft', 'delete', 'table', 'inet', 'strict');
      expect(await reach(neighbour, HOST, 18080)).toBe('web 10.213.200.2');
    });

    it('live beside those of ufw and firewalld, whose owner lets the bridges through as the warning says', async () => {
      const bridge = `br-${engine.service.find('red')?.id.slice(0, 12)}`;
      const blocked = async (chain: string): Promise<void> => {
        expect(await engine.service.hostWarnings()).toEqual([expect.stringContaining(chain)]);
        expect((await engine.service.exposure()).warnings).toEqual([expect.stringContaining(chain)]);
        expect(await reach(neighbour, HOST, 18080, BRIEFLY)).toBe('nothing');
      };
      // What `ufw enable` writes, and `ufw route allow in on …` and `… out on …`.
      const ufw = `table ip filter {
        chain FORWARD { type filter hook forward priority filter; policy drop;
          ct state related,established accept
          jump ufw-user-forward
        }
        chain ufw-user-forward { }
      }`;
      await inside('', 'nft', ufw);
      await blocked('chain FORWARD of nftables table ip filter');
      await inside(
        '',
        'nft',
        `add rule ip filter ufw-user-forward iifname ${bridge} accept; add rule ip filter ufw-user-forward oifname ${bridge} accept`,
      );
      expect(await reach(neighbour, HOST, 18080)).toBe('web 10.213.200.2');
      await inside('', 'nft', 'delete', 'table', 'ip', 'filter');
      // firewalld's policy is to accept, and a rule of its own rejects; `--zone=trusted --add-interface=…` puts one before it.
      const firewalld = `table inet firewalld {
        chain filter_FORWARD { type filter hook forward priority filter + 10; policy accept;
          ct state established,related accept
          jump filter_FORWARD_ZONES
          reject with icmpx admin-prohibited
        }
        chain filter_FORWARD_ZONES { }
      }`;
      await inside('', 'nft', firewalld);
      await blocked('chain filter_FORWARD of nftables table inet firewalld');
      await inside('', 'nft', `add rule inet firewalld filter_FORWARD_ZONES oifname ${bridge} accept`);
      expect(await reach(neighbour, HOST, 18080)).toBe('web 10.213.200.2');
      await inside('', 'nft', 'delete', 'table', 'inet', 'firewalld');
      expect(await engine.service.hostWarnings()).toEqual([]);
    });

    it('are as they were after the daemon died, and serve while it is away', async () => {
      const before = await inside('', 'nft', 'list', 'table', 'ip', 'gantry-nett0001');
      await engine.die();
      expect(await reach(neighbour, HOST, 18080)).toBe('web 10.213.200.2');
      expect(await reach(neighbour, '10.213.1.2', 80, BRIEFLY)).toBe('nothing');
      await engine.start();
      const flat = (text: string): string[] =>
        text
          .replace(/packets \d+ bytes \d+/g, '')
          .split(/[\s,]+/)
          .toSorted();
      expect(flat(await inside('', 'nft', 'list', 'table', 'ip', 'gantry-nett0001'))).toEqual(flat(before));
      expect(await reach(neighbour, HOST, 18080)).toBe('web 10.213.200.2');
      expect(() => host.net.reservePort('tcp', '0.0.0.0', 18080)).toThrow(/in use/);
    });
  });

  it('tells of iptables-legacy, whose rules no listing of nftables shows', async ({ skip }) => {
    const legacy = async (...args: string[]) => inside('', 'iptables-legacy', ...args);
    const why = await legacy('-P', 'FORWARD', 'DROP').then(
      () => undefined,
      (error: unknown) => `iptables-legacy does not work here: ${String(error)}`,
    );
    if (why !== undefined) skip(why);
    expect(await engine.service.hostWarnings()).toEqual([expect.stringContaining('iptables-legacy')]);
    expect(await reach(neighbour, HOST, 18080, BRIEFLY)).toBe('nothing');
    await legacy('-P', 'FORWARD', 'ACCEPT');
    expect(await reach(neighbour, HOST, 18080)).toBe('web 10.213.200.2');
  });

  it('leaves other tables alone', async () => {
    writeFileSync(join(engine.root, 'theirs.nft'), 'table ip theirs { chain forward { type filter hook forward priority 0; }; }\n');
    await inside('', 'nft', '-f', join(engine.root, 'theirs.nft'));
    await engine.restart();
    expect(await inside('', 'nft', 'list', 'tables')).toContain('table ip theirs');
    await inside('', 'nft', 'delete', 'table', 'ip', 'theirs');
  });
});
