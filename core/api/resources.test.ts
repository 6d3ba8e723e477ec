import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FakeApi, type Json } from '../../test/fakes/api.js';

let api: FakeApi;
beforeEach(async () => {
  api = await FakeApi.open();
});
afterEach(() => api.close());

describe('networks', () => {
  it('are listed without containers and with maps that are never null', async () => {
    expect((await api.get('/networks')).json).toEqual([
      {
        Name: 'bridge',
        Id: 'b'.repeat(64),
        Created: '2026-01-01T00:00:00.000000000Z',
        Scope: 'local',
        Driver: 'bridge',
        EnableIPv4: true,
        EnableIPv6: false,
        IPAM: { Driver: 'default', Options: null, Config: [{ Subnet: '172.17.0.0/16', Gateway: '172.17.0.1' }] },
        Internal: false,
        Attachable: false,
        Ingress: false,
        ConfigFrom: { Network: '' },
        ConfigOnly: false,
        Containers: {},
        Options: {},
        Labels: {},
      },
    ]);
    expect(((await api.get('/v1.47/networks')).json as Json[])[0]).not.toHaveProperty('EnableIPv4');
    api.services.networks.networks.clear();
    expect((await api.get('/networks')).json).toEqual([]);
  });

  it('hand filters on as they are: the name is a pattern', async () => {
    await api.get(`/networks?filters=${encodeURIComponent('{"name":{"db":true}}')}`);
    expect(api.services.networks.calls[0]).toEqual(['list', new Map([['name', ['db']]])]);
    expect((await api.get(`/networks?filters=${encodeURIComponent('{"color":["x"]}')}`)).status).toBe(400);
  });

  it('are inspected with their containers, and 404 when absent', async () => {
    expect(((await api.get('/networks/bridge')).json as Json)['Containers']).toEqual({
      ['c'.repeat(64)]: {
        Name: 'web',
        EndpointID: 'e'.repeat(64),
        MacAddress: '02:42:ac:11:00:02',
        IPv4Address: '172.17.0.2/16',
        IPv6Address: '',
      },
    });
    expect((await api.get('/networks/ghost')).status).toBe(404);
    expect((await api.get('/networks/bridge?scope=swarm')).status).toBe(404);
    expect((await api.get('/networks/bridge?scope=local&verbose=true')).status).toBe(200);
  });

  it('are made with 201 and all that was asked', async () => {
    const { status, json } = await api.post('/networks/create', {
      Name: 'app',
      CheckDuplicate: true,
      Driver: 'bridge',
      EnableIPv6: true,
      Internal: true,
      IPAM: {
        Driver: 'default',
        Config: [{ Subnet: '10.9.0.0/24', IPRange: '10.9.0.0/25', Gateway: '10.9.0.254', AuxiliaryAddresses: { r: '10.9.0.2' } }],
        Options: { o: 'x' },
      },
      Options: { 'com.docker.network.bridge.name': 'br9' },
      Labels: { a: 'b' },
    });
    expect([status, (json as Json)['Warning']]).toEqual([201, '']);
    expect(api.services.networks.calls[0]?.[1]).toEqual({
      name: 'app',
      driver: 'bridge',
      scope: '',
      enableIpv4: true,
      enableIpv6: true,
      internal: true,
      attachable: false,
      ingress: false,
      configOnly: false,
      configFrom: '',
      ipam: {
        driver: 'default',
        options: { o: 'x' },
        config: [{ subnet: '10.9.0.0/24', ipRange: '10.9.0.0/25', gateway: '10.9.0.254', auxAddresses: { r: '10.9.0.2' } }],
      },
      options: { 'com.docker.network.bridge.name': 'br9' },
      labels: { a: 'b' },
    });
    expect(((await api.get('/networks/app')).json as Json)['IPAM']).toMatchObject({
      Options: { o: 'x' },
      Config: [{ Subnet: '10.9.0.0/24', IPRange: '10.9.0.0/25', Gateway: '10.9.0.254', AuxiliaryAddresses: { r: '10.9.0.2' } }],
    });
    expect((await api.post('/networks/create', {})).status).toBe(400);
  });

  it('take containers and let them go with 200', async () => {
    const body = { Container: 'web', EndpointConfig: { IPAMConfig: { IPv4Address: '10.9.0.5' }, Aliases: ['a'], GwPriority: 3 } };
    expect(await api.post('/networks/app/connect', body)).toMatchObject({ status: 200, text: '' });
    expect((await api.post('/networks/app/disconnect', { Container: 'web', Force: true })).status).toBe(200);
    const { calls } = api.services.containers;
    expect(calls[0]).toMatchObject(['connect', 'app', 'web', { ipv4Address: '10.9.0.5', aliases: ['a'], gatewayPriority: 3 }]);
    expect(calls[1]).toEqual(['disconnect', 'app', 'web', { force: true }]);
    expect((await api.post('/networks/app/connect', {})).status).toBe(400);
  });

  it('are removed with 204, and predefined ones not at all', async () => {
    expect((await api.ask('DELETE', '/networks/app')).status).toBe(204);
    expect((await api.ask('DELETE', '/networks/bridge')).status).toBe(403);
    expect((await api.post('/networks/prune')).json).toEqual({ NetworksDeleted: null });
  });
});

