import { createHash, randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { host } from '@gantry/native/index.js';
import { NetworkEngine, tcpPort } from './engine.js';
import { inOwnNamespace } from './namespace.js';
import { BRIEFLY, eventually, inside, reach, reachUdp, serve, serveUdp } from './probe.js';

const HOST = 'fd00:d::1';
const NEIGHBOUR = 'fd00:d::2';

/** Processes that serve the engine's ports. */
function proxies(engine: NetworkEngine): number[] {
  const socket = join(engine.settings.execRoot, 'network', 'bridge', 'proxy.sock');
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        const args = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
        return args[0] === 'gantry-proxy' && args[1] === socket;
      } catch {
        return false;
      }
    })
    .map(Number);
}

const descriptors = (pid: number): number => readdirSync(`/proc/${pid}/fd`).length;

/** A TCP server in a namespace that gives back what it gets, and ends when the client has. */
async function echo(namespace: string, port: number): Promise<() => void> {
  const { fd } = await host.net.openSocket(namespace, 'tcp', '0.0.0.0', port);
  const server = createServer({ allowHalfOpen: true }, (socket) => socket.on('error', () => undefined).pipe(socket));
  server.listen({ fd });
  await once(server, 'listening');
  return () => server.close();
}

async function open(port: number): Promise<Socket> {
  const socket = connect({ host: '::1', port, allowHalfOpen: true });
  await once(socket, 'connect');
  return socket;
}

/** What comes back for `text`. */
async function ask(socket: Socket, text: string): Promise<string> {
  const [answer] = (await Promise.all([once(socket, 'data'), socket.write(text)]))[0] as [Buffer];
  return String(answer);
}

