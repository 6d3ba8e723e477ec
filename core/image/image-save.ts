import { createReadStream } from 'node:fs';
import { Readable } from 'node:stream';
import { EngineError, invalid } from '../contracts/errors.js';
import { hexOf, sha256, type Digest } from '../contracts/ids.js';
import type { Content } from '../content/content.js';
import { buildManifest, type Descriptor } from '../content/manifest.js';
import { mediaTypes } from '../content/media-types.js';
import { formatPlatform, platformRank, type PlatformSpec } from '../content/platform.js';
import { familiarForm, familiarName, fullForm, fullName, parseReference, tagged, type Reference } from '../content/reference.js';
import type { ImageRecord, ImageStore } from './image-store.js';
import { resolve } from './lookup.js';
import type { ImageRegistrar } from './registrar.js';
import { tarEnd, tarHeader, tarPadding } from './tar-writer.js';

interface Chosen {
  readonly record: ImageRecord;
  readonly references: Reference[];
}

/** A blob of the archive: in memory, or a file of the content store. */
type Source = { readonly bytes: Buffer } | { readonly digest: Digest; readonly size: number };

const blobPath = (digest: Digest): string => `blobs/sha256/${hexOf(digest)}`;

/**
 * Writes images into one archive that is both an OCI layout and what `docker load` has always read: the same blobs, named
 * by `index.json` and by `manifest.json`. Blobs go as they are in the store, so an image comes out of a load as it went in.
 */
export class ImageSave {
  constructor(
    private readonly store: ImageStore,
    private readonly content: Content,
    private readonly registrar: ImageRegistrar,
  ) {}

  /** Everything is found and held before the stream is given; it ends early only by an error. */
  async run(names: readonly string[], platform: PlatformSpec | undefined): Promise<Readable> {
    const chosen = this.choose(names);
    for (const { record } of chosen)
      if (platform && platformRank(platform, record.image) === undefined)
        throw new EngineError(
          'not-found',
          `image ${record.id} is for ${formatPlatform(record.image)}, not for ${formatPlatform(platform)}`,
        );
    const started = Promise.withResolvers<Readable>();
    // Held until the reader is done with the stream, or gone.
    this.registrar
      .gathering(async (owner) => {
        const files = await this.plan(chosen, owner);
        const stream = Readable.from(this.archive(files), { objectMode: false, highWaterMark: 256 * 1024 });
        const closed = Promise.withResolvers<void>();
        stream.once('close', () => closed.resolve());
        started.resolve(stream);
        await closed.promise;
      })
      .catch((error: unknown) => started.reject(error));
    const stream = await started.promise;
    for (const { record } of chosen) this.registrar.event('save', record.id, record.id, record);
    return stream;
  }

  private choose(names: readonly string[]): Chosen[] {
    if (names.length === 0) throw invalid('no image was named');
    const chosen = new Map<Digest, Chosen>();
    const add = (record: ImageRecord, reference: Reference | undefined): void => {
      const one = chosen.get(record.id) ?? { record, references: [] };
      chosen.set(record.id, one);
      if (reference && !one.references.some((known) => fullForm(known) === fullForm(reference))) one.references.push(reference);
    };
    for (const name of names) {
      const all = this.tagsOf(name);
      if (all.length > 0) for (const reference of all) add(resolve(this.store, fullForm(reference)), reference);
      else {
        const record = resolve(this.store, name);
        const reference = parsed(name);
        const named = reference && tagged(reference);
        add(record, named && named.digest === undefined && this.store.named(fullForm(named)) === record ? named : undefined);
      }
    }
    return [...chosen.values()];
  }

  /** A name without tag stands for all tags of its repository. */
  private tagsOf(name: string): Reference[] {
    const reference = parsed(name);
    if (!reference || reference.tag !== undefined || reference.digest !== undefined) return [];
    return [...this.store.allNames().keys()]
      .map(parseReference)
      .filter((one) => one.digest === undefined && fullName(one) === fullName(reference));
  }

