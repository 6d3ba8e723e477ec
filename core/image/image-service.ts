import type { Readable } from 'node:stream';
import { inject, injectable } from 'tsyringe';
import type { ContainerConfig, ProcessConfig } from '../container/container.js';
import { notImplemented } from '../contracts/errors.js';
import type { Host } from '../contracts/host.js';
import { chainIds, hexOf, type ChainId, type Digest } from '../contracts/ids.js';
import type { Logger } from '../contracts/manifest.js';
import type { Content } from '../content/content.js';
import { familiarForm, fullForm, nameOnly, parseReference, tagged, withTagOrDigest } from '../content/reference.js';
import { Downloads } from '../distribution/downloads.js';
import { Puller } from '../distribution/pull.js';
import { Registry } from '../distribution/registry.js';
import type { LayerSource, Layers } from '../layer/layers.js';
import type { Database } from '../state/database.js';
import type { Journal } from '../state/journal.js';
import type { Settings } from '../system/settings.js';
import type { Events } from '../system/system.js';
import { Tokens } from '../tokens.js';
import { createdAt, imageTest } from './filters.js';
import { ImagePull, type ImagePullRequest } from './image-pull.js';
import { ImageStore } from './image-store.js';
import type {
  DeletedImage,
  HistoryEntry,
  Image,
  ImageFilters,
  ImageHistory,
  Images,
  Platform,
  ProgressSink,
  RegistryAuth,
} from './images.js';
import { lookup, resolve, viewOf } from './lookup.js';
import { ImageRegistrar } from './registrar.js';

export type ImageGuard = (imageId: Digest) => { id: string; running: boolean } | undefined;

/** Images, put together from the parts beside this file. */
@injectable()
export class ImageService implements Images {
  private readonly store: ImageStore;
  private readonly registrar: ImageRegistrar;
  private readonly registry: Registry;
  private readonly pulling: ImagePull;
  private guard: ImageGuard = () => undefined;

  constructor(
    @inject(Tokens.Settings) settings: Settings,
    @inject(Tokens.Host) host: Host,
    @inject(Tokens.Database) db: Database,
    @inject(Tokens.Journal) journal: Journal,
    @inject(Tokens.Content) content: Content,
    @inject(Tokens.Layers) private readonly layers: Layers,
    @inject(Tokens.Events) events: Events,
    @inject(Tokens.Log) log: Logger,
  ) {
    this.store = new ImageStore(db, content, log);
    this.registrar = new ImageRegistrar(this.store, content, layers, journal, events, log);
    this.registry = new Registry(settings);
    const downloads = new Downloads(host, content, { concurrent: settings.maxConcurrentDownloads, attempts: settings.maxDownloadAttempts });
    this.pulling = new ImagePull(content, layers, this.registry, new Puller(content, layers, this.registry, downloads), this.registrar);
  }

  /** Reads the records, and undoes what a crash cut off. After the content store and the layers were opened. */
  async open(): Promise<void> {
    await this.store.open();
    await this.registrar.recover();
  }

  async close(): Promise<void> {
    this.registry.close();
  }

  useGuard(guard: ImageGuard): void {
    this.guard = guard;
  }

  async list(options: { all: boolean; filters: ImageFilters }): Promise<Image[]> {
    const test = imageTest(this.store, options.filters);
    return this.store
      .all()
      .filter((record) => options.all || this.store.namesOf(record.id).length > 0 || this.store.childrenOf(record.id).length === 0)
      .filter(test)
      .toSorted((a, b) => createdAt(b) - createdAt(a) || (a.id < b.id ? -1 : 1))
      .map((record) => {
        const image = viewOf(this.store, this.layers, record);
        const { showsName } = test;
        if (!showsName) return image;
        const shown = (names: readonly string[]): string[] => names.filter((name) => showsName(fullForm(parseReference(name))));
        return { ...image, repoTags: shown(image.repoTags), repoDigests: shown(image.repoDigests) };
      });
  }

  async inspect(name: string): Promise<Image> {
    return this.resolve(name);
  }

  resolve(name: string): Image {
    return viewOf(this.store, this.layers, resolve(this.store, name));
  }

  find(name: string): Image | undefined {
    try {
      const record = lookup(this.store, name);
      return record && viewOf(this.store, this.layers, record);
    } catch {
      return undefined;
    }
  }