inOwnNamespace(import.meta.url, () => {
  const engine = new NetworkEngine();
  const neighbour = join(engine.root, 'neighbour');
  const stops: (() => void)[] = [];

  beforeAll(async () => {
    mkdirSync(engine.root, { recursive: true });
    await host.net.createNamespace(neighbour);
    await host.net.configure('', [
      { op: 'add-veth', name: 'wire0', peer: { name: 'wire1', namespace: neighbour } },
      { op: 'sysctl', key: 'ipv6/conf/wire0/accept_dad', value: '0' },
      { op: 'sysctl', key: 'ipv6/conf/wire0/disable_ipv6', value: '0' },
      { op: 'set-link', name: 'wire0', up: true },
      { op: 'add-address', link: 'wire0', address: `${HOST}/64` },
      { op: 'add-address', link: 'wire0', address: 'fe80::d:1/64' },
      { op: 'add-address', link: 'wire0', address: '10.213.200.1/24' },
    ]);
    await host.net.configure(neighbour, [
      { op: 'sysctl', key: 'ipv6/conf/wire1/accept_dad', value: '0' },
      { op: 'sysctl', key: 'ipv6/conf/wire1/disable_ipv6', value: '0' },
      { op: 'set-link', name: 'wire1', up: true },
      { op: 'add-address', link: 'wire1', address: `${NEIGHBOUR}/64` },
      { op: 'add-address', link: 'wire1', address: 'fe80::d:2/64' },
      { op: 'add-address', link: 'wire1', address: '10.213.200.2/24' },
    ]);
    await engine.start();
    await engine.network('four', { ipam: { subnet: '10.213.41.0/24' } });
    await engine.network('dual', { enableIpv6: true, configs: [{ subnet: '10.213.42.0/24' }, { subnet: 'fd00:213:42::/64' }] });
    await engine.network('inner', { internal: true, ipam: { subnet: '10.213.43.0/24' } });
  });

  afterAll(async () => {
    for (const stop of stops) stop();
    await host.net.configure('', [{ op: 'delete-link', name: 'wire0' }]);
    await host.net.removeNamespace(neighbour);
    await engine.destroy();
    await eventually(async () => proxies(engine).length === 0, 'no process is left');
  });

  const web = async (network: string, name: string, ...ports: ReturnType<typeof tcpPort>[]) => {
    const container = await engine.run(network, { containerName: name, ports });
    for (const address of network === 'dual' ? ['0.0.0.0', '::'] : ['0.0.0.0']) stops.push(await serve(container.path, address, 80, name));
    return container;
  };
  const published = (id: string, network: string) =>
    (engine.service.endpointsOf(id)[network]?.published ?? []).map(({ hostIp, hostPort }) => `${hostIp} ${hostPort}`);

  describe('a published port', () => {
    it('needs no process where the kernel does all of it', async () => {
      const first = await web('four', 'plain', tcpPort(80, 18300, '127.0.0.1'), tcpPort(80, 18301, '0.0.0.0'));
      const second = await web('dual', 'six', tcpPort(80, 18300, HOST));
      expect(await reach('', '127.0.0.1', 18300)).toMatch(/^plain /);
      expect(await reach(neighbour, HOST, 18300)).toBe(`six ${NEIGHBOUR}`);
      expect(proxies(engine)).toEqual([]);
      await engine.stop(first.id);
      await engine.stop(second.id);
    });

    it('answers on ::1 and to link-local senders, which no rule can turn', async () => {
      const { id } = await web('dual', 'dual', tcpPort(80, 18302));
      expect(published(id, 'dual')).toEqual(['0.0.0.0 18302', ':: 18302']);
      // Never as the loopback: a server may trust that.
      expect(await reach('', '::1', 18302)).toBe('dual fd00:213:42::1');
      expect(await reach('', '127.0.0.1', 18302)).toMatch(/^dual /);
      expect(await reach(neighbour, HOST, 18302)).toBe(`dual ${NEIGHBOUR}`);
      expect(await reach(neighbour, 'fe80::d:1%wire1', 18302)).toBe('dual fd00:213:42::1');
      await engine.stop(id);
      expect(await reach('', '::1', 18302, BRIEFLY)).toBe('nothing');
    });

    it('leads from IPv6 to a container that has none', async () => {
      const { id } = await web('four', 'four', tcpPort(80, 18303));
      expect(published(id, 'four')).toEqual(['0.0.0.0 18303', ':: 18303']);
      for (const [from, address] of [
        ['', '::1'],
        ['', HOST],
        [neighbour, HOST],
        [neighbour, 'fe80::d:1%wire1'],
      ] as const)
        expect(await reach(from, address, 18303)).toBe('four 10.213.41.1');
      expect(await reach(neighbour, '10.213.200.1', 18303)).toBe('four 10.213.200.2');
      await engine.stop(id);
    });

    it('is on one IPv6 address where one is asked for, and for nobody on an internal network', async () => {
      const loop = await web('dual', 'loop', tcpPort(80, 18304, '::1'));
      const four = await web('four', 'one', tcpPort(80, 18305, HOST.toUpperCase()));
      expect(await reach('', '::1', 18304)).toMatch(/^loop /);
      expect(await reach(neighbour, HOST, 18304, BRIEFLY)).toBe('nothing');
      expect(await reach(neighbour, HOST, 18305)).toMatch(/^one /);
      expect(await reach('', '::1', 18305, BRIEFLY)).toBe('nothing');
      const inner = await web('inner', 'inner', tcpPort(80, 18306));
      expect(published(inner.id, 'inner')).toEqual([]);
      expect(await reach('', '::1', 18306, BRIEFLY)).toBe('nothing');
      for (const { id } of [loop, four, inner]) await engine.stop(id);
      expect(proxies(engine)).toEqual([]);
    });

    it('that is taken on IPv6 is refused, and leaves nothing behind', async () => {
      const { fd } = host.net.reservePort('tcp', '::', 18307);
      const id = await engine.open();
      await expect(engine.join('four', id, { ports: [tcpPort(80, 18308), tcpPort(80, 18307)] })).rejects.toThrow(
        /port is already allocated/,
      );
      for (const address of ['0.0.0.0', '::']) host.net.closeSocket(host.net.reservePort('tcp', address, 18308).fd);
      host.net.closeSocket(fd);
      await engine.join('four', id, { ports: [tcpPort(80, 18308), tcpPort(80, 18307)] });
      const other = await engine.open();
      await expect(engine.join('four', other, { ports: [tcpPort(80, 18307, '::1')] })).rejects.toThrow(/port is already allocated/);
      await engine.stop(id);
      await engine.stop(other);
    });

    it('of UDP answers from the address that was asked', async () => {
      const { id, path } = await engine.run('four', { ports: [{ protocol: 'udp', containerPort: 53, hostPort: 18309 }] });
      stops.push(await serveUdp(path, '0.0.0.0', 53, 'dns'));
      await host.net.configure('', [{ op: 'add-address', link: 'wire0', address: 'fd00:d::9/64' }]);
      expect(await reachUdp('', '::1', 18309)).toBe('dns 10.213.41.1');
      // bash connects its sockets: an answer from another address would not arrive.
      for (const address of [HOST, 'fd00:d::9', 'fe80::d:1%wire1'])
        expect(await reachUdp(neighbour, address, 18309)).toBe('dns 10.213.41.1');
      await engine.stop(id);
    });

    it('of UDP keeps room for new clients, however many there were', async () => {
      const { id, path } = await engine.run('four', { ports: [{ protocol: 'udp', containerPort: 53, hostPort: 18310 }] });
      stops.push(await serveUdp(path, '0.0.0.0', 53, 'dns'));
      const [pid = 0] = proxies(engine);
      const before = descriptors(pid);
      const clients = await Promise.all(
        Array.from({ length: 1_300 }, async () => {
          const socket = createSocket('udp6');
          await new Promise<void>((done) => socket.bind(0, '::1', done));
          await new Promise((done) => socket.send('hello', 18310, '::1', done));
          return socket;
        }),
      );
      // What came all at once may have been too much for the socket.
      await eventually(async () => (await reachUdp('', '::1', 18310, BRIEFLY)) === 'dns 10.213.41.1', 'one more client is answered');
      expect(descriptors(pid)).toBeLessThanOrEqual(before + 1_024);
      for (const socket of clients) socket.close();
      await engine.stop(id);
    });
  });

  describe('the proxy', () => {
    let held: { id: string; path: string };
    let neighbourly: { id: string };

    beforeAll(async () => {
      held = await engine.run('four', { containerName: 'held', ports: [tcpPort(80, 18320), tcpPort(81, 18321)] });
      neighbourly = await web('four', 'neighbourly', tcpPort(80, 18322));
      stops.push(await echo(held.path, 80));
    });

    it('is one process without rights', () => {
      const [pid, ...more] = proxies(engine);
      expect(more).toEqual([]);
      const status = readFileSync(`/proc/${pid}/status`, 'utf8');
      expect(status).toMatch(/^Uid:\s+65534\s+65534\s+65534\s+65534$/m);
      expect(status).toMatch(/^CapEff:\s+0+$/m);
      expect(status).toMatch(/^NoNewPrivs:\s+1$/m);
      expect(status).toMatch(/^Threads:\s+1$/m);
    });

    it('passes everything on, both ways at once, and each end when it comes', async () => {
      const data = randomBytes(48 * 1024 * 1024);
      const socket = await open(18320);
      const hash = createHash('sha256');
      let size = 0;
      socket.on('data', (chunk) => {
        hash.update(chunk);
        size += chunk.length;
      });
      const ended = once(socket, 'end');
      socket.end(data);
      await ended;
      expect(size).toBe(data.length);
      expect(hash.digest('hex')).toBe(createHash('sha256').update(data).digest('hex'));
    });

    it('keeps nothing of connections that ended, however they did', async () => {
      const [pid = 0] = proxies(engine);
      const sockets = await Promise.all(Array.from({ length: 200 }, () => open(18320)));
      for (const [index, socket] of sockets.entries()) expect(await ask(socket, `hello ${index}`)).toBe(`hello ${index}`);
      const during = descriptors(pid);
      for (const [index, socket] of sockets.entries()) {
        socket.on('error', () => undefined);
        if (index % 2) socket.resetAndDestroy();
        else socket.end().resume();
      }
      // Pipes that hold nothing are kept for the next.
      await eventually(async () => descriptors(pid) <= during - 400, 'the sockets are closed');
    });

    it('resets a connection that the container refuses', async () => {
      const socket = connect(18321, '::1');
      await expect(once(socket, 'close')).rejects.toMatchObject({ code: 'ECONNRESET' });
    });

    it('serves while the daemon is away, and is found by the next one', async () => {
      const before = proxies(engine);
      const socket = await open(18320);
      expect(await ask(socket, 'one')).toBe('one');
      await engine.die();
      expect(await ask(socket, 'two')).toBe('two');
      expect(await reach('', '::1', 18322)).toMatch(/^neighbourly /);
      expect(() => host.net.reservePort('tcp', '::', 18322)).toThrow(/in use/);
      await engine.start();
      expect(proxies(engine)).toEqual(before);
      expect(await ask(socket, 'three')).toBe('three');
      expect(await reach('', '::1', 18322)).toMatch(/^neighbourly /);
      expect(published(held.id, 'four')).toEqual(['0.0.0.0 18320', ':: 18320', '0.0.0.0 18321', ':: 18321']);
      socket.destroy();
    });

    it('goes on with the ports that stay when others of the container change', async () => {
      const socket = await open(18320);
      expect(await ask(socket, 'one')).toBe('one');
      await engine.service.publish('four', held.id, [tcpPort(80, 18320), tcpPort(80, 18323)]);
      expect(await ask(socket, 'two')).toBe('two');
      expect(() => host.net.reservePort('tcp', '::', 18323)).toThrow(/in use/);
      host.net.closeSocket(host.net.reservePort('tcp', '::', 18321).fd);
      const broken = expect(once(socket, 'close')).rejects.toMatchObject({ code: 'ECONNRESET' });
      await engine.service.publish('four', held.id, [tcpPort(80, 18324)]);
      await broken;
      await expect(engine.service.publish('four', held.id, [tcpPort(80, 18325), tcpPort(80, 18322)])).rejects.toThrow(/already allocated/);
      const again = await open(18324);
      expect(await ask(again, 'still')).toBe('still');
      again.destroy();
    });

    it('is started again when it is killed', async () => {
      const [killed = 0] = proxies(engine);
      process.kill(killed, 'SIGKILL');
      await eventually(async () => proxies(engine).some((pid) => pid !== killed), 'another process');
      await eventually(async () => (await reach('', '::1', 18322)).startsWith('neighbourly '), 'the port is back');
    });

    it('comes with the daemon when it was killed while that was away', async () => {
      await engine.die();
      for (const pid of proxies(engine)) process.kill(pid, 'SIGKILL');
      await engine.start();
      expect(await reach('', '::1', 18322)).toMatch(/^neighbourly /);
      expect(proxies(engine)).toHaveLength(1);
    });

    it('takes away what died with the daemon', async () => {
      await engine.die();
      engine.live.delete(held.id);
      await engine.start();
      host.net.closeSocket(host.net.reservePort('tcp', '::', 18324).fd);
      expect(await reach('', '::1', 18322)).toMatch(/^neighbourly /);
    });

    it('ends with the last port', async () => {
      await engine.stop(neighbourly.id);
      await eventually(async () => proxies(engine).length === 0, 'the process has ended');
    });

    it('does nothing where it is switched off', async () => {
      const off = new NetworkEngine({ instance: 'nett0003', bridge: 'gnett3', bip: '10.213.9.1/24', userlandProxy: false });
      await off.start();
      await off.network('plain', { ipam: { subnet: '10.213.44.0/24' } });
      await off.network('both', { enableIpv6: true, configs: [{ subnet: '10.213.45.0/24' }, { subnet: 'fd00:213:45::/64' }] });
      const { id } = await off.run('plain', { ports: [tcpPort(80, 18330)] });
      const ports = off.service.endpointsOf(id)['plain']?.published ?? [];
      expect(ports.map(({ hostIp }) => hostIp)).toEqual(['0.0.0.0']);
      const other = await off.open();
      await expect(off.join('plain', other, { ports: [tcpPort(80, 18331, '::1')] })).rejects.toThrow(/no IPv6 address/);
      await expect(off.join('both', other, { ports: [tcpPort(80, 18331, '::1')] })).rejects.toThrow(/userland proxy/);
      await off.join('both', other, { ports: [tcpPort(80, 18331)] });
      // Refused, not silent: a client goes on to 127.0.0.1.
      await expect(inside('', 'timeout', '30', 'bash', '-c', 'exec 3<>/dev/tcp/::1/18331')).rejects.toThrow(/refused/);
      expect(proxies(off)).toEqual([]);
      await off.destroy();
    });
  });
});
