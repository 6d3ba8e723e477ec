import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FakeLog, FakeServices } from '../../test/fakes/services.js';
import { state } from '../../test/fakes/records.js';
import { infoJson } from '../api/system/system-json.js';
import type { ClusterStatus } from '../contracts/cluster.js';
import type { Probe } from '../contracts/manifest.js';
import type { DriverRegistry } from '../extension/driver-registry.js';
import type { Layers } from '../layer/layers.js';
import { Database } from '../state/database.js';
import { cgroupFeatures } from './cgroup-features.js';
import { parseOsRelease, withoutCredentials } from './host-facts.js';
import type { Settings } from './settings.js';
import { SystemService } from './system-service.js';

const settings = {
  version: '0.1.0',
  initPath: '/opt/bin/gantry-init',
  nativeRuntimePath: '/opt/bin/gantry-runtime',
  runtimes: { mine: { path: '/opt/mine', args: ['--debug'] } },
  defaultRuntime: 'native',
  logDriver: 'json-file',
  seccompProfile: '',
  insecureRegistries: [],
  registryMirrors: [],
  defaultAddressPools: [],
  labels: ['a=b'],
  dataRoot: '/data',
} as unknown as Settings;

describe('the system service', () => {
  let services: FakeServices;
  let db: Database;
  let status: () => Promise<[string, string][]>;
  let probe: (kind: string, name: string) => Promise<Probe>;

  const make = (): SystemService => {
    const drivers = {
      isRemote: () => false,
      leftOut: (kind: string) => (kind === 'storage' ? ['btrfs'] : []),
      names: (kind: string) => ({ storage: ['vfs', 'overlay2'], network: ['none', 'bridge'], runtime: ['native', 'runc'] })[kind] ?? [],
      probe: (kind: string, name: string) => probe(kind, name),
    } as unknown as DriverRegistry;
    const layers = { defaultDriver: { name: 'overlay2', reason: 'the fastest here' }, status: () => status() } as unknown as Layers;
    return new SystemService(
      settings,
      db,
      drivers,
      services.containers,
      services.images,
      layers,
      services.events,
      services.plugins,
      services.networks,
      new FakeLog(),
    );
  };

  beforeEach(() => {
    services = new FakeServices();
    db = Database.open(':memory:');
    status = async () => [['Backing Filesystem', 'ext4']];
    probe = async () => ({ ok: true });
  });

  afterEach(() => db.close());

  it('counts containers by state', async () => {
    services.container({ id: '1'.repeat(64), name: 'a', state: state({ status: 'running' }) });
    services.container({ id: '2'.repeat(64), name: 'b', state: state({ status: 'paused' }) });
    services.container({ id: '3'.repeat(64), name: 'c', state: state({ status: 'exited' }) });
    expect(await make().info()).toMatchObject({ containers: 3, running: 1, paused: 1, stopped: 1, images: 1 });
  });

  it('names drivers, the chosen one with its reason, and those that cannot serve with theirs', async () => {
    probe = async (_kind, name) => (name === 'overlay2' ? { ok: false, reason: 'overlay is not in this kernel' } : { ok: true });
    const info = await make().info();
    expect(info.drivers.network).toEqual(['bridge', 'none']);
    expect(info.driverSet).toEqual({
      included: ['storage/overlay2', 'storage/vfs', 'network/bridge', 'network/none', 'runtime/native', 'runtime/runc'],
      leftOut: ['storage/btrfs'],
    });
    expect(info.storageStatus).toEqual([
      ['Backing Filesystem', 'ext4'],
      ['Chosen because', 'the fastest here'],
    ]);
    expect(info.unavailableDrivers).toEqual([{ kind: 'storage', name: 'overlay2', reason: 'overlay is not in this kernel' }]);
    expect(info.runtimes).toEqual({
      native: { path: '/opt/bin/gantry-runtime', args: [] },
      runc: { path: 'runc', args: [] },
      mine: { path: '/opt/mine', args: ['--debug'] },
    });
  });

  it('does not wait for a driver that hangs', async () => {
    status = () => new Promise(() => undefined);
    probe = () => new Promise(() => undefined);
    expect((await make().info()).unavailableDrivers).toEqual([]);
  });

  it('shows the last known status while a new one is asked for, and outlives a failure', async () => {
    const system = make();
    await system.info();
    status = () => Promise.reject(new Error('gone'));
    expect((await system.info()).storageStatus[0]).toEqual(['Backing Filesystem', 'ext4']);
    expect((await system.info()).storageStatus[0]).toEqual(['Backing Filesystem', 'ext4']);
  });

  it('shows the cluster that the engine is a member of, and warns when its store is away', async () => {
    const system = make();
    expect((await system.info()).cluster).toBeUndefined();
    const members = [{ name: 'here', address: '192.0.2.1' }];
    let failure: ClusterStatus['failure'];
    system.useCluster({ status: () => ({ store: 'etcd://10.0.0.5:2379', address: '192.0.2.1', failure, members }) });
    const well = await system.info();
    expect(well.warnings.join()).not.toContain('cluster');
    expect(infoJson(well, [])).toMatchObject({
      ClusterStore: 'etcd://10.0.0.5:2379',
      ClusterAdvertise: '192.0.2.1',
      SystemStatus: expect.arrayContaining([
        ['Cluster Health', 'ok'],
        ['Cluster Members', 'here (192.0.2.1)'],
      ]),
    });
    failure = { since: new Date(0), reason: 'connect ECONNREFUSED' };
    const ill = await system.info();
    const told = 'not followed since 1970-01-01T00:00:00.000Z: connect ECONNREFUSED';
    expect(ill.warnings).toContain(`WARNING: the cluster store etcd://10.0.0.5:2379 is ${told}`);
    expect(infoJson(ill, [])).toMatchObject({ SystemStatus: expect.arrayContaining([['Cluster Health', told]]) });
  });

  it('keeps one id for a data root', async () => {
    const { id } = await make().info();
    expect(id).toMatch(/^[0-9a-f-]{36}$/);
    expect((await make().info()).id).toBe(id);
  });
});

describe('cgroup features', () => {
  let root: string;
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'gantry-api-cgroup-'));
  });
  afterEach(() => rmSync(root, { recursive: true }));

  it('reads the controllers of version 2', () => {
    writeFileSync(join(root, 'cgroup.controllers'), 'cpu memory\n');
    expect(cgroupFeatures(root, true)).toMatchObject({
      version: '2',
      memoryLimit: true,
      cpuShares: true,
      cpuSet: false,
      pidsLimit: false,
      oomKillDisable: false,
    });
  });

  it('looks for the files of version 1', () => {
    mkdirSync(join(root, 'memory'));
    writeFileSync(join(root, 'memory', 'memory.limit_in_bytes'), '');
    expect(cgroupFeatures(root)).toMatchObject({ version: '1', memoryLimit: true, swapLimit: false, cpuCfs: false });
  });
});

describe('facts of the host', () => {
  it('reads os-release with its quotes', () => {
    const values = parseOsRelease('# x\nPRETTY_NAME="Debian \\"12\\""\nVERSION_ID=12\nID=\'deb ian\'\n');
    expect([values.get('PRETTY_NAME'), values.get('VERSION_ID'), values.get('ID')]).toEqual(['Debian "12"', '12', 'deb ian']);
  });

  it('hides the password of a proxy', () => {
    expect(withoutCredentials('http://user:secret@proxy:3128')).toBe('http://xxxxx:xxxxx@proxy:3128');
    expect(withoutCredentials('http://proxy:3128')).toBe('http://proxy:3128');
  });
});
