import { open } from 'node:fs/promises';
import { EngineError, invalid } from '../contracts/errors.js';
import type { Host } from '../contracts/host.js';
import { parseDigest } from '../contracts/ids.js';
import type { Content } from '../content/content.js';
import { ingestBytes } from '../content/ingest.js';
import { limits } from '../content/limits.js';
import { buildManifest, parseManifest, type Descriptor } from '../content/manifest.js';
import { mediaTypes } from '../content/media-types.js';
import { formatPlatform, platformRank, type PlatformSpec } from '../content/platform.js';
import {
  familiarForm,
  familiarName,
  fullForm,
  fullName,
  nameOnly,
  parseReference,
  withTagOrDigest,
  type Reference,
} from '../content/reference.js';
import type { RegistryAuth } from '../distribution/credentials.js';
import type { ProgressSink } from '../distribution/progress.js';
import type { Pusher } from '../distribution/push.js';
import type { Registry } from '../distribution/registry.js';
import type { RegistryClient } from '../distribution/registry-client.js';
import type { ImageRecord, ImageStore, StoredLayer } from './image-store.js';
import type { ImageRegistrar } from './registrar.js';

export interface ImagePushRequest {
  readonly name: string;
  /** '' for the name's own tag, or else all tags. */
  readonly tag: string;
  readonly platform: PlatformSpec | undefined;
  readonly auth: RegistryAuth | undefined;
}

/** Repositories that are asked to give a layer to the one that is pushed to. */
const MOUNT_CANDIDATES = 3;

/** Pushes an image as it came, byte for byte; one that was made here is compressed once and then is as it went. */
export class ImagePush {
  constructor(
    private readonly host: Host,
    private readonly content: Content,
    private readonly registry: Registry,
    private readonly pusher: Pusher,
    private readonly registrar: ImageRegistrar,
    private readonly store: ImageStore,
  ) {}

  async run(request: ImagePushRequest, progress: ProgressSink, signal: AbortSignal): Promise<void> {
    const reference = withTagOrDigest(parseReference(request.name), request.tag);
    if (reference.digest !== undefined) throw invalid('cannot push a digest reference');
    const references = this.localTags(reference);
    const clients = await this.registry.forPush(reference, request.auth);
    for (const one of references) this.checkPlatform(one, request.platform);
    progress({ status: `The push refers to repository [${fullName(reference)}]` });
    const client = await this.pusher.reach(clients, signal);
    for (const one of references) await this.one(client, one, progress, signal);
  }

  private localTags(reference: Reference): Reference[] {
    if (reference.tag !== undefined) {
      if (!this.store.named(fullForm(reference)))
        throw new EngineError('not-found', `An image does not exist locally with the tag: ${familiarName(reference)}`);
      return [reference];
    }
    const own = [...this.store.allNames().keys()]
      .map(parseReference)
      .filter((one) => one.digest === undefined && fullName(one) === fullName(reference));
    if (own.length === 0) throw new EngineError('not-found', `An image does not exist locally with the tag: ${familiarName(reference)}`);
    return own;
  }

  private checkPlatform(reference: Reference, platform: PlatformSpec | undefined): void {
    const record = this.store.named(fullForm(reference));
    if (platform && record && platformRank(platform, record.image) === undefined)
      throw new EngineError(
        'not-found',
        `image with reference ${familiarForm(reference)} was found but does not match the specified platform: wanted ${formatPlatform(platform)}, actual: ${formatPlatform(record.image)}`,
      );
  }

  private async one(client: RegistryClient, reference: Reference, progress: ProgressSink, signal: AbortSignal): Promise<void> {
    const found = this.store.named(fullForm(reference));
    if (!found) throw new EngineError('not-found', `tag does not exist: ${familiarForm(reference)}`);
    await this.registrar.gathering(async (owner) => {
      this.content.hold(owner, [found.id, ...found.layers.map((layer) => layer.blob), ...(found.manifest ? [found.manifest.digest] : [])]);
      const record = await this.registrar.exclusively(found.id, () => this.pushable(found, owner));
      const manifest = record.manifest;
      if (!manifest) throw new EngineError('system', `image ${record.id} has no manifest`);
      const configSize = (await this.content.size(record.id)) ?? 0;
      await this.pusher.push(
        client,
        {
          tag: reference.tag ?? 'latest',
          manifest,
          config: { mediaType: '', digest: record.id, size: configSize },
          layers: record.layers.map((layer) => ({
            mediaType: layer.mediaType,
            digest: layer.blob,
            size: layer.size,
            diffId: layer.diffId,
            mountFrom: this.mountCandidates(layer, reference),
          })),
        },
        progress,
        signal,
      );
      const byDigest = fullForm({ ...nameOnly(reference), digest: manifest.digest });
      if (this.store.get(record.id)) this.store.setName(byDigest, record.id, record.lastTagged);
      this.registrar.event('push', familiarForm(reference), familiarName(reference), record);
    });
  }

