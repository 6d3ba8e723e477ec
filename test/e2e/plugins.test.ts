import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { FakePlugin } from '../fakes/plugin.js';
import { Recorder } from '../fakes/recorder.js';
import { eventually } from '../network/probe.js';
import { whyNoEngine } from './engine.js';
import { openTrial, type Trial } from './trial.js';

const reason = whyNoEngine();

describe.skipIf(reason)(`plugins that know nothing of this engine${reason ? ` (skipped: ${reason})` : ''}`, { timeout: 180_000 }, () => {
  let trial: Trial;
  const recorders: Recorder[] = [];

  const run = (...args: string[]): string => {
    const result = trial.engine.docker(args);
    expect(result, `docker ${args.join(' ')}\n${result.stderr}\n${trial.engine.log.slice(-1500)}`).toMatchObject({ code: 0 });
    return result.stdout.trim();
  };
  const refused = (...args: string[]): string => {
    const result = trial.engine.docker(args);
    expect(result.code, `docker ${args.join(' ')}`).not.toBe(0);
    return result.stderr;
  };
  const start = async (name: string, ...kinds: string[]): Promise<Recorder> => {
    const { engine } = trial;
    const recorder = await Recorder.start({ name, sockets: engine.pluginFolder, folder: join(engine.folder, 'recorders'), kinds });
    recorders.push(recorder);
    return recorder;
  };

  beforeAll(async () => {
    trial = await openTrial();
    mkdirSync(trial.engine.pluginFolder, { recursive: true });
  });
  afterEach(async () => {
    for (const recorder of recorders.splice(0)) await recorder.kill();
  });
  afterAll(async () => {
    if (trial) expect(await trial.close()).toEqual({});
  });

  it('keep volumes', async () => {
    const recorder = await start('pyvol', 'VolumeDriver');
    expect(run('volume', 'create', '-d', 'pyvol', '-o', 'colour=red', 'kept')).toBe('kept');
    expect(recorder.calls().at(-1)).toMatchObject({ method: 'VolumeDriver.Create', request: { Name: 'kept', Opts: { colour: 'red' } } });
    run('run', '--rm', '-v', 'kept:/data', trial.image, 'sh', '-c', 'echo here > /data/file');
    expect(run('run', '--rm', '-v', 'kept:/data', trial.image, 'cat', '/data/file')).toBe('here');
    expect(run('volume', 'ls', '-q', '-f', 'driver=pyvol')).toBe('kept');
    expect(run('volume', 'inspect', '-f', '{{.Driver}} {{.Status.mounts}}', 'kept')).toBe('pyvol 0');
    expect(run('info', '-f', '{{.Plugins.Volume}}')).toContain('pyvol');
    run('volume', 'rm', 'kept');
    expect(run('volume', 'ls', '-q', '-f', 'driver=pyvol')).toBe('');
  });

  it('keep volumes that a daemon and a plugin that were both killed find again', async () => {
    const recorder = await start('pyvol', 'VolumeDriver');
    const id = run('run', '-d', '--name', 'holder', '-v', 'lasting:/data', '--volume-driver', 'pyvol', trial.image, 'sleep', '1000');
    await trial.engine.down('SIGKILL');
    await recorder.kill();
    await trial.engine.up();
    expect(run('inspect', '-f', '{{.State.Running}}', 'holder')).toBe('true');
    expect(run('ps', '-q', '--no-trunc')).toContain(id);
    await recorder.up();
    run('stop', '-t', '0', 'holder');
    run('rm', 'holder');
    run('volume', 'rm', 'lasting');
  });

  it('that are away are waited for in sight of everybody, and bring their containers back with them', async () => {
    const { engine } = trial;
    const [volumes, networks, logs] = [
      await start('awayvol', 'VolumeDriver'),
      await start('awaynet', 'NetworkDriver', 'IpamDriver'),
      await start('awaylog', 'LogDriver'),
    ];
    run('network', 'create', '-d', 'awaynet', '--ipam-driver', 'awaynet', '--subnet', '10.206.8.0/24', 'away');
    const waits = (name: string, ...flags: string[]): void => {
      run('run', '-d', '--name', name, '--restart', 'always', ...flags, trial.image, 'sleep', '1000');
    };
    waits('by-volume', '--network', 'none', '-v', 'awaydata:/data', '--volume-driver', 'awayvol');
    waits('by-network', '--network', 'away');
    waits('by-log', '--network', 'none', '--log-driver', 'awaylog');
    const all = ['by-volume', 'by-network', 'by-log'];
    const state = async (name: string): Promise<{ Status: string; Error: string; Pid: number }> =>
      (await engine.api<{ State: { Status: string; Error: string; Pid: number } }>('GET', `/containers/${name}/json`)).body.State;
    const pids = await Promise.all(all.map(async (name) => (await state(name)).Pid));

    const since = String(Math.floor(Date.now() / 1000));
    await engine.down('SIGKILL');
    for (const recorder of [volumes, networks, logs]) await recorder.kill();
    // One left its socket where it was, the others took theirs along.
    for (const recorder of [networks, logs]) rmSync(recorder.socket);
    for (const pid of pids) process.kill(pid, 'SIGKILL');
    await engine.up();
    for (const [name, plugin] of [
      ['by-volume', 'awayvol'],
      ['by-network', 'awaynet'],
      ['by-log', 'awaylog'],
    ] as const) {
      await eventually(async () => (await state(name)).Error.startsWith(`waiting for plugin ${plugin}: `), `${name} waits for ${plugin}`);
      expect((await state(name)).Status).toBe('restarting');
      expect(run('ps', '--filter', `name=${name}`, '--format', '{{.Status}}')).toMatch(
        new RegExp(`^Restarting \\(\\d+\\) .* ago \\(waiting for plugin ${plugin}\\)$`),
      );
    }
    const events = run(
      'events',
      '--since',
      since,
      '--until',
      `${Date.now() / 1000 + 1}`,
      '--filter',
      'event=waiting',
      '--format',
      '{{.Actor.Attributes.plugin}}',
    );
    expect(events.split('\n').toSorted()).toEqual(['awaylog', 'awaynet', 'awayvol']);

    // Whoever does not want to wait can end it.
    run('stop', 'by-log');
    expect((await state('by-log')).Status).toBe('exited');
    for (const recorder of [volumes, networks, logs]) await recorder.up();
    for (const name of ['by-volume', 'by-network'])
      await eventually(async () => (await state(name)).Status === 'running' && (await state(name)).Error === '', `${name} runs again`);
    run('start', 'by-log');
    run('rm', '-f', ...all);
    run('volume', 'rm', 'awaydata');
    run('network', 'rm', 'away');
  }, 240_000);

  it('give networks and addresses', async () => {
    const recorder = await start('pynet', 'NetworkDriver', 'IpamDriver');
    run('network', 'create', '-d', 'pynet', '--ipam-driver', 'pynet', '--subnet', '10.206.7.0/24', '-o', 'colour=red', 'theirs');
    run('run', '-d', '--name', 'on-theirs', '--network', 'theirs', '-p', '80', trial.image, 'sleep', '1000');
    expect(run('exec', 'on-theirs', 'ip', '-4', '-o', 'addr', 'show', 'rec0')).toContain('10.206.7.2/24');
    expect(run('exec', 'on-theirs', 'ping', '-c', '1', '-W', '2', '10.206.7.1')).toContain('1 packets received');
    expect(run('inspect', '-f', '{{(index .NetworkSettings.Networks "theirs").IPAddress}}', 'on-theirs')).toBe('10.206.7.2');
    run('rm', '-f', 'on-theirs');
    run('network', 'rm', 'theirs');
    const methods = recorder.methods();
    expect(methods.at(-1)).toMatch(/NetworkDriver.DeleteNetwork|IpamDriver.ReleasePool/);
    expect(recorder.calls().find(({ method }) => method === 'NetworkDriver.CreateEndpoint')?.request).toMatchObject({
      Options: { 'com.docker.network.portmap': [{ Proto: 6, Port: 80 }] },
    });
  });

  it('leave the way out of a network to the engine, unless they give a gateway or say that there is none', async () => {
    const recorder = await start('wayout', 'NetworkDriver', 'IpamDriver');
    const routes = (out: string): string => {
      run('network', 'create', '-d', 'wayout', '--ipam-driver', 'wayout', '-o', `way-out=${out}`, '--subnet', '10.206.11.0/24', 'out');
      run('run', '-d', '--name', 'leaver', '--network', 'out', '-p', '127.0.0.1:0:80', trial.image, 'sleep', '1000');
      const found = run('exec', 'leaver', 'ip', 'route');
      const port = trial.engine.docker(['port', 'leaver']).stdout;
      if (out === 'engine') expect(port).toMatch(/^80\/tcp -> 127\.0\.0\.1:\d+/);
      run('rm', '-f', 'leaver');
      run('network', 'rm', 'out');
      return found;
    };
    const told = (): number => recorder.calls().filter(({ method }) => method === 'NetworkDriver.ProgramExternalConnectivity').length;
    expect(routes('plugin')).toMatch(/^default via 10\.206\.11\.\d+ dev rec0/);
    expect(told()).toBe(1);
    // By another link than the plugin's, where the ports are published too.
    expect(routes('engine')).toMatch(/^default via (?!10\.206\.11\.)[\d.]+ dev eth0/);
    expect(routes('nobody')).not.toContain('default');
    expect(told()).toBe(1);
    run('network', 'rm', 'docker_gwbridge');
  });

  it('that give addresses are told the MAC address and their pools again, if they ask for that', async () => {
    const { engine } = trial;
    let next = 1;
    const plugin = await FakePlugin.start(join(engine.pluginFolder, 'mac-ipam.sock'), ['IpamDriver'], {
      'IpamDriver.GetCapabilities': () => ({ RequiresMACAddress: true, RequiresRequestReplay: true }),
      'IpamDriver.GetDefaultAddressSpaces': () => ({ LocalDefaultAddressSpace: 'near', GlobalDefaultAddressSpace: 'far' }),
      'IpamDriver.RequestPool': () => ({ PoolID: 'pool', Pool: '10.206.9.0/24' }),
      'IpamDriver.RequestAddress': ({ Address }) => ({ Address: `${String(Address || `10.206.9.${++next}`)}/24` }),
      'IpamDriver.ReleaseAddress': () => ({}),
      'IpamDriver.ReleasePool': () => ({}),
    });
    const asked = (method: string): Record<string, unknown>[] =>
      plugin.calls.filter((call) => call.method === method).map(({ body }) => JSON.parse(body) as Record<string, unknown>);
    // The plugin answers in this process, so nothing here may wait for a client without letting it.
    const api = async <T>(method: string, path: string, body?: unknown): Promise<T> => {
      const answer = await engine.api<T>(method, path, body);
      expect(answer.status, `${method} ${path}: ${JSON.stringify(answer.body)}`).toBeLessThan(400);
      return answer.body;
    };
    const IPAM = { Driver: 'mac-ipam', Config: [{ Subnet: '10.206.9.0/24', Gateway: '10.206.9.1' }] };
    await api('POST', '/networks/create', { Name: 'known-macs', Driver: 'bridge', IPAM });
    const request = { Image: trial.image, Cmd: ['sleep', '1000'], HostConfig: { NetworkMode: 'known-macs' } };
    await api('POST', '/containers/create?name=known', request);
    await api('POST', '/containers/known/start');
    const { NetworkSettings } = await api<{ NetworkSettings: { Networks: Record<string, { MacAddress: string }> } }>(
      'GET',
      '/containers/known/json',
    );
    const mac = NetworkSettings.Networks['known-macs']?.MacAddress ?? '';
    expect(mac).toMatch(/^02:42(:[0-9a-f]{2}){4}$/);
    expect(asked('IpamDriver.RequestAddress').at(-1)).toMatchObject({ Options: { 'com.docker.network.endpoint.macaddress': mac } });

    plugin.calls.length = 0;
    await engine.down('SIGKILL');
    await engine.up();
    await eventually(async () => asked('IpamDriver.RequestAddress').length > 0, 'the gateway was asked for again');
    expect(asked('IpamDriver.RequestPool')).toEqual([expect.objectContaining({ AddressSpace: 'near', Pool: '10.206.9.0/24' })]);
    expect(asked('IpamDriver.RequestAddress')).toEqual([
      expect.objectContaining({ Address: '10.206.9.1', Options: { RequestAddressType: 'com.docker.network.gateway' } }),
    ]);
    await api('DELETE', '/containers/known?force=1');
    await api('DELETE', '/networks/known-macs');
    await plugin.down({ removeSocket: true });
  });

  it('take logs and give them back', async () => {
    const recorder = await start('pylog', 'LogDriver');
    run('run', '--name', 'talker', '--log-driver', 'pylog', '--log-opt', 'colour=red', trial.image, 'sh', '-c', 'echo one; echo two >&2');
    await eventually(async () => recorder.methods().at(-1) === 'LogDriver.StopLogging', 'the plugin was told of the end');
    expect(run('logs', 'talker')).toBe('one');
    const started = recorder.calls().find(({ method }) => method === 'LogDriver.StartLogging');
    expect(started?.request).toMatchObject({ Info: { Config: { colour: 'red' }, ContainerName: '/talker' } });
    expect(existsSync(started?.request['File'] as string)).toBe(false);
    run('rm', 'talker');
  });

  it('hold no container when they die under its log, and get the rest when they are back', async () => {
    const recorder = await start('pylog', 'LogDriver');
    run(
      'run',
      '-d',
      '--name',
      'chatty',
      '--log-driver',
      'pylog',
      trial.image,
      'sh',
      '-c',
      'for i in $(seq 1 40); do echo line $i; sleep 0.05; done',
    );
    await recorder.kill();
    expect(run('wait', 'chatty')).toBe('0');
    await recorder.up();
    await eventually(async () => recorder.methods().at(-1) === 'LogDriver.StopLogging', 'the plugin was told of the end');
    expect(recorder.methods().filter((method) => method === 'LogDriver.StartLogging')).toHaveLength(2);
    expect(run('logs', 'chatty').split('\n').at(-1)).toBe('line 40');
    run('rm', 'chatty');
  });

  it('keep image layers and containers', async () => {
    await start('pygraph', 'GraphDriver');
    expect(run('run', '--rm', '--storage-opt', 'driver=pygraph', trial.image, 'sh', '-c', 'echo made > /file; cat /file')).toBe('made');
    run('create', '--name', 'layered', '--storage-opt', 'driver=pygraph', trial.image, 'sh', '-c', 'echo made > /new; rm /etc/passwd');
    run('start', '-a', 'layered');
    expect(run('inspect', '-f', '{{.GraphDriver.Name}}', 'layered')).toBe('pygraph');
    expect(run('diff', 'layered')).toContain('A /new');
    expect(run('diff', 'layered')).toContain('D /etc/passwd');
    run('commit', 'layered', 'trial/committed');
    expect(run('run', '--rm', 'trial/committed', 'cat', '/new')).toBe('made');
    run('rm', 'layered');
    run('rmi', 'trial/committed');
  });

  it('take the place of no driver of the engine by having its name', async () => {
    const recorder = await start('local', 'VolumeDriver');
    run('volume', 'create', '-d', 'local', 'own');
    expect(run('volume', 'inspect', '-f', '{{.Mountpoint}}', 'own')).toContain(trial.engine.folder);
    run('volume', 'rm', 'own');
    expect(recorder.methods().filter((method) => method !== 'Plugin.Activate')).toEqual([]);
    await recorder.kill();
    rmSync(recorder.socket);
  });

  it('are named in an error when there is none, when it is of another kind, and when its file is broken', async () => {
    await start('pyvol', 'VolumeDriver');
    expect(refused('volume', 'create', '-d', 'nobody')).toContain('plugin "nobody" not found');
    expect(refused('network', 'create', '-d', 'pyvol', 'x')).toContain(
      'plugin pyvol: Plugin.Activate: plugin does not provide "NetworkDriver" capability',
    );
    mkdirSync(join(trial.engine.folder, 'plugin-specs'), { recursive: true });
    writeFileSync(join(trial.engine.folder, 'plugin-specs', 'torn.json'), '{"Addr":');
    expect(refused('volume', 'create', '-d', 'torn')).toMatch(/plugin torn: cannot read .*torn.json/);
    await start('pytwice', 'VolumeDriver');
    writeFileSync(join(trial.engine.folder, 'plugin-specs', 'pytwice.spec'), 'tcp://127.0.0.1:7');
    expect(refused('volume', 'create', '-d', 'pytwice', 'vv')).toContain('plugin pytwice is there twice');
  });
});