  layersOf(image: Image): LayerSource[] {
    return (this.store.get(image.id)?.layers ?? []).map(({ diffId, blob }) => ({ diffId, blob }));
  }

  pull(request: ImagePullRequest, progress: ProgressSink, signal: AbortSignal): Promise<void> {
    return this.pulling.run(request, progress, signal);
  }

  async tag(name: string, repository: string, tag: string): Promise<void> {
    const record = resolve(this.store, name);
    const given = parseReference(repository);
    const reference = tagged(withTagOrDigest(given, tag));
    if (reference.digest !== undefined) throw notImplemented('a tag that is a digest');
    await this.registrar.exclusively(record.id, async () => {
      resolve(this.store, record.id);
      this.store.setName(fullForm(reference), record.id, new Date().toISOString());
    });
    this.registrar.event('tag', record.id, familiarForm(reference), record);
  }

  async history(name: string): Promise<ImageHistory[]> {
    const record = resolve(this.store, name);
    const chain = chainIds(record.image.diffIds);
    let layer = 0;
    const rows = record.image.history.map((entry) => {
      const size = entry.emptyLayer ? 0 : (this.layers.sizeOf(chain[layer] as ChainId) ?? record.layers[layer]?.size ?? 0);
      if (!entry.emptyLayer) layer++;
      return { id: '<missing>', created: entry.created, createdBy: entry.createdBy, tags: [] as string[], size, comment: entry.comment };
    });
    rows.reverse();
    // The newest entry is this image, and the ones below it are its ancestors as far as they are here.
    let at: typeof record | undefined = record;
    for (let index = 0; at && index < rows.length; index++) {
      const row = rows[index];
      if (row) {
        row.id = at.id;
        row.tags = viewOf(this.store, this.layers, at).repoTags.slice();
      }
      at = at.parent === '' ? undefined : this.store.get(at.parent as Digest);
    }
    return rows;
  }

  async push(
    _request: { name: string; tag: string; platform: Platform | undefined; auth: RegistryAuth | undefined },
    _progress: ProgressSink,
    _signal: AbortSignal,
  ): Promise<void> {
    throw notImplemented('push');
  }

  async remove(_name: string, _options: { force: boolean; noPrune: boolean }): Promise<DeletedImage[]> {
    throw notImplemented('image removal');
  }

  async prune(_filters: ImageFilters): Promise<{ deleted: DeletedImage[]; spaceReclaimed: number }> {
    throw notImplemented('image prune');
  }

  async save(_names: readonly string[], _platform: Platform | undefined): Promise<Readable> {
    throw notImplemented('save');
  }

  async load(_archive: Readable, _options: { quiet: boolean }, _progress: ProgressSink): Promise<void> {
    throw notImplemented('load');
  }

  async import(
    _archive: Readable,
    _request: { repository: string; tag: string; message: string; changes: readonly string[]; platform: Platform | undefined },
    _progress: ProgressSink,
  ): Promise<Digest> {
    throw notImplemented('import');
  }

  async distribution(
    _name: string,
    _auth: RegistryAuth | undefined,
  ): Promise<{ mediaType: string; digest: Digest; size: number; platforms: Platform[] }> {
    throw notImplemented('distribution inspect');
  }

  async login(_auth: RegistryAuth): Promise<{ status: string; identityToken: string }> {
    throw notImplemented('login');
  }

  async search(
    _term: string,
    _options: { limit: number; filters: ImageFilters; auth: RegistryAuth | undefined },
  ): Promise<{ name: string; description: string; stars: number; official: boolean }[]> {
    throw notImplemented('search');
  }

  async commit(_request: {
    readonly parent: Image;
    readonly layer: Readable | undefined;
    readonly config: ContainerConfig;
    readonly history: HistoryEntry;
    readonly author: string;
    readonly repository: string;
    readonly tag: string;
  }): Promise<Digest> {
    throw notImplemented('commit');
  }

  applyChanges<C extends ProcessConfig>(_config: C, _changes: readonly string[]): C {
    throw notImplemented('changes to a configuration');
  }

  async usage(): Promise<{ layersSize: number; images: { image: Image; sharedSize: number }[] }> {
    throw notImplemented('disk usage of images');
  }
}
