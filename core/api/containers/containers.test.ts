import { Buffer } from 'node:buffer';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FakeApi, type Json } from '../../../test/fakes/api.js';
import { frames } from '../../../test/fakes/raw-client.js';
import { config, container, endpointState, hostConfig, state } from '../../../test/fakes/records.js';
import type { CreateContainer } from '../../container/containers.js';
import type { TaskUsage } from '../../contracts/runtime.js';
import { statusText } from './container-summary.js';

let api: FakeApi;
beforeEach(async () => {
  api = await FakeApi.open();
});
afterEach(() => api.close());

const calls = (name: string): unknown[][] => api.services.containers.calls.filter(([called]) => called === name).map(([, ...args]) => args);
const created = (): CreateContainer => calls('create')[0]?.[0] as CreateContainer;
const inspect = async (version = ''): Promise<Json> => (await api.get(`${version}/containers/web/json`)).json as Json;

describe('create', () => {
  it('answers 201 with the id and a list of warnings that is never null', async () => {
    expect(await api.post('/containers/create?name=web', { Image: 'busybox' })).toMatchObject({
      status: 201,
      json: { Id: expect.stringMatching(/^[0-9a-f]{64}$/), Warnings: [] },
    });
  });

  it('is 404 with No such image for an absent image', async () => {
    expect(await api.post('/containers/create', { Image: 'absent' })).toMatchObject({
      status: 404,
      json: { message: 'No such image: absent:latest' },
    });
  });

  it('is 409 for a taken name, in the words that clients look for', async () => {
    api.services.container();
    const { status, json } = await api.post('/containers/create?name=/web', { Image: 'x' });
    expect(status).toBe(409);
    expect((json as Json)['message']).toMatch(/The container name "\/web" is already in use by container/);
  });

  it('wants names of two characters and no odd ones', async () => {
    for (const name of ['a', '-ab', 'a b', 'ä', 'a/b'])
      expect((await api.post(`/containers/create?name=${encodeURIComponent(name)}`, { Image: 'x' })).status, name).toBe(400);
  });

  it('tells null from empty for entrypoint and command, and takes a plain string', async () => {
    await api.post('/containers/create', { Image: 'x', Entrypoint: [], Cmd: 'sh' });
    expect(created().config).toMatchObject({ entrypoint: [], cmd: ['sh'] });
  });

  it('fills a port without binding with one that the engine chooses', async () => {
    await api.post('/containers/create', {
      Image: 'x',
      ExposedPorts: { '80': {} },
      HostConfig: { PortBindings: { '80/tcp': null, '81/tcp': [], '82/UDP': [{ HostIp: '127.0.0.1', HostPort: '8082' }], '83/tcp': [{}] } },
    });
    expect(created().config.exposedPorts).toEqual(['80/tcp']);
    expect(created().hostConfig.portBindings).toEqual({
      '80/tcp': [{ hostIp: '', hostPort: '' }],
      '81/tcp': [{ hostIp: '', hostPort: '' }],
      '82/udp': [{ hostIp: '127.0.0.1', hostPort: '8082' }],
      '83/tcp': [{ hostIp: '', hostPort: '' }],
    });
  });

  it('knows the several forms of no limit', async () => {
    await api.post('/containers/create', { Image: 'x', HostConfig: { PidsLimit: -1, MemorySwappiness: -1, MemorySwap: -1 } });
    expect(created().hostConfig).toMatchObject({ pidsLimit: undefined, memorySwappiness: undefined, memorySwap: -1 });
    await api.post('/containers/web/update', { PidsLimit: -1 });
    expect(calls('update')[0]).toEqual(['web', { resources: { pidsLimit: 0 } }]);
  });

  it('takes several networks from 1.44 on', async () => {
    const body = { Image: 'x', NetworkingConfig: { EndpointsConfig: { one: { Aliases: ['a'] }, two: null } } };
    expect(await api.post('/v1.43/containers/create', body)).toMatchObject({
      status: 400,
      json: { message: 'Container cannot be connected to network endpoints: one, two' },
    });
    expect((await api.post('/v1.44/containers/create', body)).status).toBe(201);
    expect(Object.keys(created().endpoints)).toEqual(['one', 'two']);
  });

  it('refuses restart policies that contradict themselves or --rm', async () => {
    for (const host of [
      { AutoRemove: true, RestartPolicy: { Name: 'always' } },
      { RestartPolicy: { Name: 'sometimes' } },
      { RestartPolicy: { Name: 'always', MaximumRetryCount: 3 } },
      { RestartPolicy: { Name: 'on-failure', MaximumRetryCount: -1 } },
      { Isolation: 'hyperv' },
      { Mounts: [{ Type: 'npipe', Target: '/x' }] },
    ]) {
      expect((await api.post('/containers/create', { Image: 'x', HostConfig: host })).status, JSON.stringify(host)).toBe(400);
    }
  });

  it('reads mounts as the client’s version means them', async () => {
    const bind = { Image: 'x', HostConfig: { Mounts: [{ Type: 'bind', Source: '/a', Target: '/b', ReadOnly: true }] } };
    await api.post('/v1.43/containers/create', bind);
    expect(created().hostConfig.mounts[0]?.bind?.readOnlyNonRecursive).toBe(true);
    api.services.containers.calls.length = 0;
    await api.post('/v1.44/containers/create', bind);
    expect(created().hostConfig.mounts[0]?.bind).toBeUndefined();
    const image = { Image: 'x', HostConfig: { Mounts: [{ Type: 'image', Source: 'y', Target: '/b' }] } };
    expect((await api.post('/v1.47/containers/create', image)).status).toBe(400);
    expect((await api.post('/v1.48/containers/create', image)).status).toBe(201);
  });
});

