import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { host } from '@gantry/native/index.js';
import { Etcd, whyNoEtcd } from '@gantry/test/cluster/etcd.js';
import { certificates } from '@gantry/test/fakes/certificates.js';
import { silentLog } from '@gantry/test/fakes/settings.js';
import { ClusterService } from './cluster-service.js';
import { parseCluster } from './cluster-settings.js';

const reason = whyNoEtcd();
if (reason) console.log(`skipped the tests of the cluster store: ${reason}`);

async function eventually(check: () => boolean | Promise<boolean>, what: string): Promise<void> {
  for (let attempt = 0; attempt < 1800; attempt++) {
    if (await check()) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`did not happen in time: ${what}`);
}

/** A wire to the store on which connections can go silent without ending, as behind a firewall that has forgotten them. */
class Wire {
  private readonly pairs = new Set<readonly [Socket, Socket]>();

  private constructor(private readonly server: Server) {}

  static async to(target: number): Promise<Wire> {
    const server = createServer();
    const wire = new Wire(server);
    server.on('connection', (near) => {
      const far = connect(target, '127.0.0.1');
      const pair = [near, far] as const;
      wire.pairs.add(pair);
      near.pipe(far);
      far.pipe(near);
      for (const [socket, other] of [pair, [far, near] as const])
        socket
          .on('error', () => undefined)
          .on('close', () => {
            other.destroy();
            wire.pairs.delete(pair);
          });
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return wire;
  }

  get port(): number {
    return (this.server.address() as { port: number }).port;
  }

  /** Nothing comes back on the connections that there are; new ones work. */
  mute(): void {
    for (const [near, far] of this.pairs) {
      far.unpipe(near);
      far.resume();
    }
  }

  async close(): Promise<void> {
    for (const pair of this.pairs) for (const socket of pair) socket.destroy();
    this.server.close();
    await once(this.server, 'close');
  }
}

describe.skipIf(reason)('the cluster store', { timeout: 240_000 }, () => {
  let folder: string;
  let etcd: Etcd;
  let open: ClusterService[] = [];

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'gantry-cluster-'));
    etcd = await Etcd.start();
    open = [];
  });

  afterEach(async () => {
    for (const service of open) await service.close();
    await etcd.destroy();
    rmSync(folder, { recursive: true });
  });

  const quick = { 'discovery.heartbeat': '1', 'discovery.ttl': '10' };

  const join_ = async (
    name: string,
    address: string,
    options: Record<string, string> = quick,
    store = etcd.url,
  ): Promise<ClusterService> => {
    const settings = parseCluster(store, address, options);
    if (!settings) throw new Error('no settings');
    const service = await ClusterService.open(settings, join(folder, name), host.net, silentLog);
    open.push(service);
    return service;
  };

  const ready = async (name: string, address: string): Promise<ClusterService> => {
    const service = await join_(name, address);
    await eventually(() => service.entries('members/').has(`members/${address}`), `${name} is announced`);
    return service;
  };

  it('changes several keys at once or none', async () => {
    const one = await ready('one', '192.0.2.1');
    expect(await one.commit([{ key: 'a', is: 'absent' }], [{ op: 'put', key: 'a', value: '1' }])).toBe(true);
    expect(await one.commit([{ key: 'a', is: 'absent' }], [{ op: 'put', key: 'b', value: '1' }])).toBe(false);
    expect(await one.get('b')).toBeUndefined();
    const { revision } = (await one.get('a')) ?? { revision: '' };
    expect(await one.commit([{ key: 'a', revision }], [{ op: 'put', key: 'a', value: '2' }])).toBe(true);
    expect(await one.commit([{ key: 'a', revision }], [{ op: 'put', key: 'a', value: '3' }])).toBe(false);
    expect(await one.commit([{ prefix: 'c/', is: 'empty' }], [{ op: 'put', key: 'c/1', value: '' }])).toBe(true);
    expect(await one.commit([{ prefix: 'c/', is: 'empty' }], [{ op: 'put', key: 'c/2', value: '' }])).toBe(false);
    expect([...(await one.list('c/')).keys()]).toEqual(['c/1']);
    expect(await one.commit([], [{ op: 'delete', key: 'c/1' }])).toBe(true);
    expect((await one.list('')).has('c/1')).toBe(false);
  });

  it('tells each engine what others announce, and that it is gone', async () => {
    const [one, two] = [await ready('one', '192.0.2.1'), await ready('two', '192.0.2.2')];
    const seen: string[] = [];
    two.observe('x/', (changes) => seen.push(...changes.map(({ key, value }) => `${key}=${value ?? 'gone'}`)));
    await one.announce('x/1', { word: 'hello' });
    await eventually(() => seen.length === 1, 'the other one hears');
    expect(JSON.parse(seen[0]?.slice('x/1='.length) ?? '')).toEqual({ word: 'hello', member: one.member });
    await expect(two.announce('x/1', {})).rejects.toMatchObject({ kind: 'conflict' });
    one.withdraw('x/1');
    await eventually(() => seen.includes('x/1=gone'), 'the other one hears again');
    await two.announce('x/1', {});
    await expect(one.announce('x/2', {}, [{ key: 'absent', is: 'present' }])).rejects.toMatchObject({ kind: 'not-found' });
  });

  it('reads more than one answer of the store may hold, in the order of changes', async () => {
    const one = await ready('one', '192.0.2.1');
    const keys = Array.from({ length: 2500 }, (_, i) => `big/${String(2499 - i).padStart(4, '0')}`);
    for (let i = 0; i < keys.length; i += 100)
      await one.commit(
        [],
        keys.slice(i, i + 100).map((key) => ({ op: 'put', key, value: key }) as const),
      );
    const listed = [...(await one.list('big/')).keys()];
    expect(listed).toHaveLength(2500);
    expect(listed[0]?.slice(0, 6)).toBe('big/24');
    const two = await ready('two', '192.0.2.2');
    expect(two.entries('big/').size).toBe(2500);
    expect(await one.commit([], [{ op: 'delete-prefix', prefix: 'big/' }])).toBe(true);
    await eventually(() => two.entries('big/').size === 0, 'all of them are gone');
  });

  it('announces at once for an engine that has just started', async () => {
    const one = await join_('one', '192.0.2.1');
    await one.announce('x/1', {});
    expect(etcd.keys('/test/x/')).toEqual(['/test/x/1']);
  });

  it('forgets an engine that died, and not one that only stopped while containers go on', async () => {
    const [one, two] = [await ready('one', '192.0.2.1'), await ready('two', '192.0.2.2')];
    await one.announce('x/1', {});
    await one.close();
    expect(etcd.remaining(['/test/x/1'])[0]).toBeGreaterThan(3600);
    expect([...two.entries('x/').keys()]).toEqual(['x/1']);
    // The next life announces what is still there, and the rest goes.
    const again = await ready('one', '192.0.2.1');
    expect(again.member).toBe(one.member);
    again.announceAgain('x/2', {});
    again.settle();
    await eventually(() => [...two.entries('x/').keys()].join() === 'x/2', 'the new state is known');
    again.withdraw('x/2');
    await eventually(() => two.entries('x/').size === 0, 'nothing is left');
    await again.close();
    await eventually(() => !two.entries('members/').has('members/192.0.2.1'), 'the member is gone');
  });

  it('lets nobody take an address that another engine has', async () => {
    const one = await ready('one', '192.0.2.1');
    const thief = await join_('thief', '192.0.2.1');
    await thief.whenKnown();
    await new Promise((resolve) => setTimeout(resolve, 1500));
    expect(JSON.parse(thief.entries('members/').get('members/192.0.2.1') ?? '')).toMatchObject({ member: one.member });
  });

  it('says clearly that the store is away, hanging or dead, and goes on when it is back', async () => {
    const [one, two] = [await ready('one', '192.0.2.1'), await ready('two', '192.0.2.2')];
    await one.announce('x/1', {});
    await etcd.kill('SIGSTOP');
    await expect(one.announce('x/2', {})).rejects.toMatchObject({
      kind: 'unavailable',
      message: expect.stringContaining(`cluster store ${etcd.url} does not answer`),
    });
    await etcd.kill();
    await expect(one.get('x')).rejects.toMatchObject({ kind: 'unavailable', message: /ECONNREFUSED/ });
    one.withdraw('x/1');
    two.announceAgain('x/3', {});
    expect([...one.entries('x/').keys()]).toEqual(['x/1']);
    await etcd.up();
    await eventually(() => [...one.entries('x/').keys()].join() === 'x/3', 'both states are one again');
    await eventually(() => one.connected && two.connected, 'both are connected');
    await one.announce('x/4', {});
    await eventually(() => two.entries('x/').has('x/4'), 'changes are followed again');
  });

  it('announces everything again when its lease was lost', async () => {
    const one = await ready('one', '192.0.2.1');
    await one.announce('x/1', {});
    for (const id of etcd.ctl('lease', 'list').stdout.split('\n').slice(1)) if (id !== '') etcd.ctl('lease', 'revoke', id);
    await eventually(() => etcd.keys('/test/x').length === 1 && one.entries('x/').size === 1, 'it is there again');
  });

  it('reads all again when the store has compacted what it missed', async () => {
    const [one, two] = [await ready('one', '192.0.2.1'), await ready('two', '192.0.2.2')];
    await one.commit([], [{ op: 'put', key: 'y/1', value: '' }]);
    await eventually(() => two.entries('y/').size === 1, 'the first is known');
    await etcd.kill();
    await etcd.up();
    etcd.ctl('del', '/test/y/1');
    etcd.ctl('put', '/test/y/2', 'z');
    const { stdout } = etcd.ctl('endpoint', 'status', '--write-out=json');
    const [{ Status }] = JSON.parse(stdout) as [{ Status: { header: { revision: number } } }];
    etcd.ctl('compact', String(Status.header.revision));
    await eventually(() => [...two.entries('y/').keys()].join() === 'y/2', 'the state is the store’s');
  });

  it('finds out that a stream which is still open tells of nothing any more', async () => {
    const wire = await Wire.to(etcd.port);
    try {
      const one = await join_('one', '192.0.2.1', quick, `etcd://127.0.0.1:${wire.port}/test`);
      const two = await ready('two', '192.0.2.2');
      await eventually(() => one.entries('members/').size === 2, 'it follows');
      await two.commit([], [{ op: 'put', key: 'y/1', value: '1' }]);
      await eventually(() => one.entries('y/').size === 1, 'the first is known');
      const told: string[] = [];
      one.observe('y/', (changes) => told.push(...changes.map(({ key, value }) => `${key}=${value ?? 'gone'}`)));
      wire.mute();
      await two.commit([], [{ op: 'put', key: 'y/2', value: '2' }]);
      await eventually(() => told.includes('y/2=2'), 'what was put is known');
      wire.mute();
      await two.commit([], [{ op: 'delete', key: 'y/1' }]);
      await eventually(() => told.includes('y/1=gone'), 'what was removed is gone');
      expect(told).toEqual(['y/1=1', 'y/2=2', 'y/1=gone']);
    } finally {
      for (const service of open.splice(0)) await service.close();
      await wire.close();
    }
  });

  it('takes away what came to the store after it was taken back', async () => {
    const one = await ready('one', '192.0.2.1');
    await one.announce('x/1', {});
    const [lease = ''] = etcd.ctl('lease', 'list').stdout.split('\n').slice(1);
    etcd.ctl('put', '--lease', lease, '/test/x/late', JSON.stringify({ member: one.member }));
    await eventually(() => etcd.keys('/test/x/').join() === '/test/x/1', 'only what is announced is there');
  });

  it('asks another member of the store when one does not answer', async () => {
    const silent = new Set<Socket>();
    const deaf = createServer((socket) => silent.add(socket)).listen(0, '127.0.0.1');
    await once(deaf, 'listening');
    const { port } = deaf.address() as { port: number };
    const one = await join_('one', '192.0.2.1', quick, `etcd://127.0.0.1:${port},${etcd.endpoint}/test`);
    await eventually(() => one.connected, 'it is connected');
    await one.commit([], [{ op: 'put', key: 'a', value: '1' }]);
    for (const socket of silent) socket.destroy();
    deaf.close();
  });

  it('talks TLS, and shows who it is', async () => {
    certificates(folder);
    const path = (name: string): string => join(folder, name);
    const secure = await Etcd.start({ tls: { cert: path('localhost.pem'), key: path('localhost.key'), ca: path('ca.pem') } });
    try {
      const tls = { ...quick, 'kv.cacertfile': path('ca.pem'), 'kv.certfile': path('client.pem'), 'kv.keyfile': path('client.key') };
      const one = await join_('one', '192.0.2.1', tls, secure.url);
      await eventually(() => one.connected, 'it is connected');
      await one.announce('x/1', {});
      await eventually(() => one.entries('x/').size === 1, 'it is followed');
      const nobody = await join_('nobody', '192.0.2.2', { ...quick, 'kv.cacertfile': path('ca.pem') }, secure.url);
      await expect(nobody.get('a')).rejects.toMatchObject({ kind: 'unavailable' });
      const plain = await join_('plain', '192.0.2.3', quick, secure.url);
      await expect(plain.get('a')).rejects.toMatchObject({ kind: 'unavailable' });
      mkdirSync(path('other'));
      certificates(path('other'));
      const misled = await join_('misled', '192.0.2.4', { ...tls, 'kv.cacertfile': path('other/ca.pem') }, secure.url);
      await expect(misled.get('a')).rejects.toMatchObject({ kind: 'unavailable', message: /certificate|self.signed|issuer/ });
      for (const service of open.splice(0)) await service.close();
    } finally {
      await secure.destroy();
    }
  });

  it('goes on with the members that are left, and leaves one that has lost the others', async () => {
    const members = await Etcd.startCluster(3);
    try {
      const all = `etcd://${members.map(({ endpoint }) => endpoint).join()}/test`;
      const [one, two] = [await join_('one', '192.0.2.1', quick, all), await join_('two', '192.0.2.2', quick, all)];
      await eventually(() => one.entries('members/').size === 2 && two.entries('members/').size === 2, 'both are known to both');
      let round = 0;
      const works = async (): Promise<void> => {
        const key = `x/${++round}`;
        await eventually(
          () =>
            one.announce(key, {}).then(
              () => true,
              () => false,
            ),
          `announcing works in round ${round}`,
        );
        await eventually(() => two.entries('x/').has(key), `the other one hears of it in round ${round}`);
      };
      await works();
      // Whichever of them is followed or leads is among those that end.
      for (const member of members) {
        await member.kill();
        await works();
        await member.up();
        await works();
      }
      // One alone says that it has no leader: that is no store.
      await members[1]?.kill();
      await members[2]?.kill();
      await eventually(
        () =>
          one.get('x/1').then(
            () => false,
            () => true,
          ),
        'half a store is none',
      );
      await eventually(() => !one.connected && !two.connected, 'and is not followed');
      await Promise.all([members[1]?.up(), members[2]?.up()]);
      await works();
      expect([...two.entries('x/').keys()].toSorted()).toEqual(Array.from({ length: round }, (_, i) => `x/${i + 1}`).toSorted());
    } finally {
      for (const service of open.splice(0)) await service.close();
      for (const member of members) await member.destroy();
    }
  });

  it('has a user and a password where the store asks for them', async () => {
    for (const command of ['user add root:secret', 'user grant-role root root', 'auth enable']) etcd.ctl(...command.split(' '));
    writeFileSync(join(folder, 'password'), 'secret\n', { mode: 0o600 });
    writeFileSync(join(folder, 'wrong'), 'guess\n');
    const user = { ...quick, 'kv.username': 'root', 'kv.passwordfile': join(folder, 'password') };
    const one = await join_('one', '192.0.2.1', user);
    await eventually(() => one.entries('members/').size === 1, 'it is a member');
    await one.commit([], [{ op: 'put', key: 'a', value: '1' }]);
    const stranger = await join_('stranger', '192.0.2.9');
    await expect(stranger.get('a')).rejects.toMatchObject({ kind: 'forbidden', message: /refuses this engine/ });
    const liar = await join_('liar', '192.0.2.8', { ...user, 'kv.passwordfile': join(folder, 'wrong') });
    await expect(liar.get('a')).rejects.toMatchObject({ kind: 'forbidden' });
    // A member that came back knows no token of before.
    await etcd.kill();
    await etcd.up();
    await eventually(async () => (await one.get('a').catch(() => undefined))?.value === '1', 'a new token was asked for');
  });
});
