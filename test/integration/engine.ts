import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { drivers } from '@gantry/drivers/index.js';
import { host } from '@gantry/native/index.js';
import type { ClientStream } from '@gantry/core/container/containers.js';
import { ContainerService } from '@gantry/core/container/container-service.js';
import { ExecService } from '@gantry/core/container/exec-service.js';
import { ContainerRoom } from '@gantry/core/container/room.js';
import type { Content } from '@gantry/core/content/content.js';
import { EngineError } from '@gantry/core/contracts/errors.js';
import { type DiffId, type Digest, sha256 } from '@gantry/core/contracts/ids.js';
import type { AnyManifest, DriverKind, DriverSource, Logger } from '@gantry/core/contracts/manifest.js';
import { DriverRegistry } from '@gantry/core/extension/driver-registry.js';
import type { Image, Images } from '@gantry/core/image/images.js';
import { LayerStore } from '@gantry/core/layer/layer-store.js';
import type { LayerSource } from '@gantry/core/layer/layers.js';
import { NetworkService } from '@gantry/core/network/network-service.js';
import { Database } from '@gantry/core/state/database.js';
import { Journal } from '@gantry/core/state/journal.js';
import { EventBus } from '@gantry/core/system/event-bus.js';
import type { EngineEvent } from '@gantry/core/system/system.js';
import { VolumeService } from '@gantry/core/volume/volume-service.js';
import { image } from '../fakes/records.js';
import { silentLog, testSettings } from '../fakes/settings.js';

const BIN = new URL('../../native/build/bin/', import.meta.url).pathname;
const BUSYBOX = '/usr/bin/busybox';

const printingLog: Logger = { debug: console.log, info: console.log, warn: console.log, error: console.log };

/** Why containers cannot be run here; '' when they can. */
export function whyNoContainers(): string {
  if (process.getuid?.() !== 0) return 'needs root';
  if (!drivers.some(({ kind }) => kind === 'log')) return 'this build has no log driver';
  if (!existsSync(join(BIN, 'gantry-shim'))) return 'gantry-shim is not built';
  if (!existsSync(BUSYBOX)) return 'needs /usr/bin/busybox (busybox-static)';
  if (!['/usr/sbin/runc', '/usr/bin/runc'].some((path) => existsSync(path))) return 'needs runc';
  return '';
}

/** The runtimes of this build that this host has. */
export function runtimesHere(): string[] {
  return ['runc', ...(existsSync(join(BIN, 'gantry-runtime')) ? ['native'] : [])];
}

/** One image of busybox, made by hand and kept beside the daemon's folders. */
interface TestImage {
  readonly layer: LayerSource;
  readonly blob: string;
}

function makeImage(root: string): TestImage {
  const tree = join(root, 'tree');
  for (const name of ['bin', 'etc', 'tmp', 'proc', 'sys', 'dev', 'data', 'root']) mkdirSync(join(tree, name), { recursive: true });
  copyFileSync(BUSYBOX, join(tree, 'bin/busybox'));
  chmodSync(join(tree, 'bin/busybox'), 0o755);
  for (const name of 'sh cat echo sleep id ls env pwd true false kill hostname mount touch rm test grep stat head dd printf mkdir wc'.split(
    ' ',
  )) {
    symlinkSync('busybox', join(tree, 'bin', name));
  }
  writeFileSync(join(tree, 'etc/passwd'), 'root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001:app:/data:/bin/sh\n');
  writeFileSync(join(tree, 'etc/group'), 'root:x:0:\nwheel:x:10:root\napp:x:1001:\nextra:x:2000:app\n');
  writeFileSync(join(tree, 'data/seed'), 'from the image\n');
  const tar = execFileSync('tar', ['-C', tree, '--sort=name', '--owner=0', '--group=0', '-cf', '-', '.'], { maxBuffer: 1 << 26 });
  rmSync(tree, { recursive: true });
  const blob = join(root, createHash('sha256').update(tar).digest('hex'));
  writeFileSync(blob, tar);
  return { layer: { diffId: sha256(tar) as DiffId, blob: sha256(tar) }, blob };
}

const source = (own: readonly AnyManifest[]): DriverSource => ({
  label: 'built in',
  find: async (kind, name) => own.find((one) => one.kind === kind && one.name === name) as never,
  names: (kind: DriverKind) => own.filter((one) => one.kind === kind).map((one) => one.name),
});

/** The services of one daemon on real drivers, wired by hand. `root` outlives it, so that another can take over. */
export class TestEngine {
  readonly published: EngineEvent[] = [];

  private constructor(
    readonly room: ContainerRoom,
    readonly containers: ContainerService,
    readonly execs: ExecService,
    readonly volumes: VolumeService,
    readonly networks: NetworkService,
    private readonly layers: LayerStore,
    private readonly registry: DriverRegistry,
    private readonly db: Database,
    private readonly stopEvents: AbortController,
  ) {}