describe('inspect', () => {
  it('echoes what was sent, so that clients see no drift', async () => {
    const host = {
      Binds: ['/a:/b:ro'],
      ContainerIDFile: 'cid',
      LogConfig: { Type: 'json-file', Config: { 'max-size': '1m' } },
      NetworkMode: 'bridge',
      PortBindings: { '80/tcp': [{ HostIp: '', HostPort: '8080' }] },
      RestartPolicy: { Name: 'on-failure', MaximumRetryCount: 3 },
      AutoRemove: false,
      VolumeDriver: 'local',
      VolumesFrom: ['other:ro'],
      ConsoleSize: [24, 80],
      Annotations: { note: 'x' },
      CapAdd: ['NET_ADMIN'],
      CapDrop: ['ALL'],
      CgroupnsMode: 'private',
      Dns: ['1.1.1.1'],
      DnsOptions: ['ndots:1'],
      DnsSearch: ['test'],
      ExtraHosts: ['a:1.2.3.4'],
      GroupAdd: ['audio'],
      IpcMode: 'private',
      Cgroup: '',
      Links: ['db:db'],
      OomScoreAdj: 100,
      PidMode: 'host',
      Privileged: true,
      PublishAllPorts: true,
      ReadonlyRootfs: true,
      SecurityOpt: ['no-new-privileges'],
      StorageOpt: { size: '1G' },
      Tmpfs: { '/run': 'size=1m' },
      UTSMode: 'host',
      UsernsMode: 'host',
      ShmSize: 1048576,
      Sysctls: { 'net.core.somaxconn': '1' },
      Runtime: 'native',
      Isolation: '',
      CpuShares: 512,
      Memory: 6291456,
      NanoCpus: 500000000,
      CgroupParent: '/x',
      BlkioWeight: 300,
      BlkioWeightDevice: [{ Path: '/dev/sda', Weight: 10 }],
      BlkioDeviceReadBps: [{ Path: '/dev/sda', Rate: 1 }],
      BlkioDeviceWriteBps: [{ Path: '/dev/sda', Rate: 2 }],
      BlkioDeviceReadIOps: [{ Path: '/dev/sda', Rate: 3 }],
      BlkioDeviceWriteIOps: [{ Path: '/dev/sda', Rate: 4 }],
      CpuPeriod: 100000,
      CpuQuota: 50000,
      CpuRealtimePeriod: 1,
      CpuRealtimeRuntime: 2,
      CpusetCpus: '0-1',
      CpusetMems: '0',
      Devices: [{ PathOnHost: '/dev/fuse', PathInContainer: '/dev/fuse', CgroupPermissions: 'rwm' }],
      DeviceCgroupRules: ['c 1:3 mr'],
      DeviceRequests: [{ Driver: 'cdi', Count: -1, DeviceIDs: ['0'], Capabilities: [['gpu']], Options: { a: 'b' } }],
      MemoryReservation: 4194304,
      MemorySwap: -1,
      MemorySwappiness: 0,
      OomKillDisable: false,
      PidsLimit: 100,
      Ulimits: [{ Name: 'nofile', Hard: 2048, Soft: 1024 }],
      CpuCount: 0,
      CpuPercent: 0,
      IOMaximumIOps: 0,
      IOMaximumBandwidth: 0,
      Mounts: [
        { Type: 'bind', Source: '/a', Target: '/c', ReadOnly: true, BindOptions: { Propagation: 'rslave', CreateMountpoint: true } },
        {
          Type: 'volume',
          Source: 'data',
          Target: '/d',
          VolumeOptions: { NoCopy: true, Labels: { a: 'b' }, DriverConfig: { Name: 'local', Options: { o: 'x' } }, Subpath: 's' },
        },
        { Type: 'tmpfs', Target: '/e', TmpfsOptions: { SizeBytes: 10, Mode: 511, Options: [['noexec']] } },
        { Type: 'image', Source: 'i', Target: '/f', ImageOptions: { Subpath: 'p' } },
      ],
      MaskedPaths: ['/proc/x'],
      ReadonlyPaths: [],
      Init: true,
    };
    const plain = {
      Hostname: 'h',
      Domainname: 'd',
      User: '1:1',
      AttachStdin: true,
      AttachStdout: true,
      AttachStderr: true,
      ExposedPorts: { '80/tcp': {} },
      Tty: true,
      OpenStdin: true,
      StdinOnce: true,
      Env: ['A=b'],
      Cmd: ['sh'],
      Healthcheck: {
        Test: ['CMD', 'true'],
        Interval: 1000000000,
        Timeout: 2000000000,
        Retries: 2,
        StartPeriod: 3000000,
        StartInterval: 4000000,
      },
      Image: 'busybox',
      Volumes: { '/v': {} },
      WorkingDir: '/w',
      Entrypoint: ['/e'],
      NetworkDisabled: true,
      MacAddress: '02:00:00:00:00:01',
      OnBuild: ['RUN x'],
      Labels: { l: 'm' },
      StopSignal: 'SIGINT',
      StopTimeout: 0,
      Shell: ['/bin/bash'],
    };
    expect((await api.post('/containers/create?name=web', { ...plain, HostConfig: host })).status).toBe(201);
    const answer = await inspect();
    // A link is told with the whole name that it has.
    expect(answer['HostConfig']).toEqual({ ...host, Links: ['/db:/web/db'] });
    expect(answer['Config']).toEqual(plain);
  });

  it('has Docker’s nulls, lists and maps for what was not given', async () => {
    api.services.container();
    const answer = await inspect();
    expect(answer).toMatchObject({ Name: '/web', Mounts: [], ExecIDs: null, Args: ['-c', 'sleep 1'], RestartCount: 0 });
    expect(answer['Config']).toMatchObject({ Env: [], Cmd: null, Entrypoint: null, Volumes: null, OnBuild: null, Labels: {} });
    expect(answer['HostConfig']).toMatchObject({
      Binds: null,
      CapAdd: null,
      PortBindings: {},
      RestartPolicy: { Name: 'no', MaximumRetryCount: 0 },
      Dns: [],
      Devices: [],
      Ulimits: [],
      PidsLimit: null,
    });
    expect(answer['NetworkSettings']?.['Ports']).toEqual({});
    expect(answer['NetworkSettings']?.['Networks']?.['bridge']).toMatchObject({
      NetworkID: 'b'.repeat(64),
      IPAMConfig: null,
      Aliases: null,
      DriverOpts: null,
      IPAddress: '',
    });
  });

  it('shows times as Go writes them', async () => {
    api.services.container();
    expect(await inspect()).toMatchObject({
      Created: '2026-01-02T03:04:05.678901234Z',
      State: { StartedAt: '0001-01-01T00:00:00Z', FinishedAt: '0001-01-01T00:00:00Z' },
    });
  });

  it('has a state whose flags agree', async () => {
    api.services.container({ state: state({ status: 'paused', pid: 7 }) });
    expect((await inspect())['State']).toMatchObject({
      Status: 'paused',
      Running: true,
      Paused: true,
      Restarting: false,
      Dead: false,
      Pid: 7,
    });
    api.services.container({
      state: state({
        status: 'running',
        health: { status: 'healthy', failingStreak: 0, log: [{ start: 's', end: 'e', exitCode: 0, output: 'ok' }] },
      }),
    });
    expect((await inspect())['State']?.['Health']).toEqual({
      Status: 'healthy',
      FailingStreak: 0,
      Log: [{ Start: 's', End: 'e', ExitCode: 0, Output: 'ok' }],
    });
  });

  it('shows published ports of a running container, and null for what is exposed only', async () => {
    const record = container({ state: state({ status: 'running' }), config: config({ exposedPorts: ['80/tcp', '53/udp'] }) });
    api.services.containers.add(record);
    api.services.containers.view = (each) => ({
      ...Object.getPrototypeOf(api.services.containers).view.call(api.services.containers, each),
      endpoints: {
        bridge: endpointState({
          published: [
            { protocol: 'tcp', containerPort: 80, hostIp: '0.0.0.0', hostPort: 32768 },
            { protocol: 'tcp', containerPort: 80, hostIp: '::', hostPort: 32768 },
          ],
        }),
      },
    });
    expect((await inspect())['NetworkSettings']?.['Ports']).toEqual({
      '80/tcp': [
        { HostIp: '0.0.0.0', HostPort: '32768' },
        { HostIp: '::', HostPort: '32768' },
      ],
      '53/udp': null,
    });
    expect(((await api.get('/containers/json')).json as Json[])[0]?.['Ports']).toEqual([
      { IP: '0.0.0.0', PrivatePort: 80, PublicPort: 32768, Type: 'tcp' },
      { IP: '::', PrivatePort: 80, PublicPort: 32768, Type: 'tcp' },
      { PrivatePort: 53, Type: 'udp' },
    ]);
  });

  it('echoes aliases alone from 1.45, and has the short id among them before', async () => {
    api.services.networks.networks.set('app', { ...api.services.networks.networks.get('bridge')!, name: 'app', id: '9'.repeat(64) });
    api.services.container({
      hostConfig: hostConfig({ networkMode: 'app' }),
      endpointRequests: {
        app: {
          aliases: ['db'],
          ipv4Address: '10.0.0.5',
          ipv6Address: '',
          linkLocalIps: [],
          links: [],
          macAddress: '',
          driverOptions: {},
          gatewayPriority: 5,
        },
      },
    });
    const endpoint = async (version: string): Promise<Json> => (await inspect(version))['NetworkSettings']?.['Networks']?.['app'] ?? {};
    expect(await endpoint('/v1.51')).toMatchObject({
      Aliases: ['db'],
      DNSNames: null,
      GwPriority: 5,
      IPAMConfig: { IPv4Address: '10.0.0.5' },
      NetworkID: '9'.repeat(64),
    });
    expect((await endpoint('/v1.44'))['Aliases']).toEqual(['db', 'cccccccccccc']);
    expect(await endpoint('/v1.47')).not.toHaveProperty('GwPriority');
    expect(await endpoint('/v1.43')).not.toHaveProperty('DNSNames');
  });

  it('shows in lists what changed around a container since the last one', async () => {
    const app = { ...api.services.networks.networks.get('bridge')!, name: 'app', id: '9'.repeat(64) };
    const request = {
      aliases: [],
      ipv4Address: '',
      ipv6Address: '',
      linkLocalIps: [],
      links: [],
      macAddress: '',
      driverOptions: {},
      gatewayPriority: 0,
    };
    api.services.container({ hostConfig: hostConfig({ networkMode: 'app' }), endpointRequests: { app: request } });
    const networkId = async (): Promise<unknown> =>
      ((await api.get('/containers/json?all=1')).json as Json[])[0]?.['NetworkSettings']?.['Networks']?.['app']?.['NetworkID'];
    expect(await networkId()).toBe('');
    api.services.networks.networks.set('app', app);
    expect(await networkId()).toBe(app.id);
    api.services.networks.networks.set('app', { ...app, id: '8'.repeat(64) });
    expect(await networkId()).toBe('8'.repeat(64));
  });

  it('leaves no trace of an old client in the answer to a new one', async () => {
    api.services.container({ hostConfig: hostConfig({ annotations: { a: 'b' } }) });
    const list = async (version: string): Promise<Json> => ((await api.get(`${version}/containers/json?all=1`)).json as Json[])[0]!;
    expect((await list('/v1.42'))['HostConfig']).toEqual({ NetworkMode: 'bridge' });
    expect((await list('/v1.51'))['HostConfig']).toEqual({ NetworkMode: 'bridge', Annotations: { a: 'b' } });
  });
});