  private async plan(chosen: readonly Chosen[], owner: string): Promise<Map<string, Source>> {
    const files = new Map<string, Source>();
    const legacy: object[] = [];
    const index: object[] = [];
    const repositories: Record<string, Record<string, string>> = Object.create(null) as Record<string, Record<string, string>>;
    for (const { record, references } of chosen) {
      this.content.hold(owner, [
        record.id,
        ...record.layers.map((layer) => layer.blob),
        ...(record.manifest ? [record.manifest.digest] : []),
      ]);
      const config = await this.blob(files, record.id);
      for (const layer of record.layers) await this.blob(files, layer.blob);
      const manifest = await this.manifest(files, record, config);
      legacy.push({
        Config: blobPath(record.id),
        RepoTags: references.length > 0 ? references.map(familiarForm) : null,
        Layers: record.layers.map((layer) => blobPath(layer.blob)),
      });
      const { os, architecture, variant } = record.image;
      const entry = { ...manifest, platform: { architecture, os, ...(variant === '' ? {} : { variant }) } };
      if (references.length === 0) index.push(entry);
      for (const reference of references) {
        const tag = reference.tag ?? 'latest';
        index.push({
          ...entry,
          annotations: { 'io.containerd.image.name': fullForm(reference), 'org.opencontainers.image.ref.name': tag },
        });
        (repositories[familiarName(reference)] ??= {})[tag] = hexOf(record.layers.at(-1)?.blob ?? record.id);
      }
    }
    const json = (value: unknown): Source => ({ bytes: Buffer.from(JSON.stringify(value)) });
    files.set('index.json', json({ schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests: index }));
    files.set('manifest.json', json(legacy));
    files.set('oci-layout', json({ imageLayoutVersion: '1.0.0' }));
    if (Object.keys(repositories).length > 0) files.set('repositories', json(repositories));
    return files;
  }

  private async manifest(files: Map<string, Source>, record: ImageRecord, config: Descriptor): Promise<Descriptor> {
    if (record.manifest && (await this.content.has(record.manifest.digest))) {
      await this.blob(files, record.manifest.digest);
      return record.manifest;
    }
    const layers = record.layers.map((layer) => ({ mediaType: layer.mediaType, digest: layer.blob, size: layer.size }));
    const bytes = buildManifest(mediaTypes.ociManifest, config, layers);
    const digest = sha256(bytes);
    files.set(blobPath(digest), { bytes });
    return { mediaType: mediaTypes.ociManifest, digest, size: bytes.length };
  }

  private async blob(files: Map<string, Source>, digest: Digest): Promise<Descriptor> {
    const size = await this.content.size(digest);
    if (size === undefined) throw new EngineError('system', `blob ${digest} is not in the content store: pull the image again`);
    files.set(blobPath(digest), { digest, size });
    return { mediaType: mediaTypes.ociConfig, digest, size };
  }

  private async *archive(files: ReadonlyMap<string, Source>): AsyncGenerator<Buffer> {
    yield tarHeader('blobs/', 0, 'folder');
    yield tarHeader('blobs/sha256/', 0, 'folder');
    for (const [path, source] of files) {
      const size = 'bytes' in source ? source.bytes.length : source.size;
      yield tarHeader(path, size);
      if ('bytes' in source) yield source.bytes;
      else yield* this.file(source.digest, size);
      yield tarPadding(size);
    }
    yield tarEnd();
  }

  /** Exactly as many bytes as the header said. */
  private async *file(digest: Digest, size: number): AsyncGenerator<Buffer> {
    let sent = 0;
    for await (const chunk of createReadStream(await this.content.path(digest), { highWaterMark: 256 * 1024 }) as AsyncIterable<Buffer>) {
      sent += chunk.length;
      yield chunk;
    }
    if (sent !== size) throw new EngineError('system', `blob ${digest} has ${sent} bytes where it had ${size}`);
  }
}

function parsed(name: string): Reference | undefined {
  try {
    return parseReference(name);
  } catch {
    return undefined;
  }
}