  static async start(root: string, options: { runtime?: string; log?: Logger } = {}): Promise<TestEngine> {
    const { layer, blob } = existingImage(root) ?? makeImage(root);
    const settings = testSettings({
      instance: createHash('sha256').update(root).digest('hex').slice(0, 8),
      dataRoot: join(root, 'data'),
      execRoot: join(root, 'run'),
      defaultRuntime: options.runtime ?? 'runc',
      shimPath: join(BIN, 'gantry-shim'),
      initPath: join(BIN, 'gantry-init'),
      nativeRuntimePath: join(BIN, 'gantry-runtime'),
    });
    mkdirSync(settings.dataRoot, { recursive: true });
    mkdirSync(settings.execRoot, { recursive: true });
    const log = options.log ?? (process.env['GANTRY_TEST_LOG'] ? printingLog : silentLog);
    const db = Database.open(join(settings.dataRoot, 'state.db'));
    const registry = new DriverRegistry([source(drivers)], {
      ...settings,
      host,
      log,
      optionsFor: (kind, name): Record<string, string> =>
        kind === 'runtime' ? { shim: settings.shimPath, ...(name === 'native' ? { path: settings.nativeRuntimePath } : {}) } : {},
    });
    const journal = new Journal(db);
    const events = new EventBus();
    const content = { path: async () => blob } as unknown as Content;
    const layers = new LayerStore(settings, log, host, db, registry, content, journal);
    await layers.open();
    const networks = new NetworkService(settings, log, host, db, registry, events);
    const volumes = new VolumeService(db, journal, registry, events, host, log);
    await volumes.open();
    const room = new ContainerRoom(settings, log, host, db, journal, registry, events, layers, testImages(layer), networks, volumes);
    await room.open();
    const containers = new ContainerService(room);
    const stop = new AbortController();
    const engine = new TestEngine(room, containers, new ExecService(room), volumes, networks, layers, registry, db, stop);
    const stream = events.subscribe({ filters: new Map(), signal: stop.signal });
    void (async () => {
      for await (const event of stream) engine.published.push(event);
    })().catch(() => undefined);
    const live = await containers.findLive();
    await networks.restore(live);
    await containers.restore();
    return engine;
  }

  /** What container events said, in order: `action` or `action exitCode`. */
  actions(id: string): string[] {
    return this.published
      .filter((event) => event.type === 'container' && event.id === id)
      .map(({ action, attributes }) => (action === 'die' ? `die ${attributes['exitCode']}` : action));
  }

  /** As a daemon's stop: containers go on. */
  async stop(): Promise<void> {
    this.containers.close();
    this.stopEvents.abort();
    await this.layers.close();
    await this.registry.close();
    this.db.close();
  }

  /** Ends and removes everything. */
  async destroy(): Promise<void> {
    for (const { id } of this.room.store.list()) await this.containers.remove(id, { force: true, volumes: true });
    await this.stop();
  }
}

const existingImage = (root: string): TestImage | undefined => {
  const name = existsSync(root) ? readdirSync(root).find((entry) => /^[0-9a-f]{64}$/.test(entry)) : undefined;
  if (name === undefined) return undefined;
  const digest = `sha256:${name}` as Digest;
  return { layer: { diffId: digest as DiffId, blob: digest }, blob: join(root, name) };
};

/** The one image, by its name or id. */
function testImages(layer: LayerSource): Images {
  const busybox: Image = image({ diffIds: [layer.diffId], config: { ...image().config, cmd: ['sh'], env: ['IMAGE=yes'], volumes: [] } });
  const find = (name: string): Image | undefined => (name === 'busybox' || name === busybox.id ? busybox : undefined);
  return {
    find,
    resolve: (name: string) => {
      const found = find(name);
      if (!found) throw new EngineError('not-found', `No such image: ${name}`);
      return found;
    },
    idOf: (name: string) => find(name)?.id,
    layersOf: () => [layer],
    list: async () => [busybox],
  } as unknown as Images;
}

export const newRoot = (): string => mkdtempSync('/tmp/gantry-container-');

/** Takes away what is left below `root`; says what was. */
export async function leftovers(root: string): Promise<string[]> {
  const mounts = host.files.mountsBelow(root).map(({ target }) => target);
  for (const target of mounts) await host.files.unmount(target, true);
  rmSync(root, { recursive: true, force: true });
  return mounts;
}

/** A client that keeps what it is sent. */
export class TestClient implements ClientStream {
  readonly chunks: { stream: string; data: string }[] = [];
  readonly input: AsyncIterable<Buffer> | undefined;
  readonly leave = new AbortController();
  readonly gone: AbortSignal = this.leave.signal;
  readonly ended: Promise<void>;
  private finish: () => void;
  private readonly queue: (Buffer | undefined)[] = [];
  private wake: () => void = () => undefined;

  constructor(withInput = false) {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.ended = promise;
    this.finish = resolve;
    this.input = withInput ? this.inputs() : undefined;
  }

  async write(stream: string, chunk: Buffer): Promise<void> {
    this.chunks.push({ stream, data: chunk.toString('utf8') });
    this.wake();
  }

  end(): void {
    this.finish();
  }

  type(text: string): void {
    this.queue.push(Buffer.from(text));
    this.wake();
  }

  endInput(): void {
    this.queue.push(undefined);
    this.wake();
  }

  text(stream?: string): string {
    return this.chunks
      .filter((chunk) => stream === undefined || chunk.stream === stream)
      .map(({ data }) => data)
      .join('');
  }

  private async *inputs(): AsyncGenerator<Buffer> {
    for (;;) {
      while (this.queue.length > 0) {
        const next = this.queue.shift();
        if (!next) return;
        yield next;
      }
      await new Promise<void>((resolve) => (this.wake = resolve));
    }
  }
}