describe('the list', () => {
  it('has names with slash, whole seconds, the full image id and the command', async () => {
    api.services.container({
      state: state({
        status: 'exited',
        startedAt: '2026-01-01T00:00:00Z',
        finishedAt: new Date(Date.now() - 7_300_000).toISOString(),
        exitCode: 3,
      }),
    });
    expect(((await api.get('/containers/json?all=1')).json as Json[])[0]).toEqual({
      Id: 'c'.repeat(64),
      Names: ['/web'],
      Image: 'busybox',
      ImageID: `sha256:${'a'.repeat(64)}`,
      Command: "sh -c 'sleep 1'",
      Created: 1767323045,
      Ports: [],
      Labels: {},
      State: 'exited',
      Status: 'Exited (3) 2 hours ago',
      HostConfig: { NetworkMode: 'bridge' },
      NetworkSettings: { Networks: { bridge: expect.objectContaining({ NetworkID: 'b'.repeat(64) }) } },
      Mounts: [],
    });
  });

  it('hands on its options, with filters in either encoding', async () => {
    await api.get(`/containers/json?all=1&limit=-1&size=True&filters=${encodeURIComponent('{"status":{"exited":true}}')}`);
    expect(calls('list')[0]?.[0]).toEqual({ all: true, limit: 0, size: true, filters: new Map([['status', ['exited']]]) });
    expect(await api.get(`/containers/json?filters=${encodeURIComponent('{"colour":["x"]}')}`)).toMatchObject({
      status: 400,
      json: { message: "invalid filter 'colour'" },
    });
    expect((await api.get('/containers/json?limit=x')).status).toBe(400);
  });

  it('says how a container is', () => {
    const now = Date.parse('2026-01-01T01:00:00Z');
    const text = (change: Parameters<typeof state>[0]): string =>
      statusText(container({ state: state({ startedAt: '2026-01-01T00:57:00Z', ...change }) }), now);
    expect(text({ status: 'running' })).toBe('Up 3 minutes');
    expect(text({ status: 'running', health: { status: 'healthy', failingStreak: 0, log: [] } })).toBe('Up 3 minutes (healthy)');
    expect(text({ status: 'running', health: { status: 'starting', failingStreak: 0, log: [] } })).toBe('Up 3 minutes (health: starting)');
    expect(text({ status: 'paused' })).toBe('Up 3 minutes (Paused)');
    expect(text({ status: 'restarting', exitCode: 1, finishedAt: '2026-01-01T00:59:50Z' })).toBe('Restarting (1) 10 seconds ago');
    expect(text({ status: 'exited', exitCode: 137, finishedAt: '2026-01-01T00:59:00Z' })).toBe('Exited (137) About a minute ago');
    expect(text({ status: 'created', startedAt: '' })).toBe('Created');
    expect(text({ status: 'dead' })).toBe('Dead');
    expect(text({ status: 'removing' })).toBe('Removal In Progress');
  });

  it('of a hundred containers is made in about a millisecond', async () => {
    for (let i = 0; i < 100; i++)
      api.services.container({
        id: String(i).padStart(64, '0'),
        name: `c${i}`,
        state: state({ status: 'running', startedAt: '2026-01-01T00:00:00Z' }),
      });
    for (let i = 0; i < 20; i++) await api.get('/containers/json');
    const times: number[] = [];
    for (let i = 0; i < 20; i++) {
      const began = performance.now();
      await api.get('/containers/json');
      times.push(performance.now() - began);
    }
    // Generous, since other work shares the machine: the figure itself belongs to the benchmark.
    expect(Math.min(...times)).toBeLessThan(10);
  });
});

