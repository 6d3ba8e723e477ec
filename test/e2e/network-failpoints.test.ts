import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { kernelState } from './audit.js';
import { whyNoEngine } from './engine.js';
import { openTrial, type Trial } from './trial.js';

const why = whyNoEngine();
if (why) console.log(`skipped: a daemon that dies while networks change: ${why}`);

describe.skipIf(why)('a daemon that dies while networks change', () => {
  let trial: Trial;

  const run = (...args: string[]) => trial.engine.docker(args, { timeout: 120_000 });
  const ok = (...args: string[]): string => {
    const { code, stdout, stderr } = run(...args);
    expect(code === 0 ? '' : stderr).toBe('');
    return stdout.trim();
  };
  const up = (point = ''): Promise<void> => trial.engine.up(point === '' ? {} : { GANTRY_FAILPOINT: point });
  const dies = async (...args: string[]): Promise<void> => {
    expect(run(...args).code).not.toBe(0);
    await trial.engine.down();
    expect(await trial.engine.ping()).toBe(false);
  };
  const networks = (): string => ok('network', 'ls', '-q', '-f', 'type=custom');
  const links = (): readonly string[] => kernelState(trial.engine.footprint).links;
  const rules = async (): Promise<number> =>
    (await trial.engine.api<{ Ports: unknown[] }>('GET', '/gantry/v1/networks/exposed')).body.Ports.length;

  beforeAll(async () => {
    trial = await openTrial();
    await trial.engine.down();
  });

  afterAll(async () => {
    if (trial) expect(await trial.close()).toEqual({});
  });

  it('leaves no half network behind', async () => {
    for (const point of ['network.create.allocated', 'network.create.made']) {
      await up(point);
      await dies('network', 'create', '--ipv6', '--subnet', '10.199.8.0/24', 'half');
      await up();
      expect(networks()).toBe('');
      // Its subnet is free again, and nothing of it is in the kernel.
      ok('network', 'create', '--subnet', '10.199.8.0/24', 'whole');
      ok('network', 'rm', 'whole');
      expect(links()).toHaveLength(1);
      await trial.engine.down();
    }
  });

  it('can remove what it had begun to remove', async () => {
    await up('network.remove.deleted');
    ok('network', 'create', 'going');
    await dies('network', 'rm', 'going');
    await up();
    if (networks() !== '') ok('network', 'rm', 'going');
    expect(networks()).toBe('');
    await trial.engine.down();
  });

  it('takes a cut-off start back with link, address and port', async () => {
    await up();
    ok('network', 'create', '--subnet', '10.199.9.0/24', 'one');
    ok('create', '--name', 'web', '--network', 'one', '--ip', '10.199.9.7', '-p', '127.0.0.1:18999:80', trial.image, 'sleep', '1000');
    await trial.engine.down();
    for (const point of ['addressed', 'recorded', 'joined', 'configured', 'published']) {
      await up(`network.join.${point}`);
      await dies('start', 'web');
      await up();
      expect(await rules()).toBe(0);
      expect(links().filter((name) => name.startsWith('veth'))).toEqual([]);
      ok('start', 'web');
      expect(ok('port', 'web')).toBe('80/tcp -> 127.0.0.1:18999');
      ok('stop', '-t', '0', 'web');
      await trial.engine.down();
    }
  });

  it('knows which ports are published after a change that was cut off', async () => {
    await up('network.publish.published');
    ok('start', 'web');
    expect(trial.engine.gantry(['port', 'add', 'web', '127.0.0.1:18998:81']).code).not.toBe(0);
    await trial.engine.down();
    await up();
    expect(ok('port', 'web')).toBe('80/tcp -> 127.0.0.1:18999');
    expect(trial.engine.gantry(['port', 'add', 'web', '127.0.0.1:18998:81']).stderr).toBe('');
    expect(ok('port', 'web')).toBe('80/tcp -> 127.0.0.1:18999\n81/tcp -> 127.0.0.1:18998');
    expect(trial.engine.gantry(['network', 'exposed']).stdout).toMatch(/web +one +81\/tcp +127\.0\.0\.1:18998 +this host only/);
    expect(trial.engine.gantry(['port', 'rm', 'web', '80']).stderr).toBe('');
    expect(trial.engine.gantry(['port', 'rm', 'web', '80']).stderr).toContain('no such published port: 80/tcp');
    expect(ok('port', 'web')).toBe('81/tcp -> 127.0.0.1:18998');
    expect(trial.engine.gantry(['port', 'add', 'web', '127.0.0.1:18997:80', '127.0.0.1:18998:82']).stderr).toContain('already allocated');
    ok('stop', '-t', '0', 'web');
    ok('start', 'web');
    expect(ok('port', 'web')).toBe('81/tcp -> 127.0.0.1:18998');
    await trial.engine.down();
  });

  it('leaves no process for a port that was never published, and one for a port that is', async () => {
    const proxies = (): number => kernelState(trial.engine.footprint).processes.filter((name) => name.startsWith('gantry-proxy ')).length;
    const page = async (): Promise<string> => (await fetch('http://[::1]:18996/')).text();
    await up('network.join.published');
    ok('create', '--name', 'six', '-p', '18996:80', trial.image, 'httpd', '-f', '-p', '80', '-h', '/var/www');
    await dies('start', 'six');
    await up();
    expect(proxies()).toBe(0);
    ok('start', 'six');
    expect(proxies()).toBe(1);
    expect(ok('port', 'six')).toBe('80/tcp -> 0.0.0.0:18996\n80/tcp -> [::]:18996');
    await expect.poll(() => page().catch(String), { timeout: 60_000 }).toBe('served by gantry\n');
    await trial.engine.down('SIGKILL');
    expect(await page()).toBe('served by gantry\n');
    await up();
    expect(await page()).toBe('served by gantry\n');
    expect(proxies()).toBe(1);
    ok('rm', '-f', 'six');
    await expect.poll(proxies, { timeout: 60_000 }).toBe(0);
    await trial.engine.down();
  }, 200_000);

  it('lets a container leave that had begun to', async () => {
    for (const point of ['unpublished', 'left', 'deleted']) {
      await up(`network.leave.${point}`);
      await dies('network', 'disconnect', 'one', 'web');
      await up();
      // Whichever side of the step: it is in the network whole, or it can be connected again.
      run('network', 'disconnect', 'one', 'web');
      ok('network', 'connect', '--ip', '10.199.9.7', 'one', 'web');
      expect(links().filter((name) => name.startsWith('veth'))).toHaveLength(1);
      await trial.engine.down();
    }
    await up();
    ok('rm', '-f', 'web');
    ok('network', 'rm', 'one');
  });
});
