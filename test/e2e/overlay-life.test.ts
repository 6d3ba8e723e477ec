import { readdirSync } from 'node:fs';
import { spawnSync } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { whyNoEtcd } from '../cluster/etcd.js';
import { eventually, IMAGE, Lab, type LabHost } from '../cluster/lab.js';
import { whyNoEngine } from './engine.js';

const reason = whyNoEngine() ?? whyNoEtcd();
/** GANTRY_LEAK_ROUNDS for a longer run. */
const ROUNDS = Number(process.env['GANTRY_LEAK_ROUNDS'] ?? 30);

/** What a life of networks over several hosts leaves behind, on the host where something dies and on the one that looks on. */
describe.skipIf(reason)(
  `overlay networks in a long life${reason ? ` (skipped: ${reason})` : ''}`,
  { timeout: 900_000 + ROUNDS * 5000 },
  () => {
    let lab: Lab;
    let one: LabHost;
    let two: LabHost;

    const run = (host: LabHost, ...args: string[]) => host.engine.docker(args, { timeout: 120_000 });
    const ok = (host: LabHost, ...args: string[]): string => {
      const { code, stdout, stderr } = run(host, ...args);
      expect(code, `docker ${args.join(' ')} on ${host.name}: ${stderr}\n${host.engine.log.slice(-2000)}`).toBe(0);
      return stdout.trim();
    };
    const knows = (host: LabHost, network: string): boolean => run(host, 'network', 'inspect', network).code === 0;
    /** Beside what is always there. */
    const keys = (): string[] => lab.etcd.keys().filter((key) => !/\/members\/|\/ipam\/epoch$/.test(key));
    const links = (host: LabHost): string[] =>
      spawnSync('nsenter', [`--net=${host.path}`, '--', 'ip', '-o', 'link'], { encoding: 'utf8' })
        .stdout.split('\n')
        .map((line) => line.split(': ')[1]?.split('@')[0] ?? '')
        .filter((name) => name !== '')
        .toSorted();
    /** The daemon goes on until it comes to `point`, where it is killed. */
    const until = async (point: string): Promise<void> => {
      await one.engine.down();
      await one.engine.up({ GANTRY_FAILPOINT: point });
    };
    const dies = async (...args: string[]): Promise<void> => {
      expect(run(one, ...args).code, `docker ${args.join(' ')}`).not.toBe(0);
      await one.engine.down();
      await one.engine.up();
    };
    const pings = (host: LabHost, from: string, to: string): boolean =>
      run(host, 'exec', from, 'ping', '-c', '1', '-W', '3', to).code === 0;

    beforeAll(async () => {
      lab = await Lab.open();
      one = await lab.add('one');
      two = await lab.add('two');
    }, 300_000);

    afterAll(async () => {
      if (lab) expect(await lab.close()).toEqual({});
    }, 300_000);

    it.each(['network.create.allocated', 'network.create.made'])('leave nothing of one whose making was cut off at %s', async (point) => {
      await until(point);
      await dies('network', 'create', '-d', 'overlay', '--subnet', '10.88.0.0/24', 'half');
      await eventually(() => keys().length === 0, 'its addresses and its number are free');
      for (const host of [one, two]) expect(knows(host, 'half')).toBe(false);
      ok(two, 'network', 'create', '-d', 'overlay', '--subnet', '10.88.0.0/24', 'half');
      await eventually(() => knows(one, 'half'), 'the one that died knows it');
      ok(one, 'network', 'rm', 'half');
      await eventually(() => !knows(two, 'half') && keys().length === 0, 'it is gone everywhere');
    });

    it('are whole when their making was cut off after others were told', async () => {
      await until('network.create.shared');
      await dies('network', 'create', '-d', 'overlay', 'told');
      for (const host of [one, two]) await eventually(() => knows(host, 'told'), `${host.name} knows it`);
      for (const host of [one, two]) ok(host, 'run', '-d', '--name', host.name, '--network', 'told', IMAGE, 'sleep', '1000');
      await eventually(() => pings(one, 'one', 'two') && pings(two, 'two', 'one'), 'they find each other');
      for (const host of [one, two]) ok(host, 'rm', '-f', host.name);
      await eventually(() => run(two, 'network', 'rm', 'told').code === 0, 'it can be removed');
      await eventually(() => !knows(one, 'told') && keys().length === 0, 'it is gone everywhere');
    });

    it.each(['network.remove.shared', 'network.remove.deleted'])('are gone when their removal was cut off at %s', async (point) => {
      await until(point);
      ok(one, 'network', 'create', '-d', 'overlay', 'going');
      await eventually(() => knows(two, 'going'), 'the other one knows it');
      await dies('network', 'rm', 'going');
      for (const host of [one, two]) await eventually(() => !knows(host, 'going'), `${host.name} has forgotten it`);
      await eventually(() => keys().length === 0, 'its addresses and its number are free');
    });

    it('take back a container whose start was cut off at any step, with its address', async () => {
      ok(two, 'network', 'create', '-d', 'overlay', '--subnet', '10.88.0.0/24', 'net');
      await eventually(() => knows(one, 'net'), 'the other one knows it');
      ok(two, 'run', '-d', '--name', 'witness', '--network', 'net', IMAGE, 'sleep', '10000');
      const pristine = links(one);
      ok(one, 'create', '--name', 'web', '--network', 'net', '--ip', '10.88.0.77', IMAGE, 'sleep', '10000');
      for (const point of ['addressed', 'recorded', 'joined', 'configured']) {
        await until(`network.join.${point}`);
        await dies('start', 'web');
        await eventually(() => !keys().some((key) => key.endsWith('/10.88.0.77')), `nothing is announced of it after ${point}`);
        expect(links(one)).toEqual(pristine);
        expect(pings(two, 'witness', '10.88.0.77')).toBe(false);
        ok(one, 'start', 'web');
        await eventually(() => pings(two, 'witness', 'web'), `it is reached after ${point}`);
        ok(one, 'stop', '-t', '0', 'web');
      }
    });

    it('let a container leave whose leaving was cut off', async () => {
      ok(one, 'start', 'web');
      await until('network.leave.deleted');
      await dies('network', 'disconnect', 'net', 'web');
      // Whichever side of the step: it is in the network whole, or it can be connected again.
      run(one, 'network', 'disconnect', 'net', 'web');
      await eventually(() => !keys().some((key) => key.endsWith('/10.88.0.77')), 'its address is free');
      ok(one, 'network', 'connect', '--ip', '10.88.0.77', 'net', 'web');
      await eventually(() => pings(two, 'witness', 'web'), 'it is reached again');
    });

    it(`hold nothing more after ${ROUNDS} rounds of connecting and disconnecting`, async () => {
      ok(one, 'network', 'disconnect', 'net', 'web');
      const neighbours = (): number => {
        const [file = ''] = readdirSync(`${two.engine.folder}/run/network/overlay`);
        const inside = `--net=${two.engine.folder}/run/network/overlay/${file}`;
        return spawnSync('nsenter', [inside, '--', 'sh', '-c', 'ip neigh show dev vxlan0; bridge fdb show dev vxlan0'], {
          encoding: 'utf8',
        }).stdout.split('\n').length;
      };
      const state = (): unknown => ({
        keys: keys().toSorted(),
        links: [links(one), links(two)],
        neighbours: neighbours(),
      });
      const descriptors = (): number[] => [one, two].map(({ engine }) => readdirSync(`/proc/${engine.pid}/fd`).length);
      const round = async (): Promise<void> => {
        for (const [verb, body] of [
          ['connect', { Container: 'web', EndpointConfig: {} }],
          ['disconnect', { Container: 'web', Force: false }],
        ] as const) {
          const { status, body: answer } = await one.engine.api('POST', `/networks/net/${verb}`, body);
          expect(status, JSON.stringify(answer)).toBe(200);
        }
      };
      for (let i = 0; i < 5; i++) await round();
      // The witness's name, place and address, and the gateway's address.
      await eventually(() => keys().filter((key) => /[/](endpoints|leases)[/]/.test(key)).length === 4, 'only the witness is there');
      const before = state();
      const open = descriptors();
      for (let i = 0; i < ROUNDS; i++) await round();
      await eventually(() => JSON.stringify(state()) === JSON.stringify(before), 'all is as before').catch(() =>
        expect(state()).toEqual(before),
      );
      // Connections to the store come and go with what there is to say.
      await eventually(() => descriptors().every((count, i) => count <= (open[i] ?? 0) + 8), 'no descriptor stays open');
    });

    it('leave nothing when they are removed', async () => {
      ok(one, 'rm', '-f', 'web');
      ok(two, 'rm', '-f', 'witness');
      await eventually(() => run(one, 'network', 'rm', 'net').code === 0, 'it can be removed');
      await eventually(() => !knows(two, 'net') && keys().length === 0, 'it is gone everywhere');
    });
  },
);
