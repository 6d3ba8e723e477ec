import { spawn, spawnSync } from 'node:child_process';
import { appendFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { PYTHON } from '../fakes/recorder.js';
import { eventually } from '../network/probe.js';
import { Engine, whyNoEngine } from './engine.js';

const reason = whyNoEngine();
const root = fileURLToPath(new URL('../..', import.meta.url));
const gantry = join(root, 'cli/bin/gantry');

/** A command that goes on until it is told to end, with what it prints. */
class Running {
  output = '';
  private readonly child;

  constructor(args: readonly string[], env: Record<string, string> = {}) {
    this.child = spawn(gantry, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env } });
    for (const stream of [this.child.stdout, this.child.stderr]) stream.on('data', (chunk: Buffer) => (this.output += chunk.toString()));
  }

  async says(text: string): Promise<void> {
    await eventually(async () => this.output.includes(text), `${text} in ${this.output}`);
  }

  async end(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const ended = new Promise((done) => this.child.once('exit', done));
    this.child.kill('SIGTERM');
    await ended;
  }
}

describe.skipIf(reason)(`the kit for authors of plugins${reason ? ` (skipped: ${reason})` : ''}`, { timeout: 240_000 }, () => {
  let folder: string;
  let engine: Engine;
  const running: Running[] = [];

  const start = (args: readonly string[]): Running => {
    const command = new Running(args, { GANTRY_HOST: `unix://${engine.socket}` });
    running.push(command);
    return command;
  };
  const run = (...args: string[]): { code: number; stdout: string; stderr: string } => engine.gantry(args, { timeout: 180_000 });

  beforeAll(async () => {
    folder = mkdtempSync('/tmp/gantry-kit-');
    engine = await Engine.start();
    mkdirSync(engine.pluginFolder, { recursive: true });
  });
  afterEach(async () => {
    for (const command of running.splice(0)) await command.end();
  });
  afterAll(async () => {
    if (engine) expect(await engine.stop()).toEqual({});
    rmSync(folder, { recursive: true, force: true });
  });

  it.each(['volume', 'network', 'ipam', 'log', 'access', 'metrics'])(
    'begins a %s plugin that keeps its promises, with nothing to install',
    (kind) => {
      const place = join(folder, `my-${kind}`);
      expect(run('plugin', 'init', '--kind', kind, place)).toMatchObject({ code: 0 });
      const { status, stdout } = spawnSync(process.execPath, ['--test'], { cwd: place, encoding: 'utf8', timeout: 180_000 });
      expect(status, stdout).toBe(0);
      if (kind === 'volume') expect(readFileSync(join(place, 'plugin.ts'), 'utf8').split('\n').length).toBeLessThanOrEqual(40);
      expect(run('plugin', 'init', place)).toMatchObject({ code: 1, stderr: expect.stringContaining('is there and not empty') as string });
    },
  );

  it('runs a plugin from its source, shows its calls, and starts it again when a file changes', async () => {
    const place = join(folder, 'dev-volume');
    run('plugin', 'init', place);
    process.env['PLUGIN_ROOT'] = join(folder, 'dev-root');
    const dev = start(['plugin', 'dev', '--socket', join(engine.pluginFolder, 'dev-volume.sock'), place]);
    delete process.env['PLUGIN_ROOT'];
    await dev.says('dev-volume listens on');
    const made = engine.docker(['volume', 'create', '-d', 'dev-volume', 'seen']);
    expect(made, made.stderr + dev.output).toMatchObject({ code: 0 });
    await dev.says('VolumeDriver.Create  200');
    appendFileSync(join(place, 'plugin.ts'), '\n');
    await dev.says('plugin.ts changed');
    await eventually(async () => engine.docker(['volume', 'rm', 'seen']).code === 0, 'the plugin is back');
    await dev.says('VolumeDriver.Remove  200');
  });

  it('checks any plugin by its socket, and says with its exit code whether it is fine', () => {
    const socket = join(folder, 'checked.sock');
    const recorder = `exec ${PYTHON} ${join(root, 'test/plugins/recorder.py')} --socket ${socket} --state ${join(folder, 'checked')} --calls ${join(folder, 'calls')} --kinds VolumeDriver >/dev/null`;
    const good = run('plugin', 'check', '--run', recorder, '--format', 'tap', socket);
    expect(good, good.stdout).toMatchObject({ code: 0 });
    expect(good.stdout).toContain('ok 11 - VolumeDriver: finds its volumes again after it was killed');
    const report = join(folder, 'report.xml');
    const bad = run('plugin', 'check', '--format', 'junit', '--output', report, join(folder, 'nobody.sock'));
    expect(bad.code).toBe(1);
    expect(readFileSync(report, 'utf8')).toContain('failures="1"');
  });

  it('shows the calls to a plugin as they are made, records them, and repeats them', async () => {
    const place = join(folder, 'traced');
    run('plugin', 'init', place);
    process.env['PLUGIN_ROOT'] = join(folder, 'traced-root');
    const socket = join(engine.pluginFolder, 'traced.sock');
    const dev = start(['plugin', 'dev', '--socket', socket, place]);
    delete process.env['PLUGIN_ROOT'];
    await eventually(
      async () => existsSync(socket) && engine.docker(['volume', 'create', '-d', 'traced', 'one']).code === 0,
      'the plugin serves',
    );
    const file = join(folder, 'recording');
    const trace = start(['plugin', 'trace', '--record', file, 'traced']);
    await eventually(async () => {
      engine.docker(['volume', 'inspect', 'one']);
      return trace.output.includes('VolumeDriver.Get');
    }, 'a call was shown');
    engine.docker(['volume', 'create', '-d', 'traced', 'two']);
    await trace.says('VolumeDriver.Create');
    await trace.end();
    const differs = run('plugin', 'replay', file, socket);
    expect(differs, differs.stdout + differs.stderr + dev.output).toMatchObject({
      code: 1,
      stdout: expect.stringContaining('DIFF  VolumeDriver.Get {"Name":"two"}') as string,
    });
    writeFileSync(
      file,
      readFileSync(file, 'utf8')
        .split('\n')
        .filter((line) => line.includes('"one"'))
        .join('\n'),
    );
    const again = run('plugin', 'replay', file, socket);
    expect(again, dev.output).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('same  VolumeDriver.Get') as string,
    });
    const inspected = JSON.parse(engine.docker(['plugin', 'inspect', 'traced']).stdout) as {
      State: { Connection: string; Holders: string[]; Calls: { Method: string }[] };
    }[];
    expect(inspected[0]?.State).toMatchObject({ Connection: 'active', Holders: ['volume one', 'volume two'] });
    expect(inspected[0]?.State.Calls.map(({ Method }) => Method)).toContain('VolumeDriver.Create');
    for (const name of ['one', 'two']) engine.docker(['volume', 'rm', name]);
  });

  it('serves a driver of this engine as a plugin', async () => {
    const socket = join(engine.pluginFolder, 'served.sock');
    const serve = start([
      'plugin',
      'serve',
      '--socket',
      socket,
      '--data-root',
      join(folder, 'served'),
      '--exec-root',
      join(folder, 'served-run'),
      'volume/local',
    ]);
    await serve.says('serving');
    expect(engine.docker(['volume', 'create', '-d', 'served', 'far'])).toMatchObject({ code: 0 });
    expect(engine.docker(['volume', 'inspect', '-f', '{{.Mountpoint}}', 'far']).stdout).toContain(join(folder, 'served'));
    expect(engine.docker(['volume', 'create', '-d', 'served', '-o', 'mystery=1', 'odd'])).toMatchObject({ code: 1 });
    engine.docker(['volume', 'rm', 'far']);
    expect(run('plugin', 'serve', 'runtime/native')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('the plugin protocol has no kind for runtimes, so runtime/native cannot be served') as string,
    });
    expect(run('plugin', 'serve', 'nothing/such')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('KIND is one of storage, network, ipam, volume, log') as string,
    });
  });
});
