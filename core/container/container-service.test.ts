import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { FakeLog, FakeRuntime, fakeSource } from '../../test/fakes/drivers.js';
import { config, hostConfig, image, network } from '../../test/fakes/records.js';
import { FakeEvents } from '../../test/fakes/events.js';
import { silentLog, testSettings } from '../../test/fakes/settings.js';
import { EngineError } from '../contracts/errors.js';
import type { Host } from '../contracts/host.js';
import { DriverRegistry } from '../extension/driver-registry.js';
import type { Images } from '../image/images.js';
import type { Layers } from '../layer/layers.js';
import type { Networks } from '../network/networks.js';
import { Database } from '../state/database.js';
import { Journal } from '../state/journal.js';
import { VolumeService } from '../volume/volume-service.js';
import type { ContainerConfig, HostConfig } from './container.js';
import { ContainerService } from './container-service.js';
import type { ClientStream } from './containers.js';
import { ExecService } from './exec-service.js';
import { ContainerRoom } from './room.js';

const never = new AbortController().signal;

/** One room on fakes. Everything that is acquired is in `held` until it is given back; a name in `failing` fails. */
class Fixture {
  readonly root = mkdtempSync(join(tmpdir(), 'gantry-container-unit-'));
  readonly held = new Set<string>();
  readonly failing = new Set<string>();
  readonly imagesAsked: string[] = [];
  readonly runtime = new FakeRuntime();
  readonly events = new FakeEvents();
  readonly db = Database.open(':memory:');
  readonly room: ContainerRoom;
  readonly containers: ContainerService;
  readonly execs: ExecService;

  constructor() {
    const settings = testSettings({ dataRoot: join(this.root, 'data'), execRoot: join(this.root, 'run') });
    const host = this.host();
    const registry = new DriverRegistry(
      [
        fakeSource([
          { kind: 'runtime', name: 'native', driver: this.runtime },
          { kind: 'log', name: 'json-file', driver: new FakeLog(), capabilities: ['read'] },
          { kind: 'storage', name: 'overlay2', driver: {} },
          { kind: 'volume', name: 'local', driver: this.volumeDriver() },
        ]),
      ],
      { ...settings, host, log: silentLog, optionsFor: () => ({}) },
    );
    const journal = new Journal(this.db);
    const volumes = new VolumeService(this.db, journal, registry, this.events, host, silentLog);
    void volumes.open();
    this.room = new ContainerRoom(
      settings,
      silentLog,
      host,
      this.db,
      journal,
      registry,
      this.events,
      this.layers(),
      this.images(),
      this.networks(),
      volumes,
    );
    this.containers = new ContainerService(this.room);
    this.execs = new ExecService(this.room);
  }

  close(): void {
    this.containers.close();
    this.db.close();
    rmSync(this.root, { recursive: true, force: true });
  }

  private take(what: string): void {
    if (this.failing.has(what)) throw new EngineError('system', `${what} failed`);
    this.held.add(what);
  }

  private host(): Host {
    const files = {
      mount: async (_: unknown, target: string) => this.take(target.endsWith('/rootfs') ? 'rootfs' : 'mount'),
      unmount: async (target: string) => void this.held.delete(target.endsWith('/rootfs') ? 'rootfs' : 'mount'),
      mountsBelow: (path: string) => (this.held.has('rootfs') ? [{ target: `${path}/rootfs`, type: 'overlay', source: '' }] : []),
      removeTree: async (path: string) => rmSync(path, { recursive: true, force: true }),
      openRoot: async () => 1000,
      readFileIn: async (_: number, path: string) => Buffer.from(path === '/etc/passwd' ? 'root:x:0:0::/root:\n' : ''),
      makeDirIn: async () => this.take('workdir'),
      copyOutOf: async () => true,
    };
    return { files, process: { closeFd: () => undefined }, net: {} } as unknown as Host;
  }

