import { spawnSync } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { whyNoEtcd } from '../cluster/etcd.js';
import { eventually, IMAGE, Lab, type LabHost } from '../cluster/lab.js';
import { whyNoEngine } from './engine.js';

const reason = whyNoEngine() ?? whyNoEtcd();

/** Networks over three hosts: what containers of each reach, and what becomes of it when a part dies. */
describe.skipIf(reason)(`overlay networks${reason ? ` (skipped: ${reason})` : ''}`, { timeout: 600_000 }, () => {
  let lab: Lab;
  let one: LabHost;
  let two: LabHost;
  let three: LabHost;

  const run = (host: LabHost, ...args: string[]) => host.engine.docker(args, { timeout: 120_000 });

  const ok = (host: LabHost, ...args: string[]): string => {
    const result = run(host, ...args);
    expect(result.code, `docker ${args.join(' ')} on ${host.name}: ${result.stderr}\n${host.engine.log.slice(-2000)}`).toBe(0);
    return result.stdout.trim();
  };

  /** A container that answers on port 80 with its name, always: one listener for all that ask. */
  const serve = (host: LabHost, network: string, name: string, ...flags: string[]): string =>
    ok(host, 'run', '-d', '--name', name, '--network', network, ...flags, IMAGE, 'nc', '-ll', '-p', '80', '-e', 'echo', name);

  /** What `from` gets from port 80 of `to`; '' when nothing. */
  const reach = (host: LabHost, from: string, to: string, seconds = 3): string =>
    run(host, 'exec', from, 'timeout', String(seconds), 'nc', '-w', String(seconds), to, '80').stdout.trim();

  /** That it answers with its name `as` in the end; a machine that does much else may lose the one or other try. */
  const reaches = (host: LabHost, from: string, to: string, as = to): Promise<void> =>
    eventually(() => reach(host, from, to, 10) === as, `${from} reaches ${to}`);

  const health = (host: LabHost): string =>
    /^ Cluster Health: (.*)$/m.exec(host.engine.gantry(['info'], { timeout: 120_000 }).stdout)?.[1] ?? '';

  const knows = (host: LabHost, network: string): boolean => run(host, 'network', 'inspect', network).code === 0;

  beforeAll(async () => {
    lab = await Lab.open();
    one = await lab.add('one');
    two = await lab.add('two');
    three = await lab.add('three');
  }, 300_000);

  afterAll(async () => {
    if (lab) expect(await lab.close()).toEqual({});
  }, 300_000);

  it('are known to every host, with one subnet and one VNI', async () => {
    const id = ok(one, 'network', 'create', '-d', 'overlay', 'red');
    ok(two, 'network', 'create', '-d', 'overlay', '--subnet', '10.77.0.0/24', '--gateway', '10.77.0.1', 'blue');
    for (const host of lab.hosts) await eventually(() => knows(host, 'red') && knows(host, 'blue'), `${host.name} knows both networks`);
    const show = (host: LabHost, name: string): string =>
      ok(host, 'network', 'inspect', '-f', '{{.Id}} {{.Scope}} {{.Driver}} {{(index .IPAM.Config 0).Subnet}} {{.Options}}', name);
    for (const name of ['red', 'blue']) expect(new Set(lab.hosts.map((host) => show(host, name))).size).toBe(1);
    expect(show(two, 'red')).toMatch(new RegExp(`^${id} global overlay 10\\.0\\.0\\.0/24 map\\[.*vxlanid_list:4096`));
    expect(show(three, 'blue')).toContain('vxlanid_list:4097');
    const again = run(three, 'network', 'create', '-d', 'overlay', 'red');
    expect(again.stderr).toContain('network with name red already exists');
    const overlap = run(three, 'network', 'create', '-d', 'overlay', '--subnet', '10.77.0.128/25', 'green');
    expect(overlap.stderr).toContain('Pool overlaps with other one on this address space');
    expect(run(three, 'network', 'create', '-d', 'overlay', '--opt', 'mystery=1', 'green').stderr).toContain(
      'unknown option of the overlay driver',
    );
  });

  it('connect containers of all hosts by name, and keep networks apart', async () => {
    for (const network of ['red', 'blue']) for (const host of lab.hosts) serve(host, network, `${network}-${host.name}`);
    const names = ['red', 'blue'].flatMap((network) => lab.hosts.map((host) => ({ host, network, name: `${network}-${host.name}` })));
    const addresses = new Map(
      names.map(({ host, network, name }) => [name, ok(host, 'inspect', '-f', `{{.NetworkSettings.Networks.${network}.IPAddress}}`, name)]),
    );
    expect(new Set(addresses.values()).size).toBe(6);
    for (const from of names)
      for (const to of names) {
        if (from.network === to.network) await reaches(from.host, from.name, to.name);
        else expect(`${from.name} to ${to.name}: ${reach(from.host, from.name, to.name)}`).toBe(`${from.name} to ${to.name}: `);
      }
    // By address, with the name server out of the way; what is not reached costs a second each.
    for (const from of names.slice(0, 2))
      for (const to of names.filter(({ network }) => network !== from.network))
        expect(reach(from.host, from.name, addresses.get(to.name) ?? '', 1)).toBe('');
  });

  it('carry IPv6 beside IPv4 and alone, by name and by address', async () => {
    ok(one, 'network', 'create', '-d', 'overlay', '--ipv6', '--subnet', 'fd00:77::/64', 'six');
    ok(two, 'network', 'create', '-d', 'overlay', '--ipv6', '--ipv4=false', 'only-six');
    for (const host of lab.hosts) await eventually(() => knows(host, 'six') && knows(host, 'only-six'), `${host.name} knows both networks`);
    expect(ok(three, 'network', 'inspect', '-f', '{{range .IPAM.Config}}{{.Subnet}} {{end}}', 'only-six')).toMatch(/^fd\S+\/64$/);
    const addressOf = (host: LabHost, network: string, name: string): string =>
      ok(host, 'inspect', '-f', `{{(index .NetworkSettings.Networks "${network}").GlobalIPv6Address}}`, name);
    for (const network of ['six', 'only-six']) {
      for (const host of lab.hosts)
        ok(host, 'run', '-d', '--name', `${network}-${host.name}`, '--network', network, IMAGE, 'sleep', '1000');
      expect(new Set(lab.hosts.map((host) => addressOf(host, network, `${network}-${host.name}`))).size).toBe(3);
      const pings = (from: LabHost, to: string): Promise<void> =>
        eventually(
          () => run(from, 'exec', `${network}-${from.name}`, 'ping', '-6', '-c', '1', '-W', '3', to).code === 0,
          `${from.name} reaches ${to} in ${network}`,
        );
      for (const from of lab.hosts)
        for (const to of lab.hosts.filter((host) => host !== from)) {
          await pings(from, addressOf(to, network, `${network}-${to.name}`));
          await pings(from, `${network}-${to.name}`);
        }
    }
    expect(ok(one, 'exec', 'only-six-one', 'ip', '-4', '-o', 'address')).not.toContain('eth0');
    const taken = run(two, 'run', '--rm', '--network', 'six', '--ip6', addressOf(one, 'six', 'six-one'), IMAGE, 'true');
    expect(taken.stderr).toContain('Address already in use');
    // Who comes next gets no address of somebody that is there, and finds nobody at the place of one that is gone.
    const gone = addressOf(three, 'six', 'six-three');
    ok(three, 'rm', '-f', 'six-three');
    await eventually(() => run(one, 'exec', 'six-one', 'ping', '-6', '-c', '1', '-W', '1', gone).code !== 0, 'nobody is there');
    for (const host of lab.hosts) {
      const mine = ok(host, 'ps', '-aq', '--filter', 'name=six').split('\n');
      if (mine[0] !== '') ok(host, 'rm', '-f', ...mine);
    }
    await eventually(() => run(three, 'network', 'rm', 'six').code === 0, 'the first is removed');
    await eventually(() => run(three, 'network', 'rm', 'only-six').code === 0, 'the second is removed');
  });

  it('have a way out and published ports, unless they are internal', async () => {
    serve(one, 'red', 'out', '-p', '8080:80');
    expect(ok(one, 'port', 'out')).toContain('80/tcp -> 0.0.0.0:8080');
    expect(ok(one, 'inspect', '-f', '{{len .NetworkSettings.Networks}}', 'out')).toBe('1');
    await eventually(() => run(one, 'exec', 'out', 'ping', '-c', '1', '-W', '3', '10.99.0.250').code === 0, 'it reaches what is outside');
    const outside = (): string =>
      spawnSync('nsenter', [`--net=${three.path}`, '--', 'bash', '-c', `exec 3<>/dev/tcp/${one.address}/8080 && cat <&3`], {
        encoding: 'utf8',
        timeout: 10_000,
      }).stdout;
    await eventually(() => outside() === 'out\n', 'it is reached from outside');
    ok(one, 'network', 'disconnect', 'red', 'out');
    expect(ok(one, 'exec', 'out', 'ip', '-o', 'link')).not.toContain('eth');
    ok(one, 'rm', '-f', 'out');
    ok(one, 'network', 'create', '-d', 'overlay', '--internal', 'closed');
    ok(one, 'run', '-d', '--name', 'in', '--network', 'closed', IMAGE, 'sleep', '1000');
    expect(run(one, 'exec', 'in', 'ping', '-c', '1', '-W', '1', '10.99.0.250').code).not.toBe(0);
    expect(ok(one, 'exec', 'in', 'ip', 'route')).not.toContain('default');
    ok(one, 'rm', '-f', 'in');
    ok(one, 'network', 'rm', 'closed');
  });

  it('give each address once, however many hosts ask at the same time', async () => {
    const started = await Promise.all(
      Array.from({ length: 18 }, (_, i) =>
        (lab.hosts[i % 3] as LabHost).engine.dockerBeside(['run', '-d', '--network', 'red', IMAGE, 'sleep', '1000']),
      ),
    );
    expect(started.filter(({ code }) => code !== 0)).toEqual([]);
    const addresses = started.map(({ stdout }, i) =>
      ok(lab.hosts[i % 3] as LabHost, 'inspect', '-f', '{{.NetworkSettings.Networks.red.IPAddress}}', stdout.trim()),
    );
    expect(new Set(addresses).size).toBe(18);
    for (const [i, { stdout }] of started.entries()) ok(lab.hosts[i % 3] as LabHost, 'rm', '-f', stdout.trim());
  });

  it('give a chosen address to one container of all hosts, and again when that is gone', async () => {
    const chosen = (host: LabHost) =>
      run(host, 'run', '-d', '--name', `chosen-${host.name}`, '--network', 'blue', '--ip', '10.77.0.50', IMAGE, 'sleep', '1000');
    expect(chosen(one)).toMatchObject({ code: 0 });
    expect(chosen(two).stderr).toContain('Address already in use');
    ok(two, 'rm', '-f', 'chosen-two');
    ok(one, 'restart', '-t', '0', 'chosen-one');
    expect(ok(one, 'inspect', '-f', '{{.NetworkSettings.Networks.blue.IPAddress}}', 'chosen-one')).toBe('10.77.0.50');
    ok(one, 'rm', '-f', 'chosen-one');
    await eventually(() => {
      if (chosen(two).code === 0) return true;
      ok(two, 'rm', '-f', 'chosen-two');
      return false;
    }, 'the other host gets the address');
    ok(two, 'rm', '-f', 'chosen-two');
  });

  it('say clearly what the kernel cannot do', () => {
    const { code, stderr } = run(one, 'network', 'create', '-d', 'overlay', '--opt', 'encrypted', 'secret');
    if (code === 0) ok(one, 'network', 'rm', 'secret');
    else expect(stderr).toContain('encrypted overlay networks need IPsec ESP with AES-GCM in the kernel');
  });

  it('stay while anybody is on them, on whichever host', () => {
    expect(run(one, 'network', 'rm', 'blue').stderr).toContain('has active endpoints');
    for (const host of [one, two]) ok(host, 'rm', '-f', `blue-${host.name}`);
    expect(run(one, 'network', 'rm', 'blue').stderr).toContain('has active endpoints on other hosts');
  });

  it('lose the names and places of containers that end', async () => {
    await reaches(one, 'red-one', 'red-two');
    ok(two, 'rm', '-f', 'red-two');
    await eventually(() => run(one, 'exec', 'red-one', 'nslookup', 'red-two').code !== 0, 'the name is gone');
    serve(two, 'red', 'red-two', '--network-alias', 'second');
    await reaches(one, 'red-one', 'second', 'red-two');
  });

  it('go on while a daemon is away, killed or stopped, and after it is back', async () => {
    const address = ok(two, 'inspect', '-f', '{{.NetworkSettings.Networks.red.IPAddress}}', 'red-two');
    await two.engine.down('SIGKILL');
    await reaches(one, 'red-one', 'red-two');
    await two.engine.up();
    await reaches(two, 'red-two', 'red-three');
    await two.engine.down();
    // Nobody renews what a daemon that died had announced; one that stopped has left word for a day.
    const remaining = lab.etcd.remaining(lab.etcd.keys('/test/overlay/endpoints/').filter((key) => key.endsWith(`/${address}`)));
    expect(remaining).toHaveLength(1);
    expect(remaining[0]).toBeGreaterThan(3600);
    await reaches(one, 'red-one', 'red-two');
    ok(three, 'rm', '-f', 'red-three');
    serve(three, 'red', 'red-three');
    await two.engine.up();
    await reaches(two, 'red-two', 'red-three');
    await reaches(three, 'red-three', 'red-two');
  });

  it('go on while the store is away, which is told clearly, and converge when it is back', async () => {
    await lab.etcd.kill();
    await reaches(one, 'red-one', 'red-two');
    await reaches(one, 'red-one', 'red-three');
    const refused = run(one, 'run', '--rm', '--network', 'red', IMAGE, 'true');
    expect(refused.stderr).toMatch(/cluster store etcd:\/\/10\.99\.0\.250:2379\/test does not answer/);
    expect(run(one, 'network', 'create', '-d', 'overlay', 'green').stderr).toContain('does not answer');
    expect(ok(one, 'network', 'ls', '-q', '--filter', 'name=red')).not.toBe('');
    expect(ok(one, 'run', '--rm', IMAGE, 'echo', 'local')).toBe('local');
    // Leaving needs nobody.
    ok(three, 'rm', '-f', 'red-three');
    await one.engine.down('SIGKILL');
    await one.engine.up();
    await reaches(one, 'red-one', 'red-two');
    await lab.etcd.up();
    await eventually(
      () => run(three, 'run', '-d', '--name', 'red-late', '--network', 'red', IMAGE, 'sleep', '1000').code === 0,
      'new ones join',
    );
    await eventually(() => run(one, 'exec', 'red-one', 'ping', '-c', '1', '-W', '1', 'red-late').code === 0, 'the new one is reached');
    await eventually(() => run(one, 'exec', 'red-one', 'nslookup', 'red-three').code !== 0, 'the old one is gone');
    ok(three, 'rm', '-f', 'red-late');
  });

  it('are told clearly of a store that accepts and never answers', async () => {
    await lab.etcd.kill('SIGSTOP');
    const refused = run(two, 'run', '--rm', '--network', 'red', IMAGE, 'true');
    expect(refused.stderr).toContain('does not answer');
    await reaches(one, 'red-one', 'red-two');
    await eventually(() => health(two).startsWith('not followed since '), 'the engine says so');
    expect(run(two, 'info').stdout).toContain(`Cluster Store: ${lab.etcd.url}`);
    await lab.etcd.kill('SIGCONT');
    await eventually(() => run(two, 'run', '--rm', '--network', 'red', IMAGE, 'true').code === 0, 'the store is used again');
    await eventually(() => health(two) === 'ok', 'all is well');
  });

  it('forget a host that died, and take it back', async () => {
    const address = ok(two, 'inspect', '-f', '{{.NetworkSettings.Networks.red.IPAddress}}', 'red-two');
    const announced = (): boolean => lab.etcd.keys('/test/overlay/endpoints/').some((key) => key.endsWith(`/${address}`));
    await eventually(announced, 'it is announced');
    await lab.connect('two', false);
    try {
      await eventually(() => !announced(), 'its lease ends');
      await eventually(() => run(one, 'exec', 'red-one', 'nslookup', 'red-two').code !== 0, 'its names are gone');
    } finally {
      await lab.connect('two', true);
    }
    await reaches(one, 'red-one', 'red-two');
    expect(ok(two, 'inspect', '-f', '{{.NetworkSettings.Networks.red.IPAddress}}', 'red-two')).toBe(address);
  });

  it('leave nothing in the store when they are removed', async () => {
    for (const host of lab.hosts) {
      const ids = ok(host, 'ps', '-aq')
        .split('\n')
        .filter((id) => id !== '');
      if (ids.length > 0) ok(host, 'rm', '-f', ...ids);
    }
    await eventually(() => lab.etcd.keys('/test/endpoints/').length === 0, 'all endpoints are gone');
    ok(three, 'network', 'rm', 'red', 'blue');
    await eventually(() => !knows(one, 'red') && !knows(two, 'blue'), 'nobody knows them any more');
    expect(lab.etcd.keys().filter((key) => !/\/members\/|\/ipam\/(epoch|unique-local)$/.test(key))).toEqual([]);
    for (const { path } of lab.hosts) {
      const links = spawnSync('nsenter', [`--net=${path}`, '--', 'ip', '-o', 'link'], { encoding: 'utf8' }).stdout;
      expect(links).not.toMatch(/vxlan|ov[0-9a-f]{12}/);
    }
  });
});
