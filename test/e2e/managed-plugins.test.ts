import { copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { whyNoEngine } from './engine.js';
import { openTrial, type Trial } from './trial.js';

const python = '/usr/bin/python3';
const reason = whyNoEngine() ?? (existsSync(python) ? undefined : 'needs python3');

interface PluginChanges {
  readonly version?: string;
  readonly mode?: string;
}

/** The folder of a plugin that runs the host's Python: its mounts are what a real one's would be. */
function pluginFolder(where: string, { version = '1', mode = '' }: PluginChanges = {}): string {
  const rootfs = join(where, 'rootfs');
  for (const folder of ['usr', 'mnt/volumes', 'run/docker/plugins', 'proc', 'sys', 'dev', 'etc', 'tmp'])
    mkdirSync(join(rootfs, folder), { recursive: true });
  for (const link of ['bin', 'lib', 'lib64', 'sbin']) symlinkSync(`usr/${link}`, join(rootfs, link));
  copyFileSync(fileURLToPath(new URL('../fakes/volume-plugin.py', import.meta.url)), join(rootfs, 'plugin.py'));
  writeFileSync(
    join(where, 'config.json'),
    JSON.stringify({
      description: 'volumes in memory',
      // Go reads keys whatever their case, and authors rely on it.
      INTERFACE: { types: ['docker.volumedriver/1.0'], socket: 'python.sock' },
      entrypoint: [python, '/plugin.py'],
      network: { type: 'none' },
      linux: { capabilities: ['CAP_SYS_ADMIN'] },
      propagatedMount: '/mnt/volumes',
      mounts: [
        { name: 'usr', source: '/usr', destination: '/usr', type: 'bind', options: ['rbind', 'ro'] },
        { name: 'extra', source: '/tmp', destination: '/extra', type: 'bind', options: ['rbind', 'ro'], settable: ['source'] },
      ],
      env: [
        { name: 'VERSION', value: version },
        { name: 'MODE', value: mode, settable: ['value'] },
      ],
    }),
  );
  return where;
}

describe.skipIf(reason)(`plugins that the engine runs${reason ? ` (skipped: ${reason})` : ''}`, () => {
  let trial: Trial;
  let scratch: string;
  let host: string;
  const check = (program: 'docker' | 'gantry', args: readonly string[]): string => {
    const result = trial.engine[program](args);
    expect(result, `${program} ${args.join(' ')}\n${result.stdout}${result.stderr}\n${trial.engine.log.slice(-1500)}`).toMatchObject({
      code: 0,
    });
    return result.stdout.trim();
  };
  const docker = (...args: string[]): string => check('docker', args);
  const gantry = (...args: string[]): string => check('gantry', args);
  const inspect = (name: string, format: string): string => docker('plugin', 'inspect', '-f', format, name);
  const life = async (name: string): Promise<{ Status: string; Pid: number; RestartCount: number; Error: string }> => {
    const { body } = await trial.engine.api<{ State: never }>('GET', `/plugins/${name}/json`);
    return body.State;
  };
  const folder = (name: string, changes?: PluginChanges): string => {
    const where = join(scratch, name);
    mkdirSync(where);
    return pluginFolder(where, changes);
  };
  const until = async (what: () => Promise<boolean>): Promise<void> => {
    const end = Date.now() + 60_000;
    while (!(await what())) {
      if (Date.now() > end) throw new Error('it did not come to be');
      await new Promise((done) => setTimeout(done, 50));
    }
  };

  beforeAll(async () => {
    trial = await openTrial();
    scratch = mkdtempSync('/tmp/gantry-plugins-');
    host = trial.image.split('/')[0] ?? '';
  });
  afterAll(async () => {
    if (!trial) return;
    rmSync(scratch, { recursive: true, force: true });
    expect(await trial.close()).toEqual({});
  });

  /** What a failed test left must not fail the next one. */
  afterEach(() => {
    const { engine } = trial;
    for (const kind of ['container', 'volume', 'plugin']) {
      const left = engine.docker([kind, 'ls', '-q', ...(kind === 'container' ? ['-a'] : [])]).stdout.trim();
      if (left !== '') engine.docker([kind, 'rm', '-f', ...left.split('\n')]);
    }
  });

  it('are made of a folder, set, started, used, stopped and removed by the stock client', async () => {
    docker('plugin', 'create', 'org/memory', folder('first', { mode: 'crash' }));
    expect(docker('plugin', 'ls', '--format', '{{.Name}} {{.Enabled}} {{.Description}}')).toBe('org/memory:latest false volumes in memory');
    expect(trial.engine.docker(['plugin', 'create', 'org/memory', join(scratch, 'first')]).stderr).toContain('already exists');

    const failed = trial.engine.docker(['plugin', 'enable', 'org/memory']).stderr;
    expect(failed).toContain('its process ended with exit code 1 before it listened on /run/docker/plugins/python.sock');
    expect(failed).toContain('the config is wrong: no such server');
    expect(trial.engine.docker(['volume', 'create', '-d', 'org/memory', 'v1']).stderr).toContain('disabled');

    expect(trial.engine.docker(['plugin', 'set', 'org/memory', 'VERSION=2']).stderr).toContain('"VERSION" is not settable');
    expect(trial.engine.docker(['plugin', 'set', 'org/memory', 'NOPE=2']).stderr).toContain('setting "NOPE" not found');
    docker('plugin', 'set', 'org/memory', 'MODE=', `extra.source=${scratch}`);
    docker('plugin', 'enable', 'org/memory');
    expect(trial.engine.docker(['plugin', 'set', 'org/memory', 'MODE=x']).stderr).toContain('cannot set on an active plugin');
    expect(inspect('org/memory', '{{.Enabled}} {{(index .Settings.Mounts 1).Source}}')).toBe(`true ${scratch}`);

    docker('volume', 'create', '-d', 'org/memory', 'v1');
    docker('run', '--rm', '-v', 'v1:/v', trial.image, 'sh', '-c', 'grep " /v tmpfs" /proc/mounts && touch /v/file');
    expect(docker('volume', 'inspect', '-f', '{{.Driver}} {{.Status.users}}', 'v1')).toMatch(/^org\/memory(:latest)? 0$/);
    expect(trial.engine.docker(['plugin', 'disable', 'org/memory']).stderr).toContain('is in use - [v1]');
    expect(gantry('plugin', 'logs', 'org/memory')).toBe('');
    expect(trial.engine.gantry(['plugin', 'logs', '-n', '3', 'org/memory']).stderr).toContain('VolumeDriver.');
    docker('volume', 'rm', 'v1');
    docker('plugin', 'disable', 'org/memory');
    expect((trial.engine.left().processes ?? []).filter((one) => !one.includes('gantryd'))).toEqual([]);
    docker('plugin', 'rm', 'org/memory');
    expect(docker('plugin', 'ls', '-q')).toBe('');
  });

  it('outlive the daemon with what they have mounted, and are started again when they end', async () => {
    docker('plugin', 'create', 'kept', folder('kept'));
    docker('plugin', 'enable', 'kept');
    docker('volume', 'create', '-d', 'kept', 'data');
    docker('run', '-d', '--name', 'user', '-v', 'data:/v', trial.image, 'sleep', '1000');
    docker('exec', 'user', 'touch', '/v/file');
    const before = await life('kept');
    await trial.engine.down('SIGKILL');
    await trial.engine.up();
    await until(async () => (await life('kept')).Status === 'running');
    expect((await life('kept')).Pid).toBe(before.Pid);
    expect(docker('exec', 'user', 'ls', '/v')).toBe('file');
    expect(docker('volume', 'inspect', '-f', '{{.Status.users}}', 'data')).toBe('1');
    docker('rm', '-f', 'user');
    expect(docker('volume', 'inspect', '-f', '{{.Status.users}}', 'data')).toBe('0');
    docker('volume', 'rm', 'data');

    process.kill(before.Pid, 'SIGKILL');
    await until(async () => (await life('kept')).RestartCount === 1 && (await life('kept')).Status === 'running');
    docker('volume', 'create', '-d', 'kept', 'again');
    docker('volume', 'rm', 'again');
    expect(trial.engine.docker(['plugin', 'rm', 'kept']).stderr).toContain('is enabled');
    docker('plugin', 'rm', '-f', 'kept');
  });

  it('go to a registry and come from it, with what they ask for agreed to', async () => {
    const name = `${host}/org/shared:v1`;
    docker('plugin', 'create', name, folder('shared'));
    docker('plugin', 'push', name);
    const digests = inspect(name, '{{json .Config}}');
    docker('plugin', 'rm', name);
    expect(trial.engine.docker(['pull', name]).stderr).toContain('when fetching image');
    expect(trial.engine.docker(['plugin', 'install', '--grant-all-permissions', trial.image]).stderr).toContain('when fetching plugin');

    const refused = trial.engine.docker(['plugin', 'install', name], { input: 'n\n' });
    expect(refused.stdout).toContain('- network: [none]\n - mount: [/usr]\n - mount: [/tmp]\n - capabilities: [CAP_SYS_ADMIN]');
    const remote = encodeURIComponent(name);
    const wanted = (await trial.engine.api<object[]>('GET', `/plugins/privileges?remote=${remote}`)).body;
    // The first one counts as the others do.
    for (const agreed of [[], wanted.slice(1), wanted.slice(0, -1), [...wanted, { Name: 'device', Value: ['/dev/sda'] }]])
      expect(await trial.engine.api('POST', `/plugins/pull?remote=${remote}`, agreed)).toMatchObject({ status: 403 });
    expect(docker('plugin', 'ls', '-q')).toBe('');

    const installed = trial.engine.docker(['plugin', 'install', '--alias', 'mine', name, 'MODE=']);
    expect(installed.code).not.toBe(0);
    expect(docker('plugin', 'install', '--grant-all-permissions', '--alias', 'mine', name, 'MODE=')).toContain(`Installed plugin ${name}`);
    expect(inspect('mine', '{{.Name}} {{.PluginReference}} {{.Enabled}}')).toBe(`mine:latest ${name} true`);
    expect(JSON.parse(inspect('mine', '{{json .Config}}'))).toMatchObject({ rootfs: (JSON.parse(digests) as { rootfs: object }).rootfs });
    docker('plugin', 'disable', 'mine');
    docker('plugin', 'rm', 'mine');
  });

  it('are upgraded while they run, and go back to the old version when the new one does not start', async () => {
    for (const [tag, changes] of [
      ['v1', {}],
      ['v2', { version: '2' }],
      ['bad', { version: '3', mode: 'crash' }],
    ] as const) {
      const name = `${host}/org/up:${tag}`;
      docker('plugin', 'create', name, folder(`up-${tag}`, changes));
      docker('plugin', 'push', name);
      docker('plugin', 'rm', name);
    }
    docker('plugin', 'install', '--grant-all-permissions', '--alias', 'up', `${host}/org/up:v1`, `extra=${scratch}`);
    const id = inspect('up', '{{.Id}}');
    docker('volume', 'create', '-d', 'up', 'data');
    expect(docker('volume', 'inspect', '-f', '{{.Status.version}}', 'data')).toBe('1');
    docker('volume', 'rm', 'data');
    gantry('plugin', 'upgrade', '--grant-all-permissions', 'up', `${host}/org/up:v2`);
    docker('volume', 'create', '-d', 'up', 'data');
    expect(docker('volume', 'inspect', '-f', '{{.Status.version}}', 'data')).toBe('2');
    expect(inspect('up', '{{.Id}} {{(index .Settings.Mounts 1).Source}}')).toBe(`${id} ${scratch}`);

    const failed = trial.engine.gantry(['plugin', 'upgrade', '--grant-all-permissions', 'up', `${host}/org/up:bad`]);
    expect(failed.stderr).toContain('exit code 1');
    expect(inspect('up', '{{.PluginReference}} {{.Enabled}}')).toBe(`${host}/org/up:v2 true`);
    docker('volume', 'rm', '-f', 'data');
    docker('volume', 'create', '-d', 'up', 'data');
    expect(docker('volume', 'inspect', '-f', '{{.Status.version}}', 'data')).toBe('2');
    docker('volume', 'rm', 'data');
    docker('plugin', 'disable', 'up');
    // As the stock client does it.
    docker('plugin', 'upgrade', '--grant-all-permissions', '--skip-remote-check', 'up', `${host}/org/up:v1`);
    docker('plugin', 'rm', 'up');
  });

  for (const point of [
    'plugin.install.1',
    'plugin.install.2',
    'plugin.start.1',
    'plugin.start.2',
    'plugin.enable.1',
    'plugin.remove.1',
    'plugin.remove.2',
  ]) {
    it(`are whole or gone after a daemon's death at ${point}`, async () => {
      const { engine } = trial;
      const where = folder(point);
      const verb = point.split('.')[1];
      if (verb !== 'install') docker('plugin', 'create', 'cut', where);
      await engine.down();
      await engine.up({ GANTRY_FAILPOINT: point });
      if (verb === 'install') engine.docker(['plugin', 'create', 'cut', where]);
      else if (verb === 'remove') engine.docker(['plugin', 'rm', 'cut']);
      else engine.docker(['plugin', 'enable', 'cut']);
      await engine.down('SIGKILL');
      await engine.up();
      const names = docker('plugin', 'ls', '--format', '{{.Name}} {{.Enabled}}');
      expect(names).toBe(verb === 'install' || verb === 'remove' ? '' : 'cut:latest false');
      // What was half started is ended.
      await until(
        async () => engine.left().processes === undefined || engine.left().processes?.every((one) => !one.includes('plugin')) === true,
      );
      if (verb === 'install' || verb === 'remove') docker('plugin', 'create', 'cut', where);
      docker('plugin', 'enable', 'cut');
      docker('plugin', 'rm', '-f', 'cut');
    });
  }
});