  /** The image with every layer compressed and a manifest that is in the store, both kept for the next time. */
  private async pushable(found: ImageRecord, owner: string): Promise<ImageRecord> {
    const record = this.store.get(found.id) ?? found;
    if (record.manifest && (await this.fits(record, record.manifest))) return record;
    const layers: StoredLayer[] = [];
    for (const layer of record.layers) layers.push(await this.compressed(layer, owner));
    const manifest = await this.describe(record, layers, owner);
    const ready = { ...record, layers, manifest };
    if (this.store.get(record.id)) this.store.put(ready, []);
    return ready;
  }

  private async fits(record: ImageRecord, manifest: Descriptor): Promise<boolean> {
    if (!(await this.content.has(manifest.digest))) return false;
    const parsed = parseManifest(await this.content.read(manifest.digest, limits.manifestBytes), manifest.mediaType);
    return (
      parsed.kind === 'image' &&
      parsed.config.digest === record.id &&
      parsed.layers.every((layer, index) => layer.digest === record.layers[index]?.blob)
    );
  }

  private async compressed(layer: StoredLayer, owner: string): Promise<StoredLayer> {
    if (layer.blob !== layer.diffId) return layer;
    const known = this.store
      .all()
      .flatMap((record) => record.layers.filter((one) => one.diffId === layer.diffId && one.blob !== one.diffId))[0];
    if (known) {
      this.content.hold(owner, [known.blob]);
      if (await this.content.has(known.blob)) return known;
    }
    const reserved = await this.content.reserve();
    try {
      const from = await open(await this.content.path(layer.blob));
      const to = await open(reserved.path, 'wx', 0o600);
      try {
        const { compressed, uncompressed } = await this.host.files.compress({ from: from.fd, to: to.fd, compression: 'gzip' });
        if (uncompressed.digest !== layer.diffId)
          throw new EngineError('system', `layer ${layer.diffId} is damaged: its bytes have ${uncompressed.digest}`);
        await to.sync();
        const blob = { digest: parseDigest(compressed.digest), size: compressed.size };
        await reserved.adopt(blob, { owner });
        return { diffId: layer.diffId, blob: blob.digest, size: blob.size, mediaType: mediaTypes.dockerLayer };
      } finally {
        await from.close();
        await to.close();
      }
    } catch (error) {
      await reserved.abort();
      throw error;
    }
  }

  private async describe(record: ImageRecord, layers: readonly StoredLayer[], owner: string): Promise<Descriptor> {
    // Docker's own types know no zstd.
    const oci = layers.some((layer) => layer.mediaType === mediaTypes.ociLayerZstd);
    const described = layers.map((layer) => ({
      digest: layer.blob,
      size: layer.size,
      mediaType: layer.mediaType === mediaTypes.ociLayerZstd ? layer.mediaType : oci ? mediaTypes.ociLayerGzip : mediaTypes.dockerLayer,
    }));
    const config = {
      mediaType: oci ? mediaTypes.ociConfig : mediaTypes.dockerConfig,
      digest: record.id,
      size: (await this.content.size(record.id)) ?? 0,
    };
    const mediaType = oci ? mediaTypes.ociManifest : mediaTypes.dockerManifest;
    const bytes = buildManifest(mediaType, config, described);
    const digest = await ingestBytes(this.content, bytes, { owner });
    return { mediaType, digest, size: bytes.length };
  }

  /** Other repositories of the same registry from which images with this layer are here. */
  private mountCandidates(layer: StoredLayer, target: Reference): string[] {
    const paths = new Set<string>();
    for (const record of this.store.all()) {
      if (!record.layers.some((one) => one.blob === layer.blob)) continue;
      for (const name of this.store.namesOf(record.id).map(parseReference))
        if (name.digest !== undefined && name.domain === target.domain && name.path !== target.path) paths.add(name.path);
    }
    return [...paths].slice(0, MOUNT_CANDIDATES);
  }
}
