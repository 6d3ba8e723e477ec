import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { fakeSource } from '../../test/fakes/drivers.js';
import { FakeEvents } from '../../test/fakes/events.js';
import { silentLog, testSettings } from '../../test/fakes/settings.js';
import { invalid, notFound } from '../contracts/errors.js';
import type { Host } from '../contracts/host.js';
import type { VolumeDriver } from '../contracts/volume.js';
import { DriverRegistry } from '../extension/driver-registry.js';
import { Database } from '../state/database.js';
import { Journal } from '../state/journal.js';
import { VolumeService } from './volume-service.js';

/** Volumes that are names; all of them show the folder `path`. */
class MemoryVolumes implements VolumeDriver {
  readonly scope = 'local';
  readonly names = new Set<string>();
  readonly calls: string[] = [];
  mountAnswer: string;

  constructor(path: string) {
    this.mountAnswer = path;
  }

  async create(name: string, options: Readonly<Record<string, string>>): Promise<void> {
    if (options['bad']) throw invalid('invalid option: "bad"');
    this.names.add(name);
  }

  async get(name: string) {
    if (!this.names.has(name)) throw notFound('volume', name);
    return { name, mountpoint: this.mountAnswer, createdAt: '2026-01-01T00:00:00Z' };
  }

  list = async () => Promise.all([...this.names].map((name) => this.get(name)));

  async remove(name: string): Promise<void> {
    this.names.delete(name);
  }

  async mount(name: string, user: string): Promise<string> {
    this.calls.push(`mount ${name} ${user}`);
    return this.mountAnswer;
  }

  async unmount(name: string, user: string): Promise<void> {
    this.calls.push(`unmount ${name} ${user}`);
  }

  close = async () => undefined;
}