describe('volumes', () => {
  it('are made with 201, also without a body, and again by the same name and driver', async () => {
    const made = await api.post('/volumes/create', { Name: 'data', DriverOpts: { type: 'tmpfs' }, Labels: { a: 'b' } });
    expect(made).toMatchObject({
      status: 201,
      json: {
        Name: 'data',
        Driver: 'local',
        Scope: 'local',
        Mountpoint: '/volumes/data',
        Options: { type: 'tmpfs' },
        Labels: { a: 'b' },
        CreatedAt: '2026-01-01T00:00:00Z',
      },
    });
    expect((await api.post('/volumes/create', { Name: 'data', DriverOpts: { type: 'nfs' } })).json).toMatchObject({
      Options: { type: 'tmpfs' },
    });
    expect((await api.post('/volumes/create', { Name: 'data', Driver: 'other' })).status).toBe(409);
    expect((await api.post('/volumes/create')).json).toMatchObject({ Name: expect.stringMatching(/^[0-9a-f]{64}$/) });
    expect((await api.post('/volumes/create', { Name: 'x', ClusterVolumeSpec: {} })).status).toBe(501);
  });

  it('are listed as a list whatever there is', async () => {
    expect((await api.get('/volumes')).json).toEqual({ Volumes: [], Warnings: null });
    await api.post('/volumes/create', { Name: 'data' });
    expect((await api.get(`/volumes?filters=${encodeURIComponent('{"dangling":{"true":true}}')}`)).json).toMatchObject({
      Volumes: [{ Name: 'data', Labels: null, Options: null }],
    });
    expect((await api.get(`/volumes?filters=${encodeURIComponent('{"until":["1h"]}')}`)).status).toBe(400);
  });

  it('are pruned by the rule of the client’s version: anonymous ones alone from 1.42', async () => {
    const filters = encodeURIComponent('{"all":["1"],"label":["x"]}');
    for (const url of ['/v1.41/volumes/prune', '/v1.42/volumes/prune', `/v1.42/volumes/prune?filters=${filters}`]) await api.post(url);
    const prunes = api.services.volumes.calls.filter(([name]) => name === 'prune');
    expect(prunes.map(([, given, options]) => [given, options])).toEqual([
      [new Map(), { all: true }],
      [new Map(), { all: false }],
      [new Map([['label', ['x']]]), { all: true }],
    ]);
    expect((await api.post('/volumes/prune')).json).toEqual({ VolumesDeleted: ['old'], SpaceReclaimed: 5 });
  });

  it('are removed with 204, and 404 when absent on inspect', async () => {
    expect((await api.ask('DELETE', '/volumes/data?force=1')).status).toBe(204);
    expect(api.services.volumes.calls.at(-1)).toEqual(['remove', 'data', { force: true }]);
    expect((await api.get('/volumes/ghost')).status).toBe(404);
    expect((await api.ask('PUT', '/volumes/data')).status).toBe(503);
  });
});

