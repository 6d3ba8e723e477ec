import { type ChildProcess, spawn } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Dockerd, whyNoDockerd } from '../fakes/dockerd.js';
import { PYTHON } from '../fakes/recorder.js';
import { eventually } from '../network/probe.js';
import { whyNoEngine } from './engine.js';
import { openTrial, type Trial } from './trial.js';

const collector = fileURLToPath(new URL('../plugins/collector.py', import.meta.url));
const reason = whyNoEngine() ?? (existsSync(PYTHON) ? undefined : 'needs python3');
const noPeer = reason ?? whyNoDockerd();
const SLOW = { timeout: 240_000 };

interface Entry {
  readonly method: string;
  readonly empty: boolean;
  readonly error?: string;
  readonly seen?: { status: number; type: string; text: string };
}

/** Whole lines: the last one may still be on its way. */
const journalOf = (file: string): Entry[] =>
  existsSync(file)
    ? readFileSync(file, 'utf8')
        .split('\n')
        .slice(0, -1)
        .map((line) => JSON.parse(line) as Entry)
    : [];

/** One value, by the name with its labels as they are written. */
const valueOf = (text: string, series: string): number => {
  const line = text.split('\n').find((one) => one.startsWith(`${series} `));
  if (line === undefined) throw new Error(`${series} is not there:\n${text}`);
  return Number(line.slice(series.length + 1));
};

const typesOf = (text: string): Map<string, string> =>
  new Map([...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name = '', type = '']) => [name, type]));

/** A managed plugin that runs the host's Python. */
function collectorFolder(where: string, journals: string): string {
  const rootfs = join(where, 'rootfs');
  for (const folder of ['usr', 'journals', 'run/docker/plugins', 'proc', 'sys', 'dev', 'etc', 'tmp'])
    mkdirSync(join(rootfs, folder), { recursive: true });
  for (const link of ['bin', 'lib', 'lib64', 'sbin']) symlinkSync(`usr/${link}`, join(rootfs, link));
  copyFileSync(collector, join(rootfs, 'collector.py'));
  writeFileSync(
    join(where, 'config.json'),
    JSON.stringify({
      description: 'carries metrics away',
      interface: { types: ['docker.metricscollector/1.0'], socket: 'collector.sock' },
      entrypoint: [PYTHON, '/collector.py', '--socket', '/run/docker/plugins/collector.sock', '--journal', '/journals/managed'],
      network: { type: 'none' },
      mounts: [
        { source: '/usr', destination: '/usr', type: 'bind', options: ['rbind', 'ro'] },
        { source: journals, destination: '/journals', type: 'bind', options: ['rbind', 'rw'] },
      ],
    }),
  );
  return where;
}

