import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { join } from 'node:path';
import { decode, encode } from 'dns-packet';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { host } from '@gantry/native/index.js';
import { NetworkEngine, tcpPort } from './engine.js';
import { inOwnNamespace } from './namespace.js';
import { ask, eventually, inside, kernelState, reach, serve } from './probe.js';

inOwnNamespace(import.meta.url, () => {
  const engine = new NetworkEngine();
  const stops: (() => void)[] = [];
  let pristine = '';

  beforeAll(async () => {
    pristine = await kernelState();
    await engine.start();
  });

  afterAll(async () => {
    for (const stop of stops) stop();
    await engine.destroy();
  });

  describe('networks', () => {
    it('are found by id, name and the beginning of an id', async () => {
      const id = await engine.network('found', { ipam: { subnet: '10.213.10.0/24' } });
      for (const text of [id, 'found', id.slice(0, 12)]) expect(engine.service.find(text)?.id).toBe(id);
      expect(engine.service.find('default')?.name).toBe('bridge');
      await expect(engine.service.inspect('ghost')).rejects.toMatchObject({ kind: 'not-found', message: 'network ghost not found' });
    });

    it('are refused in Docker words', async () => {
      await expect(engine.network('found')).rejects.toMatchObject({
        kind: 'conflict',
        message: 'network with name found already exists',
      });
      await expect(engine.network('over', { ipam: { subnet: '10.213.10.128/25' } })).rejects.toMatchObject({
        kind: 'forbidden',
        message: 'invalid pool request: Pool overlaps with other one on this address space: 10.213.10.128/25 overlaps 10.213.10.0/24',
      });
      await expect(engine.network('host')).rejects.toMatchObject({ kind: 'forbidden' });
      await expect(engine.network('bad name')).rejects.toMatchObject({ kind: 'invalid-parameter' });
      await expect(engine.network('neither', { enableIpv4: false })).rejects.toMatchObject({ kind: 'invalid-parameter' });
      await expect(engine.network('swarm', { scope: 'swarm' })).rejects.toMatchObject({ kind: 'not-implemented' });
      await expect(engine.network('odd', { options: { mystery: '1' } })).rejects.toMatchObject({ kind: 'invalid-parameter' });
      await expect(engine.network('far', { driver: 'teleport' })).rejects.toMatchObject({ kind: 'not-found' });
      // No cluster's store was named.
      await expect(engine.network('wide', { driver: 'overlay' })).rejects.toMatchObject({ kind: 'unavailable' });
      await expect(engine.service.remove('bridge')).rejects.toMatchObject({ kind: 'forbidden' });
      // A refusal takes its addresses back.
      await engine.network('again', { ipam: { subnet: '10.213.11.0/24' }, options: { 'com.docker.x': 'y' } });
    });

    it('take their configuration from another one, which stays while they need it', async () => {
      await engine.network('recipe', {
        configOnly: true,
        labels: { team: 'red' },
        options: { 'com.docker.network.bridge.enable_icc': 'false' },
        ipam: { subnet: '10.213.13.0/24' },
      });
      expect(engine.service.find('recipe')).toMatchObject({ driver: 'null', ipv4: [] });
      await expect(engine.network('mixed', { configFrom: 'recipe', labels: { a: 'b' } })).rejects.toMatchObject({ kind: 'forbidden' });
      await expect(engine.network('nested', { configFrom: 'recipe', configOnly: true })).rejects.toMatchObject({ kind: 'forbidden' });
      await expect(engine.network('wrong', { configFrom: 'found' })).rejects.toMatchObject({ kind: 'forbidden' });
      await expect(engine.network('missing', { configFrom: 'ghost' })).rejects.toMatchObject({ kind: 'not-found' });
      await engine.network('meal', { configFrom: 'recipe' });
      expect(engine.service.find('meal')).toMatchObject({ labels: { team: 'red' }, ipv4: [{ pool: '10.213.13.0/24' }] });
      const id = await engine.open();
      await expect(engine.join('recipe', id)).rejects.toMatchObject({ kind: 'forbidden' });
      await engine.stop(id);
      await expect(engine.service.remove('recipe')).rejects.toThrow('configuration network "recipe" is in use');
      await engine.restart();
      await engine.service.remove('meal');
      await engine.service.remove('recipe');
    });

    it('warn of a route of the host that they hide', async () => {
      await host.net.configure('', [
        { op: 'add-bridge', name: 'wan0', up: true },
        { op: 'add-address', link: 'wan0', address: '10.213.14.9/30' },
      ]);
      const request = { name: 'hiding', driver: '', scope: '', enableIpv4: true, enableIpv6: false, internal: false, attachable: false };
      const config = [
        { subnet: '10.213.14.0/24', ipRange: '', gateway: '', auxAddresses: {} },
        { subnet: 'fd00:14::/64', ipRange: '', gateway: '', auxAddresses: {} },
      ];
      const { warning } = await engine.service.create({
        ...request,
        ingress: false,
        configOnly: false,
        configFrom: '',
        options: {},
        labels: {},
        ipam: { driver: '', options: {}, config },
      });
      expect(warning).toContain("overlaps the host's route to 10.213.14.8/30 by wan0");
      expect(warning).toContain('fd00:14::/64, which is ignored');
      await engine.service.remove('hiding');
      await host.net.configure('', [{ op: 'delete-link', name: 'wan0' }]);
    });

    it('do not take a bridge that is not theirs', async () => {
      await host.net.configure('', [{ op: 'add-bridge', name: 'stranger0' }]);
      const options = { 'com.docker.network.bridge.name': 'stranger0' };
      await expect(engine.network('thief', { options, ipam: { subnet: '10.213.12.0/24' } })).rejects.toMatchObject({ kind: 'conflict' });
      expect((await host.net.links('')).find(({ name }) => name === 'stranger0')?.addresses).toEqual([]);
      await host.net.configure('', [{ op: 'delete-link', name: 'stranger0' }]);
    });

    it('stay while a container is in them', async () => {
      const { id } = await engine.run('found');
      await expect(engine.service.remove('found')).rejects.toMatchObject({
        kind: 'forbidden',
        message: 'error while removing network: network found has active endpoints',
      });
      expect(Object.keys((await engine.service.inspect('found')).containers)).toEqual([id]);
      await engine.stop(id);
      await engine.service.remove('again');
      await engine.service.remove('found');
    });
  });

  describe('a container', () => {
    beforeAll(async () => {
      await engine.network('one', { ipam: { subnet: '10.213.20.0/24' } });
      await engine.network('two', { ipam: { subnet: '10.213.21.0/24' } });
      await engine.network('auto', {});
    });

    it('may choose its address and MAC where the network has a subnet of the user', async () => {
      const id = await engine.open();
      const state = await engine.join('one', id, { ipv4Address: '10.213.20.77', macAddress: '02:00:00:00:12:34' });
      expect(state).toMatchObject({ ipAddress: '10.213.20.77', ipPrefixLength: 24, macAddress: '02:00:00:00:12:34' });
      const [eth0] = (await host.net.links(engine.path(id))).filter(({ name }) => name === 'eth0');
      expect(eth0).toMatchObject({ mac: '02:00:00:00:12:34', up: true, addresses: ['10.213.20.77/24'] });
      const other = await engine.open();
      await expect(engine.join('one', other, { ipv4Address: '10.213.20.77' })).rejects.toMatchObject({ kind: 'forbidden' });
      await expect(engine.join('auto', other, { ipv4Address: '10.213.20.78' })).rejects.toThrow(/user configured subnets/);
      await expect(engine.join('bridge', other, { ipv4Address: '10.213.0.78' })).rejects.toMatchObject({ kind: 'invalid-parameter' });
      await expect(engine.join('one', id)).rejects.toMatchObject({ kind: 'forbidden' });
      await engine.stop(id);
      await engine.stop(other);
    });

    it('may have link-local addresses beside its own', async () => {
      const id = await engine.open();
      await engine.join('one', id, { linkLocalAddresses: ['169.254.7.7', 'fe80::77'] });
      const [eth0] = (await host.net.links(engine.path(id))).filter(({ name }) => name === 'eth0');
      expect(eth0?.addresses).toEqual(expect.arrayContaining(['169.254.7.7/16', 'fe80::77/64']));
      const other = await engine.open();
      await expect(engine.join('one', other, { linkLocalAddresses: ['10.0.0.1'] })).rejects.toMatchObject({ kind: 'invalid-parameter' });
      await engine.stop(id);
      await engine.stop(other);
    });

    it('has a link for each network and its default route by the highest priority', async () => {
      const id = await engine.open();
      const path = engine.path(id);
      const via = async (): Promise<string> =>
        (await host.net.routes(path))
          .filter(({ destination }) => destination === '0.0.0.0/0')
          .map(({ gateway }) => gateway)
          .join();
      await engine.join('one', id);
      expect(await via()).toBe('10.213.20.1');
      await engine.join('two', id, { gatewayPriority: 10 });
      expect(await via()).toBe('10.213.21.1');
      await engine.join('bridge', id);
      expect(await via()).toBe('10.213.21.1');
      expect(Object.keys(await engine.service.counters(id)).toSorted()).toEqual(['eth0', 'eth1', 'eth2']);
      await engine.service.leave('two', id);
      expect(await via()).toBe('10.213.20.1');
      await eventually(async () => !(await host.net.links(path)).some(({ name }) => name === 'eth1'), 'eth1 is gone');
      await expect(engine.service.leave('two', id)).rejects.toMatchObject({ kind: 'forbidden' });
      await engine.service.leave('two', id, { force: true });
      await engine.stop(id);
    });

    it('on the host network or on none has what the host or nobody has', async () => {
      const onHost = await engine.open('host');
      expect(await engine.join('host', onHost)).toMatchObject({ ipAddress: '', gateway: '' });
      expect(engine.path(onHost)).toBe('');
      await expect(engine.join('one', onHost)).rejects.toMatchObject({ kind: 'conflict' });
      const alone = await engine.open();
      await engine.join('none', alone);
      await expect(engine.join('host', alone)).rejects.toMatchObject({ kind: 'conflict' });
      expect((await host.net.links(engine.path(alone))).map(({ name }) => name)).toEqual(['lo']);
      await engine.stop(onHost);
      await engine.stop(alone);
    });

    it('tells of coming and going', async () => {
      const seen: string[] = [];
      const abort = new AbortController();
      const stream = engine.events.subscribe({ filters: new Map(), signal: abort.signal });
      const reading = (async () => {
        for await (const { type, action, attributes } of stream)
          seen.push(`${type} ${action} ${attributes['name']} ${attributes['container']?.length ?? ''}`);
      })();
      const { id } = await engine.run('one');
      await engine.stop(id);
      await eventually(async () => seen.length >= 2, 'two events');
      abort.abort();
      await reading;
      expect(seen).toEqual(['network connect one 64', 'network disconnect one 64']);
    });
  });

  describe('names', () => {
    it('are resolved on networks of users, and nowhere else', async () => {
      const db = await engine.run('one', { containerName: 'db', aliases: ['database'], hostname: 'dbhost' });
      const second = await engine.run('one', { containerName: 'db2', aliases: ['database'] });
      const client = await engine.run('one', { links: ['db:store'] });
      const stranger = await engine.run('two');
      for (const name of ['db', 'DB', 'db.one', 'dbhost', db.id.slice(0, 12), 'store'])
        expect(await ask(client.path, name)).toBe(db.address);
      expect(await ask(client.path, 'database')).toBe([db.address, second.address].toSorted().join(','));
      expect(await ask(client.path, 'db', 'AAAA')).toBe('ENODATA');
      expect(await ask(client.path, 'ghost')).toBe('ENOTFOUND');
      expect(await ask(stranger.path, 'db')).toBe('ENOTFOUND');
      expect(await ask(client.path, `${db.address.split('.').toReversed().join('.')}.in-addr.arpa`, 'PTR')).toBe('db.one');
      expect(engine.service.nameFiles(client.id).resolvConf).toContain('nameserver 127.0.0.11');
      await engine.service.rename(db.id, 'newdb');
      expect([await ask(client.path, 'newdb'), await ask(client.path, 'db')]).toEqual([db.address, 'ENOTFOUND']);
      await engine.service.leave('one', db.id);
      expect([await ask(client.path, 'newdb'), await ask(client.path, 'database')]).toEqual(['ENOTFOUND', second.address]);
      // A server of the container's own may have port 53 of every address.
      stops.push(await serve(client.path, '0.0.0.0', 53, 'own'));
      for (const { id } of [db, second, client, stranger]) await engine.stop(id);
    });

    it('on the default network are those of links, in /etc/hosts', async () => {
      const db = await engine.run('bridge', { containerName: 'pg', hostname: 'pghost' });
      const client = await engine.run('bridge', { links: ['pg:store'] });
      const { hosts, resolvConf } = engine.service.nameFiles(client.id);
      expect(hosts).toContain(`${db.address}\tstore pghost pg\n`);
      expect(resolvConf).not.toContain('127.0.0.11');
      await engine.stop(client.id);
      await engine.stop(db.id);
    });

    it('of others are asked of the upstream, but not for a container that must not reach outside', async () => {
      const asked: string[] = [];
      const upstream = createSocket('udp4');
      upstream.on('message', (message, from) => {
        const query = decode(message);
        const name = query.questions?.[0]?.name ?? '';
        asked.push(name);
        const answers = [{ type: 'A' as const, name, ttl: 60, data: '192.0.2.99' }];
        upstream.send(
          encode({ type: 'response', id: query.id ?? 0, flags: 0x0180, questions: query.questions ?? [], answers }),
          from.port,
          from.address,
        );
      });
      // The host, as containers of the network see it.
      upstream.bind(53, '10.213.20.1');
      await once(upstream, 'listening');
      const open = await engine.open('private', ['10.213.20.1']);
      await engine.join('one', open);
      expect(await ask(engine.path(open), 'www.example.org')).toBe('192.0.2.99');
      expect(await ask(engine.path(open), 'plain')).toBe('ENOTFOUND');
      await engine.network('jail', { internal: true, ipam: { subnet: '10.213.22.0/24' } });
      const jailed = await engine.open('private', ['10.213.20.1']);
      await engine.join('jail', jailed);
      expect(await ask(engine.path(jailed), 'secret.example.org')).toBe('ESERVFAIL');
      expect(asked).toEqual(['www.example.org']);
      upstream.close();
      await engine.stop(open);
      await engine.stop(jailed);
    });
  });

  describe('a daemon that dies', () => {
    it('finds live containers as they were and takes away the rest', async () => {
      const kept = await engine.run('one', { containerName: 'kept', ports: [tcpPort(80, 18500)] });
      const lost = await engine.run('one', { containerName: 'lost', ports: [tcpPort(80, 18501)] });
      const client = await engine.run('one');
      stops.push(await serve(kept.path, '0.0.0.0', 80, 'kept'));
      const before = engine.service.endpointsOf(kept.id);
      // The container ends while no daemon is there, and a start was cut off after its namespace was made.
      engine.live.delete(lost.id);
      await engine.die();
      const half = join(engine.settings.execRoot, 'netns', 'abcdef012345');
      await host.net.createNamespace(half);
      writeFileSync(join(engine.settings.execRoot, 'netns', 'plain-file'), '');
      await engine.start();

      expect(engine.service.endpointsOf(kept.id)).toEqual(before);
      expect(engine.service.endpointsOf(lost.id)).toEqual({});
      expect(existsSync(half)).toBe(false);
      expect(readdirSync(join(engine.settings.execRoot, 'netns'))).toHaveLength(2);
      expect(await reach('', '127.0.0.1', 18500)).toMatch(/^kept /);
      expect(await ask(client.path, 'kept')).toBe(kept.address);
      expect(await ask(client.path, 'lost')).toBe('ENOTFOUND');
      expect(() => host.net.reservePort('tcp', '0.0.0.0', 18500)).toThrow(/in use/);
      host.net.closeSocket(host.net.reservePort('tcp', '0.0.0.0', 18501).fd);
      // The address of the lost one is free, the kept one's is not.
      const next = await engine.open();
      await expect(engine.join('one', next, { ipv4Address: kept.address })).rejects.toMatchObject({ kind: 'forbidden' });
      expect((await engine.join('one', next, { ipv4Address: lost.address })).ipAddress).toBe(lost.address);
      await eventually(
        async () => (await inside('', 'ip', '-o', 'link', 'show', 'type', 'veth')).split('\n').length - 1 === 3,
        'three pairs',
      );
      for (const id of [kept.id, client.id, next]) await engine.stop(id);
    });

    it('puts right what somebody did to a bridge meanwhile', async () => {
      const web = await engine.run('one', { containerName: 'web' });
      stops.push(await serve(web.path, '0.0.0.0', 80, 'web'));
      const bridge = `br-${engine.service.find('one')?.id.slice(0, 12)}`;
      await engine.die();
      await host.net.configure('', [
        { op: 'delete-address', link: bridge, address: '10.213.20.1/24' },
        { op: 'add-address', link: bridge, address: '10.213.99.1/24' },
        { op: 'set-link', name: bridge, up: false },
      ]);
      await engine.start();
      const link = (await host.net.links('')).find(({ name }) => name === bridge);
      expect(link).toMatchObject({ up: true, addresses: ['10.213.20.1/24'] });
      expect(await reach('', web.address, 80)).toMatch(/^web /);
      await engine.stop(web.id);
    });

    it('while a port was taken by somebody else still gives the container its port', async () => {
      const web = await engine.run('one', { ports: [tcpPort(80, 18510)] });
      stops.push(await serve(web.path, '0.0.0.0', 80, 'web'));
      await engine.die();
      stops.push(await serve('', '127.0.0.1', 18510, 'thief'));
      await engine.start();
      expect(await reach('', '127.0.0.1', 18510)).toMatch(/^web /);
      await engine.stop(web.id);
      expect(await reach('', '127.0.0.1', 18510)).toMatch(/^thief /);
    });
  });

  it('the default network follows the settings when nobody is in it', async () => {
    const own = new NetworkEngine({ instance: 'nett0003', bridge: 'gnett2', bip: '10.213.110.1/24' });
    await own.start();
    const { id } = await own.service.inspect('bridge').then(({ network }) => network);
    const { id: container } = await own.run('bridge');
    Object.assign(own.settings, { bridge: 'gnett3', bip: '10.213.111.1/24', mtu: 1400 });
    await own.restart();
    expect((await own.service.inspect('bridge')).network.ipv4[0]?.gateway).toBe('10.213.110.1/24');
    await own.stop(container);
    await own.restart();
    expect((await own.service.inspect('bridge')).network).toMatchObject({ id, ipv4: [{ gateway: '10.213.111.1/24' }] });
    const links = await host.net.links('');
    expect(links.find(({ name }) => name === 'gnett3')).toMatchObject({ mtu: 1400, addresses: ['10.213.111.1/24'] });
    expect(links.some(({ name }) => name === 'gnett2')).toBe(false);
    Object.assign(own.settings, { bridge: 'none' });
    await own.restart();
    expect(own.service.find('bridge')).toBeUndefined();
    expect((await host.net.links('')).some(({ name }) => name === 'gnett3')).toBe(false);
    await own.destroy();
  });

  it('two hundred containers come and go and leave nothing', async () => {
    await engine.restart();
    const before = await kernelState();
    const descriptors = readdirSync('/proc/self/fd').length;
    for (let round = 0; round < 50; round++) {
      const ids = await Promise.all(
        [0, 1, 2, 3].map(async (lane) => {
          const id = await engine.open();
          await engine.join(lane % 2 === 0 ? 'one' : 'bridge', id, { ports: [tcpPort(80, 18600 + lane)] });
          if (lane === 3) await engine.join('two', id);
          return id;
        }),
      );
      await Promise.all(ids.map((id) => engine.stop(id)));
    }
    await eventually(async () => (await kernelState()) === before, 'the kernel is as before');
    expect(readdirSync(join(engine.settings.execRoot, 'netns'))).toEqual([]);
    // The test's own pipes come and go; two hundred sandboxes would leave hundreds.
    expect(readdirSync('/proc/self/fd').length).toBeLessThan(descriptors + 20);
    expect(engine.database.all('SELECT * FROM network_endpoint')).toEqual([]);
    expect(engine.database.all('SELECT * FROM network_sandbox')).toEqual([]);
  }, 400_000);

  it('five hundred connections and disconnections of running containers leave nothing', async () => {
    await engine.network('dual', { enableIpv6: true, ipam: { subnet: '10.213.25.0/24' } });
    const ids = await Promise.all([0, 1, 2, 3].map(() => engine.open()));
    for (const id of ids) await engine.join('one', id);
    // A bridge has its link-local address from its first port on.
    const first = await engine.run('dual');
    await eventually(async () => (await kernelState()).includes('route fe80::/64'), 'the bridge has its link-local address');
    await engine.stop(first.id);
    const before = await kernelState();
    const inSandbox = async (id: string): Promise<string> =>
      inside(engine.path(id), 'sh', '-c', 'ip addr | grep -v valid_lft; ip route; ip -6 route');
    const sandboxes = await Promise.all(ids.map(inSandbox));
    const rows = (): unknown => engine.database.all('SELECT * FROM network_endpoint');
    const [endpoints, descriptors] = [rows(), readdirSync('/proc/self/fd').length];
    // Twice as many as the subnet has addresses: none may be kept.
    await Promise.all(
      ids.map(async (id, lane) => {
        for (let round = 0; round < 125; round++) {
          await engine.join('dual', id, { ports: round % 5 === 0 ? [tcpPort(80, 18650 + lane)] : [], gatewayPriority: round % 2 });
          await engine.service.leave('dual', id);
        }
      }),
    );
    await eventually(async () => (await kernelState()) === before, 'the kernel is as before');
    await eventually(async () => (await Promise.all(ids.map(inSandbox))).join() === sandboxes.join(), 'the sandboxes are as before');
    expect(await ask(engine.path(ids[0] ?? ''), `${ids[1]?.slice(0, 12)}`)).toMatch(/^10\.213\.20\./);
    expect(Object.keys((await engine.service.inspect('dual')).containers)).toEqual([]);
    expect(rows()).toEqual(endpoints);
    // The test's own pipes come and go; five hundred rounds would leave hundreds.
    expect(readdirSync('/proc/self/fd').length).toBeLessThan(descriptors + 20);
    for (const id of ids) await engine.stop(id);
    await engine.service.remove('dual');
  }, 400_000);

  it('the end of all networks is the state of the beginning', async () => {
    const second = new NetworkEngine({ instance: 'nett0002', bridge: 'gnett1', bip: '10.213.100.1/24' });
    const before = await kernelState();
    await second.start();
    await second.network('brief', { ipam: { subnet: '10.213.101.0/24' } });
    await second.run('brief', { ports: [tcpPort(80, 18700)] });
    // A daemon beside it that starts takes nothing of it away.
    await engine.restart();
    expect((await host.net.links('')).some(({ name }) => name === 'gnett1')).toBe(true);
    await second.destroy();
    await eventually(async () => (await kernelState()) === before, 'only the first engine is left');
    expect(pristine).not.toBe(before);
  });
});