describe('routes that change a container', () => {
  beforeEach(() => api.services.container({ state: state({ status: 'running' }) }));

  it('answer with the exact status that clients check', async () => {
    for (const [method, url, status] of [
      ['POST', '/containers/web/stop?t=5', 204],
      ['POST', '/containers/web/restart', 204],
      ['POST', '/containers/web/pause', 204],
      ['POST', '/containers/web/unpause', 204],
      ['POST', '/containers/web/resize?h=24&w=80', 200],
      ['POST', '/containers/web/rename?name=new', 204],
      ['DELETE', '/containers/new?v=1&force=true', 204],
    ] as const) {
      expect([url, (await api.ask(method, url)).status]).toEqual([url, status]);
    }
    expect(calls('resize')[0]).toEqual(['web', 24, 80]);
    expect(calls('remove')[0]).toEqual(['new', { force: true, volumes: true }]);
  });

  it('remove a link by itself', async () => {
    expect((await api.ask('DELETE', '/containers/web/db?link=1')).status).toBe(204);
    expect(calls('removeLink')).toEqual([['web', 'db']]);
    const own = await api.ask('DELETE', '/containers/web?link=1');
    expect([own.status, own.json]).toEqual([409, { message: 'Conflict, cannot remove the default link name of the container' }]);
    const unknown = await api.ask('DELETE', '/containers/web/db');
    expect([unknown.status, unknown.json]).toEqual([404, { message: 'No such container: web/db' }]);
  });

  it('read seconds and signal of a stop, the signal from 1.42', async () => {
    await api.post('/v1.41/containers/web/stop?t=-1&signal=SIGINT').catch(() => undefined);
    api.services.container({ state: state({ status: 'running' }) });
    await api.post('/v1.42/containers/web/stop?signal=SIGINT');
    expect(calls('stop')).toEqual([
      ['web', { timeout: -1 }],
      ['web', { signal: 'SIGINT' }],
    ]);
    expect((await api.post('/containers/web/stop?t=soon')).status).toBe(400);
  });

  it('want a size for resize', async () => {
    for (const query of ['', '?h=1', '?h=-1&w=1', '?h=x&w=1', '?h=1&w=4294967296'])
      expect((await api.post(`/containers/web/resize${query}`)).status, query).toBe(400);
  });

  it('kill with KILL unless told, and 409 when it does not run', async () => {
    expect((await api.post('/containers/web/kill')).status).toBe(204);
    expect(calls('kill')[0]).toEqual(['web', 'SIGKILL']);
    expect((await api.post('/containers/web/kill?signal=HUP')).status).toBe(409);
  });

  it('change only limits that are given, where some zeroes say something', async () => {
    expect(
      await api.post('/containers/web/update', {
        Memory: 1024,
        CpuShares: 0,
        PidsLimit: 0,
        CpusetCpus: '',
        RestartPolicy: { Name: 'always' },
      }),
    ).toMatchObject({ status: 200, json: { Warnings: [] } });
    expect(calls('update')[0]).toEqual([
      'web',
      { resources: { memory: 1024, pidsLimit: 0 }, restartPolicy: { name: 'always', maximumRetryCount: 0 } },
    ]);
  });

  it('commit with a pause unless told, and changes from the query', async () => {
    expect(
      await api.post('/commit?container=web&repo=r&tag=t&comment=c&author=a&changes=ENV%20A%3Db%0ACMD%20x&pause=0', { Env: ['X=y'] }),
    ).toMatchObject({ status: 201, json: { Id: `sha256:${'f'.repeat(64)}` } });
    expect(calls('commit')[0]).toEqual([
      'web',
      { repository: 'r', tag: 't', comment: 'c', author: 'a', pause: false, changes: ['ENV A=b', 'CMD x'], config: { env: ['X=y'] } },
    ]);
    await api.post('/commit?container=web');
    expect(calls('commit')[1]?.[1]).toMatchObject({ pause: true, config: {} });
  });
});