describe.skipIf(reason)(`the engine's metrics${reason ? ` (skipped: ${reason})` : ''}`, SLOW, () => {
  let trial: Trial;
  let scratch: string;
  const children: ChildProcess[] = [];

  const docker = (...args: string[]): string => {
    const result = trial.engine.docker(args);
    expect(result, `docker ${args.join(' ')}\n${result.stderr}\n${trial.engine.log.slice(-1500)}`).toMatchObject({ code: 0 });
    return result.stdout.trim();
  };
  const served = (): string => [...trial.engine.log.matchAll(/serving metrics address=(\S+)/g)].at(-1)?.[1] ?? '';
  const scrape = async (): Promise<string> => {
    const response = await fetch(`http://${served()}/metrics`);
    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8');
    return response.text();
  };

  beforeAll(async () => {
    scratch = mkdtempSync('/tmp/gantry-metrics-');
    trial = await openTrial(['--metrics-addr', '127.0.0.1:0']);
    mkdirSync(trial.engine.pluginFolder, { recursive: true });
  }, 240_000);
  afterAll(async () => {
    for (const child of children) child.kill('SIGKILL');
    if (trial) expect(await trial.close()).toEqual({});
    rmSync(scratch, { recursive: true, force: true });
  }, 240_000);

  it('say what runs and how long it took', async () => {
    const before = await scrape();
    const count = (text: string, action: string): number =>
      valueOf(text, `engine_daemon_container_actions_seconds_count{action="${action}"}`);
    docker('run', '-d', '--name', 'measured', '--network', 'none', trial.image, 'sleep', '1000');
    const during = await scrape();
    expect(valueOf(during, 'engine_daemon_container_states_containers{state="running"}')).toBe(1);
    docker('rm', '-f', 'measured');
    // A time is noted once its answer has gone out, of which the client may know first.
    await eventually(async () => count(await scrape(), 'delete') > count(before, 'delete'), 'the removal was noted');
    const after = await scrape();
    for (const action of ['create', 'start', 'delete']) expect(count(after, action) - count(before, action), action).toBe(1);
    expect(valueOf(after, 'engine_daemon_container_actions_seconds_bucket{action="start",le="+Inf"}')).toBe(count(after, 'start'));
    expect(valueOf(after, 'engine_daemon_container_actions_seconds_sum{action="start"}')).toBeGreaterThan(0);
    expect(valueOf(after, 'engine_daemon_container_states_containers{state="running"}')).toBe(0);
    expect(valueOf(after, 'engine_daemon_events_total')).toBeGreaterThan(valueOf(before, 'engine_daemon_events_total'));
    expect(after).toMatch(/^engine_daemon_engine_info\{architecture="\w+",.*version=".+"\} 1$/m);
    expect((await fetch(`http://${served()}/`)).status).toBe(404);
    expect((await fetch(`http://${served()}/metrics`, { method: 'POST' })).status).toBe(405);
  });

  it('count the probes of health checks', async () => {
    const before = await scrape();
    docker(
      'run',
      '-d',
      '--name',
      'ill',
      '--network',
      'none',
      '--health-cmd',
      'false',
      '--health-interval',
      '100ms',
      trial.image,
      'sleep',
      '1000',
    );
    await eventually(
      async () =>
        valueOf(await scrape(), 'engine_daemon_health_checks_failed_total') > valueOf(before, 'engine_daemon_health_checks_failed_total'),
      'a probe failed',
    );
    const after = await scrape();
    expect(valueOf(after, 'engine_daemon_health_checks_total')).toBeGreaterThanOrEqual(
      valueOf(after, 'engine_daemon_health_checks_failed_total'),
    );
    docker('rm', '-f', 'ill');
  });

  it('are carried away by a managed plugin, also after the daemon was killed, which the plugin outlives', async () => {
    const journal = join(scratch, 'managed');
    const began = (): Entry[] => journalOf(journal).filter(({ method }) => method === 'MetricsCollector.StartMetrics');
    docker('plugin', 'create', 'carrier', collectorFolder(join(scratch, 'plugin'), scratch));
    docker('plugin', 'enable', 'carrier');
    await eventually(async () => began().length > 0, 'the collector was told to begin');
    expect(began()[0]).toMatchObject({ empty: true, seen: { status: 200 } });
    expect(began()[0]?.seen?.text).toContain('engine_daemon_engine_info{');
    expect(docker('plugin', 'inspect', '-f', '{{.State.Status}}', 'carrier')).toBe('running');

    const told = began().length;
    await trial.engine.down('SIGKILL');
    await trial.engine.up();
    await eventually(async () => began().length > told, 'the collector was told to begin by the next daemon');
    // The same process, and the socket of the new daemon.
    expect(began().at(-1)).toMatchObject({ seen: { status: 200 } });
    expect(
      valueOf(
        began().at(-1)?.seen?.text ?? '',
        'engine_daemon_plugin_calls_total{plugin="carrier:latest",method="MetricsCollector.StartMetrics"}',
      ),
    ).toBe(0);

    docker('plugin', 'disable', 'carrier');
    expect(journalOf(journal).at(-1)).toMatchObject({ method: 'MetricsCollector.StopMetrics', empty: true });
    docker('plugin', 'rm', 'carrier');
  });

  it('are carried away by a plugin that listens by itself, in each of its lives', async () => {
    const journal = join(scratch, 'own');
    const socket = join(trial.engine.pluginFolder, 'own.sock');
    const metrics = join(trial.engine.folder, 'run/metrics.sock');
    const began = (): Entry[] => journalOf(journal).filter(({ method }) => method === 'MetricsCollector.StartMetrics');
    const start = async (): Promise<ChildProcess> => {
      rmSync(socket, { force: true });
      const child = spawn(PYTHON, [collector, '--socket', socket, '--metrics', metrics, '--journal', journal], { stdio: 'inherit' });
      children.push(child);
      await eventually(async () => existsSync(socket), 'the collector listens');
      return child;
    };
    const first = await start();
    // Met when somebody looks over all plugins.
    await eventually(async () => {
      docker('volume', 'ls');
      return began().length > 0;
    }, 'the collector was told to begin');
    expect(began()[0]).toMatchObject({ seen: { status: 200 } });
    const ended = new Promise((done) => first.once('exit', done));
    first.kill('SIGKILL');
    await ended;
    const told = began().length;
    const second = await start();
    await eventually(async () => began().length > told, 'the collector was told again after it was started anew');
    second.kill('SIGKILL');
    rmSync(socket, { force: true });
  });

  it.skipIf(noPeer)(`have dockerd's names and types${noPeer ? ` (skipped: ${noPeer})` : ''}`, async () => {
    // An address of the loopback network that no other test takes.
    const address = `127.${64 + ((process.pid >> 16) & 63)}.${(process.pid >> 8) & 255}.${process.pid & 255}:9323`;
    const peer = await Dockerd.start(['--experimental', '--metrics-addr', address]);
    try {
      const theirs = typesOf(await (await fetch(`http://${address}/metrics`)).text());
      const ours = typesOf(await scrape());
      // Not of this engine: dockerd's builder, Swarm's manager, Go's runtime, and what its HTTP library and log copier count of themselves.
      const foreign = /^(builder|swarm|go|etcd|promhttp|http|logger|grpc)_/;
      const compared = [...theirs].filter(([name]) => !foreign.test(name));
      expect(compared.length).toBeGreaterThan(10);
      expect([...ours].filter(([name]) => theirs.has(name))).toEqual(expect.arrayContaining(compared));
    } finally {
      await peer.stop();
    }
  });
});