describe.skipIf(reason)('an access plugin', () => {
  let trial: Trial;
  let recorder: Recorder;
  let folder: string;

  beforeAll(async () => {
    folder = mkdtempSync('/tmp/gantry-authz-');
    recorder = await Recorder.start({ name: 'pyauthz', sockets: folder, folder, kinds: ['authz'] });
    trial = await openTrial(['--plugin-socket-folder', folder, '--authorization-plugin', 'pyauthz']);
  });
  afterAll(async () => {
    writeFileSync(join(recorder.state, 'policy'), '');
    if (trial) expect(await trial.close()).toEqual({});
    await recorder?.kill();
    rmSync(folder, { recursive: true, force: true });
  });
  const policy = (...lines: string[]): void => writeFileSync(join(recorder.state, 'policy'), lines.join('\n'));

  it('sees every request and its answer, with the body that runs', async () => {
    recorder.forget();
    const created = await trial.engine.api('POST', '/v1.44/volumes/create', { name: 'seen', Unknown: 1 });
    expect(created.status).toBe(201);
    const [asked, answered] = recorder.calls();
    expect(asked).toMatchObject({
      method: 'AuthZPlugin.AuthZReq',
      request: { RequestMethod: 'POST', RequestUri: '/v1.44/volumes/create', User: 'uid:0' },
    });
    expect(JSON.parse(Buffer.from(String(asked?.request['RequestBody']), 'base64').toString())).toEqual({ Name: 'seen' });
    expect(answered).toMatchObject({ method: 'AuthZPlugin.AuthZRes', request: { ResponseStatusCode: 201 } });
    expect(JSON.parse(Buffer.from(String(answered?.request['ResponseBody']), 'base64').toString())).toMatchObject({ Name: 'seen' });
  });

  it('refuses by path and by body, however they are written', async () => {
    policy('DELETE /v1.44/volumes/seen', 'privileged');
    const { engine } = trial;
    for (const path of ['/v1.44/volumes/seen', '/v1.44/volumes/%73een', '/v1.44/volumes/seen?force=1']) {
      expect(await engine.api('DELETE', path), path).toMatchObject({
        status: 403,
        body: { message: 'authorization denied by plugin pyauthz: the policy says no' },
      });
    }
    for (const HostConfig of [{ Privileged: true }, { privileged: true }, { PRIVILEGED: true }]) {
      expect(await engine.api('POST', '/containers/create', { Image: trial.image, HostConfig })).toMatchObject({ status: 403 });
      expect(await engine.api('POST', '/containers/create', { Image: trial.image, hostconfig: HostConfig })).toMatchObject({ status: 403 });
    }
    expect(engine.docker(['ps', '-aq']).stdout).toBe('');
    policy('');
    expect(await engine.api('DELETE', '/v1.44/volumes/seen')).toMatchObject({ status: 204 });
  });

  it('that is dead refuses everything, and is asked again when it is back', async () => {
    await recorder.kill();
    expect(await trial.engine.api('GET', '/containers/json')).toMatchObject({
      status: 500,
      body: { message: expect.stringContaining('plugin pyauthz failed with error') as string },
    });
    await recorder.up();
    expect(await trial.engine.api('GET', '/containers/json')).toMatchObject({ status: 200 });
  });
});
