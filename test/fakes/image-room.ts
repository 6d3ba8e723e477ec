import { createHash } from 'node:crypto';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { ContentStore } from '@gantry/core/content/content-store.js';
import type { ContainerConfig } from '@gantry/core/container/container.js';
import { mediaTypes } from '@gantry/core/content/media-types.js';
import type { Host } from '@gantry/core/contracts/host.js';
import { emptyProcessConfig } from '@gantry/core/image/image-config.js';
import { ImageService } from '@gantry/core/image/image-service.js';
import type { Progress, RegistryAuth } from '@gantry/core/image/images.js';
import { Database } from '@gantry/core/state/database.js';
import { Journal } from '@gantry/core/state/journal.js';
import { EventBus } from '@gantry/core/system/event-bus.js';
import type { Settings } from '@gantry/core/system/settings.js';
import type { EngineEvent } from '@gantry/core/system/system.js';
import { fakeBlobHost } from './host-files.js';
import { FakeLayers } from './layers.js';
import type { FakeRegistry } from './registry.js';
import { silentLog, testSettings } from './settings.js';

/** The image service with all that is below it, real but for the host and the layer store. */
export class ImageRoom {
  images!: ImageService;
  content!: ContentStore;
  layers!: FakeLayers;
  db!: Database;
  readonly events = new EventBus();

  private constructor(
    readonly root: string,
    private readonly host: Host,
    private readonly settings: Partial<Settings>,
  ) {}

  static async open(settings: Partial<Settings> = {}, host: Host = fakeBlobHost()): Promise<ImageRoom> {
    const room = new ImageRoom(await mkdtemp(join(tmpdir(), 'gantry-images-')), host, settings);
    await room.start();
    return room;
  }

  async start(): Promise<void> {
    const settings = testSettings({ dataRoot: this.root, ...this.settings });
    this.db = Database.open(join(this.root, 'state.db'));
    const journal = new Journal(this.db);
    this.content = new ContentStore(settings, this.db, silentLog);
    await this.content.open();
    this.layers ??= new FakeLayers(this.content);
    this.images = new ImageService(settings, this.host, this.db, journal, this.content, this.layers.asLayers, this.events, silentLog);
    await this.images.open();
  }

  /** A daemon that ended, in whatever way, and the next one on the same folder. */
  async restart(): Promise<void> {
    await this.images.close();
    this.db.close();
    await this.start();
  }

  async close(): Promise<void> {
    await this.images.close();
    this.db.close();
    await rm(this.root, { recursive: true });
  }

  async pull(
    name: string,
    options: { tag?: string; auth?: RegistryAuth; signal?: AbortSignal; platform?: string } = {},
  ): Promise<string[]> {
    const lines: string[] = [];
    const [os = '', architecture = '', variant = ''] = (options.platform ?? '').split('/');
    await this.images.pull(
      {
        name,
        tag: options.tag ?? '',
        platform: options.platform === undefined ? undefined : { os, architecture, variant },
        auth: options.auth,
        storageDriver: '',
      },
      (progress) => lines.push(lineOf(progress)),
      options.signal ?? new AbortController().signal,
    );
    return lines;
  }

  /** What would be left of an operation that failed. */
  async leftovers(): Promise<{ temporary: string[]; images: number; unpacked: number; intents: number; names: number }> {
    const count = (table: string): number => Number(this.db.get(`SELECT count(*) AS n FROM ${table}`)?.['n']);
    return {
      temporary: await readdir(join(this.root, 'content', 'ingest')),
      images: count('image'),
      names: count('image_name'),
      unpacked: this.layers.unpacked.size,
      intents: count('intent'),
    };
  }

  async pastEvents(): Promise<EngineEvent[]> {
    const until = BigInt(Date.now() + 5) * 1_000_000n;
    const past: EngineEvent[] = [];
    for await (const event of this.events.subscribe({ since: 0n, until, filters: new Map(), signal: new AbortController().signal }))
      past.push(event);
    return past;
  }
}

export const nothingLeft = { temporary: [], images: 0, unpacked: 0, intents: 0, names: 0 };

/** A line as a terminal would show it, transfers without their numbers. */
export const lineOf = ({ id, status, stream, aux }: Progress): string =>
  aux ? `aux ${aux.tag} ${aux.digest} ${aux.size}` : (stream ?? (id === undefined ? '' : `${id}: `) + (status ?? ''));

export interface PutImage {
  readonly id: string;
  readonly digest: string;
  readonly layers: readonly string[];
}

const digestOf = (bytes: Uint8Array): string => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

/** Puts an image whose layers have these contents into a registry. */
export function putImage(
  registry: FakeRegistry,
  repository: string,
  tag: string | undefined,
  contents: readonly Buffer[],
  extra: { config?: object; platform?: { os: string; architecture: string; variant?: string } } = {},
): PutImage & { size: number } {
  const layers = contents.map((content) => ({ mediaType: mediaTypes.dockerLayer, ...registry.putBlob(gzipSync(content)) }));
  const config = Buffer.from(
    JSON.stringify({
      architecture: 'amd64',
      os: 'linux',
      ...extra.platform,
      created: '2024-01-02T03:04:05.123456789Z',
      config: { Cmd: ['sh'], Env: ['PATH=/bin'], ...extra.config },
      rootfs: { type: 'layers', diff_ids: contents.map(digestOf) },
      history: contents.map((_, index) => ({ created: '2024-01-02T03:04:05Z', created_by: `step ${index}` })),
    }),
  );
  const described = registry.putBlob(config);
  const manifest = registry.putManifest(
    repository,
    tag,
    { schemaVersion: 2, mediaType: mediaTypes.dockerManifest, config: { mediaType: mediaTypes.dockerConfig, ...described }, layers },
    mediaTypes.dockerManifest,
  );
  return { id: described.digest, digest: manifest.digest, size: manifest.size, layers: layers.map((layer) => layer.digest) };
}

/** A container's configuration with nothing in it but what a test gives. */
export const containerConfig = (own: Partial<ContainerConfig>): ContainerConfig => ({
  ...emptyProcessConfig,
  image: '',
  hostname: '',
  domainname: '',
  attachStdin: false,
  attachStdout: false,
  attachStderr: false,
  tty: false,
  openStdin: false,
  stdinOnce: false,
  networkDisabled: false,
  stopTimeout: undefined,
  macAddress: '',
  ...own,
});
