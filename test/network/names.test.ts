import { createSocket } from 'node:dgram';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { decode, encode } from 'dns-packet';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { host } from '@gantry/native/index.js';
import { NetworkEngine } from './engine.js';
import { inOwnNamespace } from './namespace.js';
import { ask, eventually, inside } from './probe.js';

/** Processes whose name server serves the engine. */
function nameServers(engine: NetworkEngine): number[] {
  const socket = join(engine.settings.execRoot, 'dns', 'control.sock');
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        const args = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
        return args[0] === 'gantry-dns' && args[1] === socket;
      } catch {
        return false;
      }
    })
    .map(Number);
}

/** Answers every question that comes to the socket with one address; returns what ends it. */
function serveName({ fd }: { fd: number }, address: string): () => void {
  const server = createSocket('udp4');
  server.on('message', (message, from) => {
    const { id, questions = [] } = decode(message);
    const answers = [{ type: 'A' as const, name: questions[0]?.name ?? '', ttl: 60, data: address }];
    server.send(encode({ type: 'response', ...(id !== undefined && { id }), flags: 0x0180, questions, answers }), from.port, from.address);
  });
  server.bind({ fd });
  return () => server.close();
}

inOwnNamespace(import.meta.url, () => {
  const engine = new NetworkEngine();
  let web: { id: string; path: string; address: string };
  let client: { id: string; path: string; address: string };

  beforeAll(async () => {
    await engine.start();
    await engine.network('one', { ipam: { subnet: '10.213.20.0/24' } });
    web = await engine.run('one', { containerName: 'web', aliases: ['www'] });
    client = await engine.run('one', { containerName: 'client', links: ['web:store'] });
  });

  afterAll(() => engine.destroy());

  describe('names', () => {
    it('are answered by one process without rights', () => {
      const [pid, ...more] = nameServers(engine);
      expect(more).toEqual([]);
      const status = readFileSync(`/proc/${pid}/status`, 'utf8');
      expect(status).toMatch(/^Uid:\s+65534\s+65534\s+65534\s+65534$/m);
      expect(status).toMatch(/^CapEff:\s+0+$/m);
      expect(status).toMatch(/^CapPrm:\s+0+$/m);
      expect(status).toMatch(/^NoNewPrivs:\s+1$/m);
    });

    it('are answered while the daemon is away, by the process that the next daemon finds', async () => {
      const before = nameServers(engine);
      await engine.die();
      expect(await ask(client.path, 'www')).toBe(web.address);
      expect(await ask(client.path, 'store')).toBe(web.address);
      expect(await ask(client.path, 'ghost')).toBe('ENOTFOUND');
      await engine.start();
      expect(nameServers(engine)).toEqual(before);
      expect(await ask(client.path, 'www')).toBe(web.address);
      const late = await engine.run('one', { containerName: 'late' });
      expect(await ask(client.path, 'late')).toBe(late.address);
      expect(await ask(late.path, 'web')).toBe(web.address);
      await engine.stop(late.id);
      expect(await ask(client.path, 'late')).toBe('ENOTFOUND');
    });

    it('come back in every sandbox when the process is killed', async () => {
      const [killed = 0] = nameServers(engine);
      process.kill(killed, 'SIGKILL');
      await eventually(async () => nameServers(engine).some((pid) => pid !== killed), 'another process');
      await eventually(async () => (await ask(client.path, 'www')) === web.address, 'names are back');
      expect(await ask(web.path, 'client')).toBe(client.address);
    });

    it('come back with the daemon when the process was killed while it was away', async () => {
      await engine.die();
      for (const pid of nameServers(engine)) process.kill(pid, 'SIGKILL');
      await engine.start();
      expect(await ask(client.path, 'www')).toBe(web.address);
    });

    it('that no protocol could carry hurt nobody', async () => {
      const odd = await engine.run('one', { containerName: 'odd', aliases: ['a b', 'x\nnetwork y z', 'ok', 'ü', 'a'.repeat(300)] });
      expect(await ask(client.path, 'ok')).toBe(odd.address);
      expect(await ask(client.path, 'www')).toBe(web.address);
      await engine.stop(odd.id);
    });

    it('of many addresses come whole, by TCP where a datagram is too small, and in turn', async () => {
      const crowd = await Promise.all(Array.from({ length: 40 }, () => engine.run('one', { aliases: ['crowd'] })));
      const answer = (await ask(client.path, 'crowd')).split(',');
      expect(answer.toSorted()).toEqual(crowd.map(({ address }) => address).toSorted());
      for (const { id } of crowd) await engine.stop(id);
      expect(await ask(client.path, 'crowd')).toBe('ENOTFOUND');
    });

    it('start with another address each time', async () => {
      const twins = await Promise.all([0, 1].map(() => engine.run('one', { aliases: ['twin'] })));
      const script = `const r = new (require('node:dns').Resolver)(); r.setServers(['127.0.0.11']);
        r.resolve4('twin', (_, a) => r.resolve4('twin', (_, b) => console.log(a[0] === b[0] ? 'same' : 'other')));`;
      expect((await inside(client.path, process.execPath, '-e', script)).trim()).toBe('other');
      for (const { id } of twins) await engine.stop(id);
    });

    it('of strangers are asked of the next server when one is away', async () => {
      // The host, as containers of the network see it; nobody is at the first one's port.
      await host.net.configure('', [{ op: 'add-address', link: 'lo', address: '10.213.99.1/32' }]);
      const upstream = serveName(await host.net.openSocket('', 'udp', '10.213.99.1', 53), '192.0.2.7');
      const id = await engine.open('private', ['10.213.20.1', '10.213.99.1']);
      await engine.join('one', id);
      expect(await ask(engine.path(id), 'far.example.org')).toBe('192.0.2.7');
      upstream();
      expect(await ask(engine.path(id), 'gone.example.org')).toMatch(/ESERVFAIL|ECONNREFUSED/);
      await engine.stop(id);
    });

    it('are asked of a server that only the container reaches, from where the container is', async () => {
      const id = await engine.open('private', ['127.0.0.1']);
      await engine.join('one', id);
      const own = serveName(await host.net.openSocket(engine.path(id), 'udp', '127.0.0.1', 53), '192.0.2.8');
      const elsewhere = serveName(await host.net.openSocket('', 'udp', '127.0.0.1', 53), '192.0.2.66');
      expect(await ask(engine.path(id), 'own.example.org')).toBe('192.0.2.8');
      // Also after the daemon came back, and when another process took over.
      await engine.restart();
      expect(await ask(engine.path(id), 'own.example.org')).toBe('192.0.2.8');
      const [killed = 0] = nameServers(engine);
      process.kill(killed, 'SIGKILL');
      await eventually(async () => (await ask(engine.path(id), 'own.example.org')) === '192.0.2.8', 'names are back');
      own();
      elsewhere();
      await engine.stop(id);
    });

    it('are asked of a server from another port each time, many at once, and nothing outlives the container', async () => {
      await host.net.configure('', [{ op: 'add-address', link: 'lo', address: '10.213.99.2/32' }]);
      const { fd } = await host.net.openSocket('', 'udp', '10.213.99.2', 53);
      const silent = createSocket('udp4');
      const ports = new Set<number>();
      silent.on('message', (_, from) => ports.add(from.port));
      silent.bind({ fd });
      const [pid = 0] = nameServers(engine);
      const descriptors = (of: number): number => readdirSync(`/proc/${of}/fd`).length;
      const before = descriptors(pid);
      const id = await engine.open('private', ['10.213.99.2']);
      await engine.join('one', id);
      const script = `const socket = require('node:dgram').createSocket('udp4');
        const names = Array.from({ length: 100 }, (_, i) => Buffer.concat([Buffer.from([i >> 8, i & 255, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 3]),
          Buffer.from(String(100 + i)), Buffer.from([7]), Buffer.from('example'), Buffer.from([0, 0, 1, 0, 1])]));
        socket.connect(53, '127.0.0.11', async () => { for (const name of names) await new Promise((done) => socket.send(name, done)); process.exit(0); });`;
      await inside(engine.path(id), process.execPath, '-e', script);
      await eventually(async () => ports.size >= 20, 'questions arrive from ports of their own');
      // Those that wait for an answer hold sockets in the namespace; it ends all the same.
      await engine.stop(id);
      await eventually(async () => descriptors(pid) <= before, 'the sockets are closed');
      silent.close();
    });

    it('are answered after any bytes', async () => {
      const before = nameServers(engine);
      const script = `const { randomBytes } = require('node:crypto'); const net = require('node:net');
        const socket = require('node:dgram').createSocket('udp4');
        const good = Buffer.from('123401000001000000000000037777770000010001', 'hex');
        socket.connect(53, '127.0.0.11', () => {
          let left = 5000;
          const next = () => {
            if (left-- === 0) return done();
            const message = Math.random() < 0.5 ? randomBytes(Math.floor(Math.random() * 600)) : Buffer.from(good);
            for (let i = 0; i < 4; i++) if (message.length > 0) message[Math.floor(Math.random() * message.length)] = Math.floor(Math.random() * 256);
            socket.send(message, next);
          };
          next();
        });
        socket.on('error', () => undefined);
        const done = () => {
          const one = net.connect(53, '127.0.0.11', () => { one.write(randomBytes(70000)); setTimeout(() => process.exit(0), 200); });
          one.on('error', () => undefined);
        };`;
      await inside(client.path, process.execPath, '-e', script);
      expect(nameServers(engine)).toEqual(before);
      expect(await ask(client.path, 'www')).toBe(web.address);
    });

    it('need no process when no sandbox is left', async () => {
      await engine.stop(web.id);
      await engine.stop(client.id);
      await engine.die();
      await eventually(async () => nameServers(engine).length === 0, 'the process has ended');
      await engine.start();
    });
  });
});