  private layers(): Layers {
    return {
      defaultDriver: { name: 'overlay2', reason: 'test' },
      createWritable: async () => this.take('writable'),
      removeWritable: async () => void this.held.delete('writable'),
      acquireWritable: async () => {
        this.take('layer');
        return [{ type: 'overlay', source: 'overlay', options: [] }];
      },
      releaseWritable: async () => void this.held.delete('layer'),
      writableUsage: async () => 7,
      writableMetadata: async () => ({}),
      settle: async () => undefined,
    } as unknown as Layers;
  }

  private images(): Images {
    const busybox = image({ architecture: 'amd64' });
    return {
      resolve: (name: string) => {
        if (name !== 'busybox') throw new EngineError('not-found', `No such image: ${name}`);
        return busybox;
      },
      idOf: (name: string) => {
        this.imagesAsked.push(name);
        return name === 'busybox' ? busybox.id : undefined;
      },
      layersOf: () => [],
    } as unknown as Images;
  }

  private networks(): Networks {
    return {
      find: (name: string) => (name === 'bridge' ? network() : undefined),
      openSandbox: async () => {
        this.take('sandbox');
        return { path: '/run/netns/x' };
      },
      join: async () => this.take('endpoint'),
      closeSandbox: async () => {
        this.held.delete('endpoint');
        this.held.delete('sandbox');
      },
      nameFiles: () => ({ hosts: '', resolvConf: '' }),
      endpointsOf: () => ({}),
      sandboxOf: () => undefined,
      rename: async () => undefined,
    } as unknown as Networks;
  }

  private volumeDriver(): unknown {
    return {
      scope: 'local',
      create: async () => undefined,
      get: async (name: string) => ({ name, mountpoint: this.root, createdAt: '' }),
      remove: async () => undefined,
      mount: async () => {
        this.take('volume');
        return this.root;
      },
      unmount: async () => void this.held.delete('volume'),
    };
  }

  async create(own: Partial<ContainerConfig> = {}, host: Partial<HostConfig> = {}, name = ''): Promise<string> {
    const defaults = { networkMode: 'bridge', logDriver: '', runtime: '', maskedPaths: undefined, readonlyPaths: undefined };
    const { id } = await this.containers.create({
      name,
      platform: '',
      config: config({ cmd: ['sleep', '1'], hostname: '', ...own }),
      hostConfig: hostConfig({ ...defaults, ...host }),
      endpoints: {},
      storageDriver: '',
    });
    return id;
  }

  state(id: string) {
    return this.room.store.get(id).state;
  }

  actions(id: string): string[] {
    return this.events.past.filter((event) => event.type === 'container' && event.id === id).map(({ action }) => action);
  }
}

const client = (): ClientStream & { text: string; done: boolean } => ({
  text: '',
  done: false,
  input: undefined,
  gone: never,
  async write(_stream, chunk) {
    this.text += chunk.toString();
  },
  end() {
    this.done = true;
  },
});