describe('volumes', () => {
  let root: string;
  let db: Database;
  let events: FakeEvents;
  let driver: MemoryVolumes;
  let foreign: MemoryVolumes;
  let volumes: VolumeService;

  const open = async (): Promise<VolumeService> => {
    const files = { treeSize: async () => 11, removeTree: async (path: string) => rmSync(path, { recursive: true }) };
    const host = { files } as unknown as Host;
    const registry = new DriverRegistry(
      [
        fakeSource([
          { kind: 'volume', name: 'local', driver, capabilities: ['volume-private'] },
          { kind: 'volume', name: 'other', driver: foreign },
        ]),
      ],
      { ...testSettings({ dataRoot: root, execRoot: root }), host, log: silentLog, optionsFor: () => ({}) },
    );
    const service = new VolumeService(db, new Journal(db), registry, events, host, silentLog);
    await service.open();
    return service;
  };
  const make = (name: string, more: Partial<Parameters<VolumeService['create']>[0]> = {}) =>
    volumes.create({ name, driver: 'local', options: {}, labels: {}, ...more });
  const actions = (): string[] => events.past.map(({ action, id }) => `${action} ${id}`.trim());

  beforeEach(async () => {
    root = mkdtempSync(join(tmpdir(), 'gantry-container-volumes-'));
    db = Database.open(':memory:');
    events = new FakeEvents();
    mkdirSync(join(root, 'content'));
    driver = new MemoryVolumes(join(root, 'content'));
    foreign = new MemoryVolumes(root);
    volumes = await open();
  });
  afterEach(() => {
    db.close();
    rmSync(root, { recursive: true, force: true });
  });

  it('of the same name and driver are the same, whatever the options; of another driver they conflict', async () => {
    const first = await make('vol', { labels: { a: '1' } });
    expect(await make('vol', { options: { bad: '1' } })).toEqual(first);
    await expect(make('vol', { driver: 'other' })).rejects.toMatchObject({ kind: 'conflict' });
    await expect(make('vol2', { driver: 'nope' })).rejects.toMatchObject({ kind: 'not-found' });
    expect(actions()).toEqual(['create vol']);
  });

  it('without a name get one, and a label that says so', async () => {
    const { name, labels, anonymous } = await make('');
    expect(name).toMatch(/^[0-9a-f]{64}$/);
    expect([labels, anonymous]).toEqual([{ 'com.docker.volume.anonymous': '' }, true]);
  });

  it('have names of one grammar, and a refused option leaves nothing', async () => {
    await expect(make('a/b')).rejects.toMatchObject({
      kind: 'invalid-parameter',
      message: expect.stringContaining(
        '"a/b" includes invalid characters for a local volume name, only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed',
      ),
    });
    await expect(make('vol', { options: { bad: '1' } })).rejects.toMatchObject({
      kind: 'invalid-parameter',
      message: 'create vol: invalid option: "bad"',
    });
    await expect(volumes.inspect('vol')).rejects.toMatchObject({ kind: 'not-found', message: 'get vol: no such volume' });
  });

  it('stay while a container names them, over a restart', async () => {
    await make('vol', { container: 'c1' });
    await volumes.reference('vol', 'c2');
    volumes = await open();
    await expect(volumes.remove('vol', { force: true })).rejects.toMatchObject({
      kind: 'conflict',
      message: 'remove vol: volume is in use - [c1, c2]',
    });
    await volumes.dereference('vol', 'c1');
    await volumes.dereference('vol', 'c2');
    await volumes.remove('vol', { force: false });
    await expect(volumes.remove('vol', { force: false })).rejects.toMatchObject({ kind: 'not-found' });
    await volumes.remove('vol', { force: true });
  });

  it('are mounted once for each container, and unmounted when its last use ends', async () => {
    await make('vol');
    await volumes.mount('vol', 'c1');
    await volumes.mount('vol', 'c1');
    await volumes.mount('vol', 'c2');
    await volumes.unmount('vol', 'c1');
    await volumes.unmount('vol', 'c2');
    await volumes.unmount('vol', 'c1');
    expect(driver.calls).toEqual(['mount vol c1', 'mount vol c2', 'unmount vol c2', 'unmount vol c1']);
    await volumes.unmount('gone', 'c1');
  });

  it('are filled once, when empty, and a copy that failed or was cut off leaves nothing', async () => {
    await make('vol', { container: 'c1' });
    await volumes.mount('vol', 'c1');
    const half = async (path: string) => {
      writeFileSync(join(path, 'half'), '');
      throw new Error('disk full');
    };
    await expect(volumes.fill('vol', 'c1', half)).rejects.toThrow('disk full');
    expect(readdirSync(join(root, 'content'))).toEqual([]);

    // Killed in the middle: the next start finds the intent.
    writeFileSync(join(root, 'content/half'), '');
    new Journal(db).begin('volume.fill', 'vol', { container: 'c1' });
    volumes = await open();
    expect(readdirSync(join(root, 'content'))).toEqual([]);

    await volumes.mount('vol', 'c1');
    await volumes.fill('vol', 'c1', async (path) => writeFileSync(join(path, 'whole'), ''));
    await volumes.fill('vol', 'c1', async () => expect.unreachable());
    expect(readdirSync(join(root, 'content'))).toEqual(['whole']);
  });

  it('that another container uses are not emptied after a crash', async () => {
    await make('vol', { container: 'c1' });
    await volumes.reference('vol', 'c2');
    writeFileSync(join(root, 'content/data'), '');
    new Journal(db).begin('volume.fill', 'vol', { container: 'c1' });
    volumes = await open();
    expect([readdirSync(join(root, 'content')), new Journal(db).pending()]).toEqual([['data'], []]);
  });

  it('stay mounted over a restart without their driver being asked again, and are unmounted once', async () => {
    await make('vol', { container: 'c1' });
    await volumes.mount('vol', 'c1');
    volumes = await open();
    expect(await volumes.mount('vol', 'c1')).toBe(driver.mountAnswer);
    await volumes.unmount('vol', 'c1');
    await volumes.unmount('vol', 'c1');
    expect(driver.calls).toEqual(['mount vol c1', 'unmount vol c1']);
  });

  it('whose mount was never answered are unmounted when their container is gone', async () => {
    await make('vol');
    driver.mountAnswer = 'nonsense';
    await expect(volumes.mount('vol', 'c1')).rejects.toMatchObject({ kind: 'system' });
    volumes = await open();
    await volumes.settle(new Set());
    expect(driver.calls).toEqual(['mount vol c1', 'unmount vol c1']);
  });

  it('of other engines are listed and found, and a driver that fails is a warning', async () => {
    foreign.names.add('theirs');
    const list = await volumes.list(new Map());
    expect([list.volumes.map(({ name, driver: of }) => [name, of]), list.warnings]).toEqual([[['theirs', 'other']], []]);
    expect(await volumes.inspect('theirs')).toMatchObject({ driver: 'other' });
    expect(await make('theirs', { container: 'c1', driver: '' })).toMatchObject({ driver: 'other' });
    await volumes.dereference('theirs', 'c1');
    await volumes.remove('theirs', { force: false });
    foreign.list = () => Promise.reject(new Error('gone'));
    expect(await volumes.list(new Map())).toEqual({ volumes: [], warnings: ['list other: gone'] });
  });

  it('are listed by filter', async () => {
    await make('used', { container: 'c1', labels: { a: '1' } });
    await make('free', { driver: 'other' });
    const list = async (key: string, value: string) => (await volumes.list(new Map([[key, [value]]]))).volumes.map(({ name }) => name);
    expect(await list('dangling', 'true')).toEqual(['free']);
    expect(await list('dangling', '0')).toEqual(['used']);
    expect(await list('driver', 'other')).toEqual(['free']);
    expect(await list('label', 'a=1')).toEqual(['used']);
    expect(await list('name', 're')).toEqual(['free']);
    await expect(list('nope', '1')).rejects.toThrow("invalid filter 'nope'");
  });

  it('are pruned when anonymous and free, or all free ones', async () => {
    await make('named');
    const anonymous = await make('');
    await make('', { container: 'c1' });
    expect(await volumes.prune(new Map(), { all: false })).toEqual({ deleted: [anonymous.name], spaceReclaimed: 11 });
    expect((await volumes.prune(new Map(), { all: true })).deleted).toEqual(['named']);
  });

  it('of containers that never came to be are let go, and the anonymous ones removed', async () => {
    await make('named', { container: 'gone' });
    const anonymous = await make('', { container: 'gone' });
    await make('kept', { container: 'c1' });
    await volumes.settle(new Set(['c1']));
    expect((await volumes.list(new Map())).volumes.map(({ name }) => name)).toEqual(['kept', 'named']);
    await expect(volumes.inspect(anonymous.name)).rejects.toMatchObject({ kind: 'not-found' });
    await volumes.remove('named', { force: false });
  });

  it('finishes at the next start what a crash cut off', async () => {
    const journal = new Journal(db);
    await make('vol');
    driver.names.add('half');
    journal.begin('volume.create', 'half', { driver: 'local' });
    journal.begin('volume.remove', 'vol', { driver: 'local' });
    volumes = await open();
    expect([[...driver.names], (await volumes.list(new Map())).volumes, journal.pending()]).toEqual([[], [], []]);
  });

  it('does not believe a driver that gives no absolute path', async () => {
    await make('vol');
    driver.mountAnswer = 'relative';
    await expect(volumes.mount('vol', 'c1')).rejects.toMatchObject({ kind: 'system' });
  });
});