describe('what is read from a container', () => {
  beforeEach(() => api.services.container({ state: state({ status: 'running' }) }));

  it('top, with ps -ef unless told', async () => {
    expect((await api.get('/containers/web/top')).json).toEqual({ Titles: ['PID', 'CMD'], Processes: [['4242', 'sleep  1']] });
    expect(calls('top')[0]).toEqual(['web', '-ef']);
  });

  it('changes by number', async () => {
    expect((await api.get('/containers/web/changes')).json).toEqual([
      { Path: '/etc', Kind: 0 },
      { Path: '/etc/x', Kind: 1 },
      { Path: '/etc/y', Kind: 2 },
    ]);
  });

  it('logs, framed, with timestamp and details before each line', async () => {
    const time = 1_767_225_600_000_000_001n;
    api.services.containers.logLines.set('c'.repeat(64), [
      { stream: 'stdout', time, line: Buffer.from('out\n'), attrs: { b: '2 3', a: '1' } },
      { stream: 'stderr', time, line: Buffer.from('err\n'), attrs: {} },
    ]);
    expect(await api.get('/containers/web/logs')).toMatchObject({
      status: 400,
      json: { message: 'Bad parameters: you must choose at least one stream' },
    });
    const answer = await api.server.app.inject(
      '/v1.42/containers/web/logs?stdout=1&stderr=1&timestamps=1&details=1&tail=all&since=5.25&until=0',
    );
    expect(answer.headers['content-type']).toBe('application/vnd.docker.multiplexed-stream');
    expect(frames(answer.rawPayload)).toEqual([
      [1, '2026-01-01T00:00:00.000000001Z a=1,b=2%203 out\n'],
      [2, '2026-01-01T00:00:00.000000001Z  err\n'],
    ]);
    expect(calls('logs')[0]?.[1]).toMatchObject({ stdout: true, stderr: true, follow: false, since: 5_250_000_000n });
    expect(calls('logs')[0]?.[1]).not.toHaveProperty('until');
    expect(calls('logs')[0]?.[1]).not.toHaveProperty('tail');
    const last = await api.server.app.inject('/v1.41/containers/web/logs?stdout=1&stderr=1&tail=1');
    expect(last.headers['content-type']).toBe('application/vnd.docker.raw-stream');
    expect(frames(last.rawPayload)).toEqual([[2, 'err\n']]);
  });

  it('stats of a stopped container are zeroes at once', async () => {
    const { json } = await api.get('/containers/web/stats?stream=false');
    expect(json).toMatchObject({
      name: '/web',
      id: 'c'.repeat(64),
      read: '0001-01-01T00:00:00Z',
      memory_stats: {},
      pids_stats: {},
      cpu_stats: { cpu_usage: { total_usage: 0 } },
    });
  });

  it('stats have a sample of a second before, unless one-shot', async () => {
    api.services.containers.usage = usage(2);
    const began = performance.now();
    const { json } = await api.get('/containers/web/stats?stream=0');
    expect(performance.now() - began).toBeGreaterThan(950);
    const both = json as Json;
    expect(both['precpu_stats']?.['system_cpu_usage']).toBeLessThan(both['cpu_stats']?.['system_cpu_usage'] as unknown as number);
    expect(both['cpu_stats']).toMatchObject({
      online_cpus: 2,
      cpu_usage: { total_usage: 100, usage_in_usermode: 60, usage_in_kernelmode: 40 },
    });
    expect(both['memory_stats']).toMatchObject({ usage: 1000, limit: 5000, stats: { inactive_file: 7 } });
    expect(both['memory_stats']).not.toHaveProperty('max_usage');
    expect(both['blkio_stats']).toMatchObject({
      io_service_bytes_recursive: [{ major: 8, minor: 0, op: 'read', value: 11 }],
      io_serviced_recursive: null,
    });
    const once = (await api.get('/containers/web/stats?stream=0&one-shot=1')).json as Json;
    expect(once['preread']).toBe('0001-01-01T00:00:00Z');
    expect(once['precpu_stats']?.['cpu_usage']?.['total_usage']).toBe(0);
  });

  it('stats have the shape of the cgroup version', async () => {
    api.services.containers.usage = usage(1);
    const v1 = (await api.get('/containers/web/stats?stream=0&one-shot=1')).json as Json;
    expect(v1['memory_stats']?.['max_usage']).toBe(2000);
    expect(v1['cpu_stats']?.['cpu_usage']?.['percpu_usage']).toEqual([70, 30]);
    expect(v1['blkio_stats']?.['io_serviced_recursive']).toEqual([{ major: 8, minor: 0, op: 'read', value: 2 }]);
  });
});

function usage(cgroupVersion: 1 | 2): TaskUsage {
  return {
    cgroupVersion,
    readAt: 0,
    cpuTotalNs: 100,
    cpuUserNs: 60,
    cpuKernelNs: 40,
    cpuPerCoreNs: [70, 30],
    throttledPeriods: 0,
    periods: 0,
    throttledNs: 0,
    memoryUsage: 1000,
    memoryMax: 2000,
    memoryLimit: 5000,
    memoryStat: { inactive_file: 7 },
    pids: 3,
    pidsLimit: 0,
    blkio: [{ major: 8, minor: 0, op: 'read', bytes: 11, ios: 2 }],
  };
}