describe('containers', () => {
  let fixture: Fixture;

  beforeEach(async () => {
    fixture = new Fixture();
    await fixture.room.open();
  });
  afterEach(() => {
    vi.useRealTimers();
    fixture.close();
  });

  describe('at create', () => {
    it.each([
      [{ image: 'nope' }, {}, 'not-found', 'No such image: nope'],
      [{ cmd: [], entrypoint: [] }, {}, 'invalid-parameter', 'no command specified'],
      [{}, { runtime: 'nope' }, 'invalid-parameter', 'unknown or invalid runtime name: nope'],
      [{}, { logDriver: 'nope' }, 'invalid-parameter', "logger: no log driver named 'nope' is registered"],
      [{}, { logOptions: { bad: '1' } }, 'invalid-parameter', "unknown log opt 'bad' for json-file log driver"],
      [
        {},
        { storageOptions: { size: '1G' } },
        'invalid-parameter',
        '--storage-opt size is not supported by the storage driver overlay2 on this host',
      ],
      [{}, { volumesFrom: ['nope'] }, 'not-found', 'No such container: nope'],
      [{}, { binds: ['/a:/x', '/b:/x'] }, 'invalid-parameter', 'Duplicate mount point: /x'],
    ])('%j %j is refused', async (own, host, kind, message) => {
      await expect(fixture.create(own as Partial<ContainerConfig>, host as Partial<HostConfig>)).rejects.toMatchObject({ kind, message });
      expect([fixture.held.size, fixture.room.store.size, fixture.room.journal.pending()]).toEqual([0, 0, []]);
    });

    it('leaves nothing when a step fails, the name included', async () => {
      fixture.failing.add('writable');
      await expect(fixture.create({ volumes: ['/v'] }, {}, 'web')).rejects.toThrow('writable failed');
      expect((await fixture.room.volumes.list(new Map())).volumes).toEqual([]);
      fixture.failing.clear();
      await fixture.create({}, {}, 'web');
    });

    it('fills in what inspect shows', async () => {
      const {
        hostConfig: host,
        config: made,
        endpointRequests,
      } = fixture.room.store.get(await fixture.create({}, { networkMode: 'default' }));
      expect(host).toMatchObject({ networkMode: 'none', logDriver: 'json-file', runtime: 'native', ipcMode: 'private', shmSize: 64 << 20 });
      expect(host.restartPolicy.name).toBe('no');
      expect(made.hostname).toMatch(/^[0-9a-f]{12}$/);
      expect(Object.keys(endpointRequests)).toEqual(['none']);
    });
  });

  it.each(['layer', 'rootfs', 'volume', 'workdir', 'sandbox', 'endpoint'])(
    'a start that fails at %s takes all back and can be made again',
    async (step) => {
      const id = await fixture.create({ workingDir: '/w' }, { binds: ['vol:/v'] });
      fixture.failing.add(step);
      await expect(fixture.containers.start(id)).rejects.toThrow(`${step} failed`);
      fixture.held.delete('workdir');
      expect([...fixture.held]).toEqual(['writable']);
      expect(fixture.state(id)).toMatchObject({ status: 'created', exitCode: 128, error: expect.stringContaining(`${step} failed`) });
      expect(fixture.room.journal.pending()).toEqual([]);
      fixture.failing.clear();
      await fixture.containers.start(id);
      expect(fixture.state(id)).toMatchObject({ status: 'running', exitCode: 0, error: '' });
    },
  );

  it.each([
    ['failCreate', 'exec: "x": executable file not found in $PATH: unknown', 127, 'invalid-parameter'],
    ['failStart', 'permission denied: unknown', 126, 'invalid-parameter'],
    ['failStart', 'anything else', 128, 'system'],
  ] as const)('a runtime that fails (%s, %s) is exit code %i', async (where, text, exitCode, kind) => {
    const id = await fixture.create();
    fixture.runtime[where] = new Error(text);
    await expect(fixture.containers.start(id)).rejects.toMatchObject({ kind });
    expect(fixture.state(id)).toMatchObject({ status: 'created', exitCode });
    expect([[...fixture.held], fixture.runtime.live]).toEqual([['writable'], 0]);
  });

  it('a list asks once for what an image name means, and opens no driver', async () => {
    const ids = [await fixture.create(), await fixture.create()];
    const opened = vi.spyOn(fixture.room.drivers, 'get');
    const views = await fixture.containers.list({ all: true, limit: 0, size: false, filters: new Map() });
    expect(views.map(({ container }) => container.id).toSorted()).toEqual(ids.toSorted());
    expect(views.map(({ imageName, hostsPath, logPath }) => [imageName, hostsPath, logPath])).toEqual([
      ['busybox', '', ''],
      ['busybox', '', ''],
    ]);
    expect(fixture.imagesAsked).toEqual(['busybox']);
    expect(opened).not.toHaveBeenCalled();
    const shown = await fixture.containers.inspect(ids[0] ?? '', { size: false });
    expect([shown.imageName, shown.hostsPath.endsWith(`/${ids[0]}/hosts`)]).toEqual(['busybox', true]);
  });

  it('a failed start of one that removes itself removes it', async () => {
    const id = await fixture.create({}, { autoRemove: true });
    fixture.runtime.failCreate = new Error('no');
    const { result } = await fixture.containers.wait(id, 'removed', never);
    await expect(fixture.containers.start(id)).rejects.toThrow();
    await expect(result).resolves.toMatchObject({ exitCode: 128 });
    expect([fixture.room.store.size, fixture.held.size]).toEqual([0, 0]);
  });

  it('an attach before the start misses nothing', async () => {
    const id = await fixture.create();
    const seen = client();
    const options = { stdin: false, stdout: true, stderr: true, logs: false, stream: true, detachKeys: '' };
    const attached = fixture.containers.attach(id, options, async () => seen);
    await vi.waitFor(() => expect(fixture.actions(id)).toContain('attach'), 60_000);
    await fixture.containers.start(id);
    fixture.runtime.last.streams[0]?.print('first words');
    fixture.runtime.last.exit(0);
    await attached;
    expect([seen.text, seen.done]).toEqual(['first words', true]);
  });

  it('everything is given back before the end is told', async () => {
    const id = await fixture.create();
    await fixture.containers.start(id);
    const { result } = await fixture.containers.wait(id, 'not-running', never);
    fixture.runtime.last.exit(5, { oomKilled: true });
    expect(await result).toEqual({ exitCode: 5, error: undefined });
    expect([...fixture.held]).toEqual(['writable']);
    expect(fixture.state(id)).toMatchObject({ status: 'exited', exitCode: 5, oomKilled: true, pid: 0 });
    expect(fixture.actions(id)).toEqual(['create', 'start', 'oom', 'die']);
  });

  describe('with a restart policy', () => {
    const ended = async (id: string, times: number): Promise<void> =>
      vi.waitFor(() => expect(fixture.actions(id).filter((action) => action === 'die')).toHaveLength(times), 60_000);
    const started = async (id: string, times: number): Promise<void> =>
      vi.waitFor(() => expect(fixture.actions(id).filter((action) => action === 'start')).toHaveLength(times), 60_000);

    it('are started again with growing delays until a user stops them', async () => {
      const id = await fixture.create({}, { restartPolicy: { name: 'always', maximumRetryCount: 0 } });
      await fixture.containers.start(id);
      const since = performance.now();
      for (let times = 1; times <= 3; times++) {
        fixture.runtime.last.exit(0);
        await ended(id, times);
        // On a busy machine the delay may be over by the time that this is asked.
        expect(['restarting', 'running']).toContain(fixture.state(id).status);
        await started(id, times + 1);
      }
      // 100, 200 and 400 ms.
      expect(performance.now() - since).toBeGreaterThan(650);
      expect(fixture.room.store.get(id).restartCount).toBe(3);
      fixture.runtime.last.exit(0);
      await ended(id, 4);
      await fixture.containers.stop(id, {});
      expect(fixture.state(id).status).toBe('exited');
    });

    it('are not restarted after a stop, but after a signal that is no stop', async () => {
      const id = await fixture.create({}, { restartPolicy: { name: 'unless-stopped', maximumRetryCount: 0 } });
      await fixture.containers.start(id);
      await fixture.containers.kill(id, 'HUP');
      fixture.runtime.last.exit(129);
      await started(id, 2);
      await fixture.containers.stop(id, { timeout: 0 });
      expect(fixture.state(id)).toMatchObject({ status: 'exited', exitCode: 137 });
      expect(fixture.room.store.get(id).manuallyStopped).toBe(true);
    });
  });

  it('a stop waits for the stop signal to work, then kills', async () => {
    const id = await fixture.create({ stopSignal: 'SIGINT' });
    await fixture.containers.start(id);
    await fixture.containers.stop(id, { timeout: 0 });
    expect(fixture.runtime.last.signals).toEqual([2, 9]);
    expect(fixture.actions(id)).toEqual(['create', 'start', 'kill', 'kill', 'die', 'stop']);
  });

  it('a removal that fails can be repeated', async () => {
    const id = await fixture.create();
    const remove = vi.spyOn(fixture.room.layers, 'removeWritable').mockRejectedValueOnce(new Error('disk says no'));
    const options = { force: false, volumes: false };
    await expect(fixture.containers.remove(id, options)).rejects.toThrow('disk says no');
    expect(fixture.state(id)).toMatchObject({ status: 'dead', error: 'disk says no' });
    await fixture.containers.remove(id, options);
    expect([remove.mock.calls.length, fixture.room.store.size]).toEqual([2, 0]);
  });

  it('refuses in the words that clients know', async () => {
    const id = await fixture.create({}, {}, 'web');
    const refused = async (work: Promise<unknown>): Promise<string> =>
      work.then(
        () => 'done',
        (error: unknown) => `${(error as EngineError).kind}: ${(error as EngineError).message}`,
      );
    expect(await refused(fixture.containers.kill('web', ''))).toBe(`conflict: cannot kill container: web: container ${id} is not running`);
    expect(await refused(fixture.containers.kill('nobody', ''))).toBe(
      'not-found: cannot kill container: nobody: No such container: nobody',
    );
    expect(await refused(fixture.containers.pause('web'))).toBe(`conflict: container ${id} is not running`);
    expect(await refused(fixture.containers.unpause('web'))).toBe(`conflict: container ${id} is not paused`);
    expect(await refused(fixture.containers.rename('web', 'web'))).toBe(
      'invalid-parameter: Renaming a container with the same name as its current name',
    );
    expect(await refused(fixture.containers.top('web', ''))).toBe(`conflict: container ${id} is not running`);
    await fixture.containers.start(id);
    expect(await refused(fixture.containers.start(id))).toMatch(/^not-modified/);
    expect(await refused(fixture.containers.remove('web', { force: false, volumes: false }))).toBe(
      'conflict: cannot remove container "/web": container is running: stop the container before removing or force remove',
    );
  });

  it('an exec that cannot start says why in its stream and has an exit code', async () => {
    const id = await fixture.create();
    await fixture.containers.start(id);
    fixture.runtime.last.failExec = new Error('exec: "x": executable file not found in $PATH: unknown');
    const request = {
      attachStdin: false,
      attachStdout: true,
      attachStderr: true,
      tty: false,
      detachKeys: '',
      env: [],
      workingDir: '',
      user: '',
      privileged: false,
      cmd: ['x'],
      consoleSize: undefined,
    };
    const execId = await fixture.execs.create(id, request);
    const seen = client();
    await fixture.execs.start(execId, { detach: false, tty: false }, async () => seen);
    expect(seen.text).toBe('OCI runtime exec failed: exec: "x": executable file not found in $PATH: unknown\r\n');
    expect(fixture.execs.inspect(execId)).toMatchObject({ running: false, exitCode: 127 });
    await expect(fixture.execs.start(execId, { detach: true, tty: false }, async () => seen)).rejects.toMatchObject({ kind: 'conflict' });
    expect(() => fixture.execs.inspect('nope')).toThrow('No such exec instance: nope');
    await expect(fixture.execs.create(id, { ...request, cmd: [] })).rejects.toThrow('no exec command specified');
  });

  it('one whose runtime cannot tell is left alone by a new daemon', async () => {
    const id = await fixture.create();
    await fixture.containers.start(id);
    vi.spyOn(fixture.runtime, 'find').mockRejectedValueOnce(new Error('cannot tell'));
    const next = new ContainerService(fixture.room);
    expect([...(await next.findLive())]).toEqual([id]);
    await next.restore();
    expect(fixture.state(id).status).toBe('running');
    expect(fixture.held.has('rootfs')).toBe(true);
    next.close();
  });
});
