import { open } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import type { ContainerConfig } from '../container/container.js';
import { invalid } from '../contracts/errors.js';
import type { Host } from '../contracts/host.js';
import { parseDigest, type Digest, type DiffId } from '../contracts/ids.js';
import type { Content } from '../content/content.js';
import { ingestBytes, ingestStream } from '../content/ingest.js';
import { limits } from '../content/limits.js';
import { mediaTypes } from '../content/media-types.js';
import { hostPlatform, type PlatformSpec } from '../content/platform.js';
import { familiarForm, fullForm, parseReference, tagged, withTagOrDigest, type Reference } from '../content/reference.js';
import type { Layers } from '../layer/layers.js';
import { layerTypeOf } from './blob-compression.js';
import { applyChanges } from './config-changes.js';
import { describable } from './decompressed.js';
import { emptyProcessConfig, serializeImageConfig, type ImageConfig } from './image-config.js';
import type { StoredLayer } from './image-store.js';
import type { HistoryEntry, Image } from './images.js';
import { noSuchImage } from './lookup.js';
import type { ImageRegistrar } from './registrar.js';

/** Digest of an archive without entries: two blocks of zeros. Such a layer changes nothing and is not made one. */
const EMPTY_ARCHIVE = parseDigest('sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef');

export interface CommitRequest {
  readonly parent: Image;
  /** Uncompressed layer archive; undefined for a change of configuration alone. */
  readonly layer: Readable | undefined;
  readonly config: ContainerConfig;
  readonly history: HistoryEntry;
  readonly author: string;
  readonly repository: string;
  readonly tag: string;
}

export interface ImportRequest {
  readonly repository: string;
  readonly tag: string;
  readonly message: string;
  readonly changes: readonly string[];
  readonly platform: PlatformSpec | undefined;
}

/** Makes images out of archives: a container's difference, or a whole root file system. */
export class ImageMaker {
  constructor(
    private readonly host: Host,
    private readonly content: Content,
    private readonly layers: Layers,
    private readonly registrar: ImageRegistrar,
  ) {}

  async commit(request: CommitRequest): Promise<Digest> {
    const reference = nameFor(request.repository, request.tag);
    const parent = this.registrar.store.get(request.parent.id);
    if (!parent) throw noSuchImage(request.parent.id);
    return this.registrar.gathering(async (owner) => {
      this.content.hold(
        owner,
        parent.layers.map((layer) => layer.blob),
      );
      const added = request.layer && (await this.plainLayer(request.layer, owner));
      const layers = added ? [...parent.layers, added] : parent.layers;
      const config: ImageConfig = {
        created: request.history.created,
        author: request.author,
        comment: request.history.comment,
        architecture: parent.image.architecture,
        variant: parent.image.variant,
        os: parent.image.os,
        config: request.config,
        diffIds: layers.map((layer) => layer.diffId),
        history: [...parent.image.history, { ...request.history, emptyLayer: added === undefined }],
      };
      return this.finish(config, layers, { owner, parent: parent.id, reference, action: 'tag' });
    });
  }

  async import(archive: Readable, request: ImportRequest): Promise<Digest> {
    const reference = nameFor(request.repository, request.tag);
    const config = applyChanges(emptyProcessConfig, request.changes);
    return this.registrar.gathering(async (owner) => {
      const layer = await this.foreignLayer(archive, owner);
      const created = new Date().toISOString();
      const platform = request.platform ?? hostPlatform();
      const image: ImageConfig = {
        created,
        author: '',
        comment: request.message,
        ...platform,
        config,
        diffIds: [layer.diffId],
        history: [{ created, createdBy: '', author: '', comment: request.message, emptyLayer: false }],
      };
      return this.finish(image, [layer], { owner, parent: '', reference, action: 'import' });
    });
  }

  private async finish(
    image: ImageConfig,
    layers: readonly StoredLayer[],
    options: { owner: string; parent: string; reference: Reference | undefined; action: string },
  ): Promise<Digest> {
    const { owner, parent, reference } = options;
    if (layers.length > limits.layers)
      throw invalid(`max depth exceeded: the image would have ${layers.length} layers, more than ${limits.layers}`);
    const id = await ingestBytes(this.content, serializeImageConfig(image), { owner });
    const driver = this.layers.defaultDriver.name;
    if (layers.length > 0) await this.layers.prepare(driver, layers, owner);
    const names = reference ? [fullForm(reference)] : [];
    const { record } = await this.registrar.register({ id, layers, manifest: undefined, parent, names }, driver);
    if (options.action === 'import') this.registrar.event('import', id, id, record);
    else if (reference) this.registrar.event('tag', id, familiarForm(reference), record);
    return id;
  }

  private async plainLayer(archive: Readable, owner: string): Promise<StoredLayer | undefined> {
    const { digest, size } = await ingestStream(this.host, this.content, archive, { owner }, limits.layerBytes);
    return digest === EMPTY_ARCHIVE ? undefined : { diffId: digest, blob: digest, size, mediaType: mediaTypes.ociLayer };
  }

  /** A user's archive is kept as it came, compressed or not, if there is a word for it. */
  private async foreignLayer(archive: Readable, owner: string): Promise<StoredLayer> {
    const { digest, size } = await ingestStream(this.host, this.content, archive, { owner }, limits.layerBytes);
    if (size === 0) throw invalid('the archive is empty');
    const known = await describable(this.host, this.content, { digest, size }, owner);
    return describeBlob(this.host, this.content, known.digest, known.size);
  }
}

/** Finds what a layer's blob is: its compression, and the digest of what it holds. */
async function describeBlob(host: Host, content: Content, blob: Digest, size: number): Promise<StoredLayer> {
  const path = await content.path(blob);
  const mediaType = await layerTypeOf(path);
  if (mediaType === mediaTypes.ociLayer) return { diffId: blob, blob, size, mediaType };
  const file = await open(path);
  try {
    const diffId = parseDigest((await host.files.hashUncompressed(file.fd)).digest) as DiffId;
    return { diffId, blob, size, mediaType };
  } finally {
    await file.close();
  }
}

/** The name that a new image gets, or `undefined` for none. */
function nameFor(repository: string, tag: string): Reference | undefined {
  if (repository === '') return undefined;
  const reference = tagged(withTagOrDigest(parseReference(repository), tag));
  if (reference.digest !== undefined) throw invalid('cannot import digest reference');
  return reference;
}