describe('the engine about itself', () => {
  it('tells its version with the keys that clients choose by', async () => {
    expect((await api.get('/version')).json).toMatchObject({
      ApiVersion: '1.51',
      MinAPIVersion: '1.24',
      Version: '0.1.0',
      Os: 'linux',
      Arch: 'amd64',
      Components: [{ Name: 'Engine', Version: '0.1.0' }],
    });
  });

  it('tells info with every map that clients read, and an inactive swarm', async () => {
    const info = (await api.get('/info')).json as Json;
    expect(info).toMatchObject({
      ID: 'engine',
      ServerVersion: '0.1.0',
      OperatingSystem: 'Debian',
      CgroupVersion: '2',
      Driver: 'overlay2',
      DriverStatus: [['Backing Filesystem', 'ext4']],
      Plugins: { Volume: ['local'], Network: ['bridge', 'host', 'none'], Log: ['json-file', 'none'], Authorization: null },
      Swarm: { LocalNodeState: 'inactive' },
      Runtimes: { native: { path: 'gantry-runtime' } },
      Labels: [],
      Warnings: [],
    });
    expect(info['RegistryConfig']).toMatchObject({
      InsecureRegistryCIDRs: ['::1/128', '127.0.0.0/8', '10.0.0.0/8'],
      IndexConfigs: { 'docker.io': { Official: true, Secure: true }, 'registry.test:5000': { Secure: false } },
    });
    expect(info).not.toHaveProperty('KernelMemory');
    expect((await api.get('/v1.41/info')).json).toMatchObject({
      KernelMemory: false,
      BridgeNfIptables: false,
      RuncCommit: { Expected: 'gantry-runtime 0.1.0' },
    });
    expect((await api.get('/v1.24/info')).json).toMatchObject({
      SecurityOptions: ['seccomp', 'cgroupns'],
      ExecutionDriver: '<not supported>',
    });
  });

  it('tells what the disk holds', async () => {
    api.services.container();
    await api.post('/volumes/create', { Name: 'data' });
    expect((await api.get('/system/df')).json).toMatchObject({
      LayersSize: 4200000,
      Images: [{ RepoTags: ['busybox:latest'], Containers: 1, SharedSize: 0 }],
      Containers: [{ Names: ['/web'] }],
      Volumes: [{ Name: 'data', UsageData: { Size: 10, RefCount: 1 } }],
      BuildCache: [],
    });
    expect((await api.get('/v1.41/system/df?type=volume')).json).toMatchObject({ BuilderSize: 0, Images: expect.any(Array) });
    expect((await api.get('/system/df?type=volume&type=build-cache')).json).toMatchObject({
      Images: null,
      Containers: null,
      Volumes: [{}],
      BuildCache: [],
    });
    expect((await api.get('/system/df?type=odd')).status).toBe(400);
  });

  it('hands on what events are asked for', async () => {
    await api.get(`/events?since=1.5&until=2&filters=${encodeURIComponent('{"type":["container"],"event":["die"]}')}`);
    expect(api.services.events.subscriptions[0]).toMatchObject({
      since: 1_500_000_000n,
      until: 2_000_000_000n,
      filters: new Map([
        ['type', ['container']],
        ['event', ['die']],
      ]),
    });
    expect((await api.get('/events?since=yesterday')).status).toBe(400);
    expect((await api.get(`/events?filters=${encodeURIComponent('{"odd":["x"]}')}`)).status).toBe(400);
  });
});
