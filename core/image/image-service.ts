import type { Readable } from 'node:stream';
import { inject, injectable } from 'tsyringe';
import type { ProcessConfig } from '../container/container.js';
import { invalid } from '../contracts/errors.js';
import type { Host } from '../contracts/host.js';
import { chainIds, type ChainId, type Digest } from '../contracts/ids.js';
import type { Logger } from '../contracts/manifest.js';
import type { Content } from '../content/content.js';
import { familiarForm, fullForm, parseReference, tagged, withTagOrDigest } from '../content/reference.js';
import { Downloads } from '../distribution/downloads.js';
import { Puller } from '../distribution/pull.js';
import { Pusher } from '../distribution/push.js';
import { RETRY_BACKOFF } from '../distribution/retry.js';
import { Registry } from '../distribution/registry.js';
import type { LayerSource, Layers } from '../layer/layers.js';
import type { Database } from '../state/database.js';
import { failpoint } from '../state/failpoint.js';
import type { Journal } from '../state/journal.js';
import type { Settings } from '../system/settings.js';
import type { Events } from '../system/system.js';
import { Tokens } from '../tokens.js';
import { applyChanges } from './config-changes.js';
import { createdAt, imageTest } from './filters.js';
import { ImageLoad } from './image-load.js';
import { ImagePull, type ImagePullRequest } from './image-pull.js';
import { ImagePush, type ImagePushRequest } from './image-push.js';
import { ImageSave } from './image-save.js';
import { ImageStore } from './image-store.js';
import type { DeletedImage, Image, ImageFilters, ImageHistory, Images, Platform, ProgressSink, RegistryAuth } from './images.js';
import { lookup, resolve, viewOf } from './lookup.js';
import { ImageMaker, type CommitRequest, type ImportRequest } from './new-image.js';
import { ImageRegistrar } from './registrar.js';
import { RegistryQueries, type DistributionInspect, type SearchResult } from './registry-queries.js';
import { ImageRemoval, type ImageGuard } from './removal.js';

/** Images, put together from the parts beside this file. */
@injectable()
export class ImageService implements Images {
  private readonly store: ImageStore;
  private readonly registrar: ImageRegistrar;
  private readonly registry: Registry;
  private readonly pulling: ImagePull;
  private readonly pushing: ImagePush;
  private readonly removal: ImageRemoval;
  private readonly saving: ImageSave;
  private readonly loading: ImageLoad;
  private readonly maker: ImageMaker;
  private readonly queries: RegistryQueries;
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
    // Read when they are needed: a reload of the configuration may change them.
    const downloads = new Downloads(host, content, {
      get concurrent() {
        return settings.maxConcurrentDownloads;
      },
      get attempts() {
        return settings.maxDownloadAttempts;
      },
    });
    const puller = new Puller(content, layers, this.registry, downloads, {
      backoff: RETRY_BACKOFF,
      get attempts() {
        return settings.maxDownloadAttempts;
      },
    });
    this.pulling = new ImagePull(content, layers, this.registry, puller, this.registrar);
    const pusher = new Pusher(content, this.registry, {
      get concurrent() {
        return settings.maxConcurrentUploads;
      },
      get attempts() {
        return settings.maxDownloadAttempts;
      },
    });
    this.pushing = new ImagePush(host, content, this.registry, pusher, this.registrar, this.store);
    this.removal = new ImageRemoval(this.store, this.registrar, content, layers, log, (id) => this.guard(id));
    this.saving = new ImageSave(this.store, content, this.registrar);
    this.loading = new ImageLoad(host, content, layers, this.registrar);
    this.maker = new ImageMaker(host, content, layers, this.registrar);
    this.queries = new RegistryQueries(this.registry);
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

  idOf(name: string): Digest | undefined {
    try {
      return lookup(this.store, name)?.id;
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
    if (reference.digest !== undefined) throw invalid('refusing to create a tag with a digest reference');
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

  push(request: ImagePushRequest, progress: ProgressSink, signal: AbortSignal): Promise<void> {
    return this.pushing.run(request, progress, signal);
  }

  remove(name: string, options: { force: boolean; noPrune: boolean }): Promise<DeletedImage[]> {
    return this.removal.remove(name, { force: options.force, prune: !options.noPrune });
  }

  prune(filters: ImageFilters): Promise<{ deleted: DeletedImage[]; spaceReclaimed: number }> {
    return this.removal.prune(filters);
  }

  save(names: readonly string[], platform: Platform | undefined): Promise<Readable> {
    return this.saving.run(names, platform);
  }

  load(archive: Readable, options: { quiet: boolean }, progress: ProgressSink): Promise<void> {
    return this.loading.run(archive, options, progress);
  }

  import(archive: Readable, request: ImportRequest, _progress: ProgressSink): Promise<Digest> {
    return this.maker.import(archive, request);
  }

  commit(request: CommitRequest): Promise<Digest> {
    return this.maker.commit(request);
  }

  applyChanges<C extends ProcessConfig>(config: C, changes: readonly string[]): C {
    return applyChanges(config, changes);
  }

  distribution(name: string, auth: RegistryAuth | undefined): Promise<DistributionInspect> {
    return this.queries.distribution(name, auth);
  }

  login(auth: RegistryAuth): Promise<{ status: string; identityToken: string }> {
    return this.queries.login(auth);
  }

  search(term: string, options: { limit: number; filters: ImageFilters; auth: RegistryAuth | undefined }): Promise<SearchResult[]> {
    return this.queries.search(term, options);
  }

  migrate(id: Digest, from: string, to: string): Promise<boolean> {
    return this.registrar.exclusively(id, async () => {
      const record = this.store.get(id);
      const isKept = this.layers.places().some(({ driver, holders }) => driver === from && holders.includes(id));
      if (!record || !isKept) return false;
      await this.layers.prepare(
        to,
        record.layers.map(({ diffId, blob }) => ({ diffId, blob })),
        id,
      );
      failpoint('image.migrate.1');
      await this.layers.releaseFrom(id, from);
      return true;
    });
  }

  async usage(): Promise<{ layersSize: number; images: { image: Image; sharedSize: number }[] }> {
    const users = new Map<ChainId, number>();
    for (const record of this.store.all()) for (const one of chainIds(record.image.diffIds)) users.set(one, (users.get(one) ?? 0) + 1);
    const sizeOf = (one: ChainId): number => this.layers.sizeOf(one) ?? 0;
    return {
      // A layer takes its place with each storage driver that it is unpacked for.
      layersSize: this.layers.places().reduce((sum, { size }) => sum + size, 0),
      images: this.store.all().map((record) => ({
        image: viewOf(this.store, this.layers, record),
        sharedSize: chainIds(record.image.diffIds).reduce((sum, one) => sum + ((users.get(one) ?? 0) > 1 ? sizeOf(one) : 0), 0),
      })),
    };
  }
}
