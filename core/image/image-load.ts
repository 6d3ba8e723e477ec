import { Readable } from 'node:stream';
import { createGunzip, createZstdDecompress } from 'node:zlib';
import { invalid, isKind } from '../contracts/errors.js';
import type { Host } from '../contracts/host.js';
import { isDigest, parseDigest, type Digest } from '../contracts/ids.js';
import type { Content } from '../content/content.js';
import { ingestStream } from '../content/ingest.js';
import { JsonReader, parseJson } from '../content/json.js';
import { limits } from '../content/limits.js';
import { parseManifest, parseRootFs, selectPlatform, type Descriptor, type ImageManifest } from '../content/manifest.js';
import { hostPlatform } from '../content/platform.js';
import { familiarForm, fullForm, parseReference, tagged, type Reference } from '../content/reference.js';
import type { ProgressSink } from '../distribution/progress.js';
import type { Layers } from '../layer/layers.js';
import { layerTypeOf, sniffCompression } from './blob-compression.js';
import { decompressedStream, describable } from './decompressed.js';
import type { StoredLayer } from './image-store.js';
import type { ImageRegistrar } from './registrar.js';
import { readTar, type TarEntry } from './tar-reader.js';

/** What the archive holds, by the paths that its own index files use. Nothing of it is ever a path on this machine. */
interface Archive {
  readonly blobs: Map<string, { digest: Digest; size: number }>;
  /** Link to the path that it points at, both as written in the archive. */
  readonly links: Map<string, string>;
  readonly documents: Map<string, Buffer>;
}

interface LoadedImage {
  readonly id: Digest;
  readonly layers: readonly StoredLayer[];
  readonly manifest: Descriptor | undefined;
  readonly references: readonly Reference[];
}

const DOCUMENTS = new Set(['manifest.json', 'index.json', 'oci-layout', 'repositories']);
const LINK_HOPS = 8;

/** `./a//b/../c` as `a/c`; what would climb out of the archive names nothing in it. */
function normal(path: string): string {
  const parts: string[] = [];
  for (const part of path.split('/')) {
    if (part === '' || part === '.') continue;
    if (part === '..') {
      if (parts.pop() === undefined) return '';
    } else parts.push(part);
  }
  return parts.join('/');
}

/** Reads archives of images: what `docker save` writes and wrote, and OCI layouts; plain or compressed. */
export class ImageLoad {
  constructor(
    private readonly host: Host,
    private readonly content: Content,
    private readonly layers: Layers,
    private readonly registrar: ImageRegistrar,
  ) {}

  async run(source: Readable, options: { quiet: boolean }, progress: ProgressSink): Promise<void> {
    await this.registrar.gathering(async (owner) => {
      const archive = await this.store(source, owner);
      const images = await this.find(archive, owner);
      if (images.length === 0) throw invalid('the archive holds no image');
      const driver = this.layers.defaultDriver.name;
      // All of them are unpacked before the first one is shown: a bad one leaves nothing.
      for (const image of images) await this.unpack(image, driver, owner, options.quiet ? () => undefined : progress);
      for (const image of images) await this.show(image, driver, progress);
    });
    // What the archive had beside its images.
    await this.content.collect();
  }

  private async unpack(image: LoadedImage, driver: string, owner: string, progress: ProgressSink): Promise<void> {
    if (image.layers.length === 0) return;
    const blobOf = new Map(image.layers.map((layer) => [layer.diffId, layer.diffId.slice(7, 19)]));
    await this.layers.prepare(driver, image.layers, owner, (diffId, event, current, total) => {
      const id = blobOf.get(diffId) ?? '';
      if (event === 'extracting') progress({ id, status: 'Loading layer', current, total });
    });
  }

  private async show(image: LoadedImage, driver: string, progress: ProgressSink): Promise<void> {
    const { id, layers, manifest, references } = image;
    const before = references.map((reference) => ({ reference, old: this.registrar.store.named(fullForm(reference)) }));
    const { record } = await this.registrar.register({ id, layers, manifest, names: references.map(fullForm) }, driver);
    this.registrar.event('load', id, id, record);
    if (references.length === 0) progress({ stream: `Loaded image ID: ${id}\n` });
    for (const { reference, old } of before) {
      if (old && old.id !== id)
        progress({
          stream: `The image ${familiarForm(reference)} already exists, renaming the old one with ID ${old.id} to empty string\n`,
        });
      progress({ stream: `Loaded image: ${familiarForm(reference)}\n` });
    }
  }

  private async store(source: Readable, owner: string): Promise<Archive> {
    const archive: Archive = { blobs: new Map(), links: new Map(), documents: new Map() };
    for await (const entry of readTar(plain(this.host, source), limits.archiveEntries)) await this.take(entry, archive, owner);
    return archive;
  }

  private async take(entry: TarEntry, archive: Archive, owner: string): Promise<void> {
    const path = normal(entry.path);
    if (entry.type === 'symlink') archive.links.set(path, normal(`${path}/../${entry.linkTarget}`));
    else if (entry.type === 'link') archive.links.set(path, normal(entry.linkTarget));
    if (entry.type !== 'file' || path === '') return;
    if (archive.documents.has(path) || archive.blobs.has(path))
      throw invalid(`the archive has ${JSON.stringify(path.slice(0, 200))} twice`);
    if (DOCUMENTS.has(path)) {
      if (entry.size > limits.archiveIndexBytes)
        throw invalid(`${path} in the archive has ${entry.size} bytes, more than ${limits.archiveIndexBytes}`);
      const chunks: Buffer[] = [];
      for await (const chunk of entry.content) chunks.push(chunk);
      archive.documents.set(path, Buffer.concat(chunks));
      return;
    }
    // Files that very old writers put beside each layer, and that nothing reads any more.
    if (/(^|\/)(VERSION|json)$/.test(path)) return;
    const name = /^blobs\/sha256\/([^/]+)$/.exec(path)?.[1];
    const named = name === undefined ? undefined : `sha256:${name}`;
    if (named !== undefined && !isDigest(named))
      throw invalid(`the archive has a blob with the name ${JSON.stringify(path.slice(0, 200))}, which is no digest`);
    const found = await ingestStream(
      this.host,
      this.content,
      entry.content,
      { owner, size: entry.size, ...(named === undefined ? {} : { digest: named }) },
      limits.layerBytes,
    );
    archive.blobs.set(path, found);
  }

  /** `manifest.json` says which images there are, when it is there; `index.json` says it otherwise, and with which manifests they came. */
  private async find(archive: Archive, owner: string): Promise<LoadedImage[]> {
    const fromIndex = await this.fromIndex(archive, owner);
    const legacy = archive.documents.get('manifest.json');
    if (!legacy) return fromIndex;
    const entries = parseJson(legacy, 'manifest.json');
    if (!Array.isArray(entries)) throw invalid('manifest.json is not a list');
    const images: LoadedImage[] = [];
    for (const value of entries) {
      const entry = JsonReader.of(value, 'manifest.json');
      const config = this.resolve(archive, entry.string('Config'));
      const paths = entry.strings('Layers') ?? [];
      if (paths.length > limits.layers)
        throw invalid(`the image has ${paths.length} layers, more than the ${limits.layers} that can be mounted`);
      const bytes = await this.content.read(config.digest, limits.configBytes);
      const { diffIds } = parseRootFs(bytes, paths.length);
      const blobs = paths.map((path) => this.resolve(archive, path));
      const same = fromIndex.find(
        (image) => image.id === config.digest && image.layers.every((layer, index) => layer.blob === blobs[index]?.digest),
      );
      const layers = same?.layers ?? (await Promise.all(blobs.map(async (blob, index) => this.layer(blob, diffIds[index], owner))));
      const references = (entry.strings('RepoTags') ?? []).map((name) => named(name));
      images.push({ id: config.digest, layers, manifest: same?.manifest, references });
    }
    // Configurations of old archives are files under a name of their own; the digest is what names the image.
    this.content.hold(
      owner,
      images.map((image) => image.id),
    );
    return images;
  }

  private async fromIndex(archive: Archive, owner: string): Promise<LoadedImage[]> {
    const document = archive.documents.get('index.json');
    if (!document) return [];
    const index = parseManifest(document, '');
    if (index.kind !== 'index') throw invalid('index.json is no index');
    const images = new Map<Digest, LoadedImage & { references: Reference[] }>();
    for (const entry of index.entries) {
      const found = await this.manifestOf(archive, entry);
      if (!found) continue;
      const { manifest, described } = found;
      const config = await this.content.read(this.blob(archive, manifest.config.digest).digest, limits.configBytes);
      const { diffIds } = parseRootFs(config, manifest.layers.length);
      const layers = await Promise.all(
        manifest.layers.map(async (layer, at) => this.layer(this.blob(archive, layer.digest), diffIds[at], owner, layer.mediaType)),
      );
      const image = images.get(manifest.config.digest) ?? { id: manifest.config.digest, layers, manifest: described, references: [] };
      const name = nameOf(entry.annotations);
      if (name && !image.references.some((known) => fullForm(known) === fullForm(name))) image.references.push(name);
      images.set(image.id, image);
    }
    return [...images.values()];
  }

  /** The manifest that an entry of `index.json` stands for; of an index, the one for this machine. `undefined` for what is no image or not all there. */
  private async manifestOf(archive: Archive, entry: Descriptor): Promise<{ manifest: ImageManifest; described: Descriptor } | undefined> {
    let described = entry;
    for (let depth = 0; depth < 3; depth++) {
      const blob = archive.blobs.get(`blobs/sha256/${described.digest.slice(7)}`);
      if (!blob) {
        if (depth === 0) throw invalid(`index.json names ${described.digest}, which the archive does not hold`);
        return undefined;
      }
      const parsed = parseManifest(await this.content.read(blob.digest, limits.manifestBytes), described.mediaType);
      if (parsed.kind === 'image')
        return { manifest: parsed, described: { mediaType: parsed.mediaType, digest: blob.digest, size: blob.size } };
      const chosen = selectPlatform(parsed, hostPlatform());
      if (!chosen) return undefined;
      described = chosen;
    }
    throw invalid('the index leads to indexes only');
  }

  private blob(archive: Archive, digest: Digest): { digest: Digest; size: number } {
    return this.resolve(archive, `blobs/sha256/${digest.slice(7)}`);
  }

  /** A file of the archive by the name that its index uses, over links inside the archive. */
  private resolve(archive: Archive, path: string): { digest: Digest; size: number } {
    let at = normal(path);
    for (let hops = 0; hops < LINK_HOPS; hops++) {
      const found = archive.blobs.get(at);
      if (found) return found;
      const target = archive.links.get(at);
      if (target === undefined) break;
      at = target;
    }
    throw invalid(`the archive names ${JSON.stringify(path.slice(0, 200))} and does not hold it as a file`);
  }

  /** The diff ID is what the configuration says; unpacking compares it. */
  private async layer(
    blob: { digest: Digest; size: number },
    diffId: Digest | undefined,
    owner: string,
    type?: string,
  ): Promise<StoredLayer> {
    if (diffId === undefined) throw invalid('the image has a layer without a diff ID');
    // What a manifest names is kept as it is.
    const { digest, size } = type === undefined ? await describable(this.host, this.content, blob, owner) : blob;
    return {
      diffId: parseDigest(diffId),
      blob: digest,
      size,
      mediaType: type ?? (await layerTypeOf(await this.content.path(digest))),
    };
  }
}

const named = (name: string): Reference => {
  const reference = tagged(parseReference(name));
  if (reference.digest !== undefined) throw invalid(`the archive names an image by digest: ${JSON.stringify(name.slice(0, 300))}`);
  return reference;
};

/** containerd's annotation is a whole name; OCI's is a tag, or with some writers a whole name. Names that are none are passed over. */
function nameOf(annotations: Readonly<Record<string, string>>): Reference | undefined {
  const whole = annotations['io.containerd.image.name'];
  const reference = annotations['org.opencontainers.image.ref.name'];
  try {
    if (whole !== undefined) return named(whole);
    if (reference !== undefined && /[/:]/.test(reference)) return named(reference);
  } catch (error) {
    if (!isKind(error, 'invalid-parameter')) throw error;
  }
  return undefined;
}

/** Inflates what is compressed. */
async function* plain(host: Host, source: Readable): AsyncGenerator<Buffer> {
  const iterator = (source as AsyncIterable<Buffer>)[Symbol.asyncIterator]();
  let head = Buffer.alloc(0);
  while (head.length < 6) {
    const { done, value } = await iterator.next();
    if (done) break;
    head = Buffer.concat([head, value]);
  }
  const whole = (async function* (): AsyncGenerator<Buffer> {
    try {
      if (head.length > 0) yield head;
      for (;;) {
        const { done, value } = await iterator.next();
        if (done) return;
        yield value;
      }
    } finally {
      await iterator.return?.();
    }
  })();
  if (head.length === 0) throw invalid('the archive is empty');
  const compression = sniffCompression(head);
  if (compression === 'none') return yield* whole;
  if (compression === 'bzip2' || compression === 'xz') return yield* decompressedStream(host, whole);
  const inflate = compression === 'gzip' ? createGunzip() : createZstdDecompress();
  const reader = Readable.from(whole);
  reader.once('error', (error) => inflate.destroy(error));
  reader.pipe(inflate);
  try {
    yield* inflate as AsyncIterable<Buffer>;
  } catch (error) {
    throw isKind(error, 'system') ? invalid(`the archive cannot be decompressed: ${(error as Error).message}`, error) : error;
  } finally {
    reader.destroy();
    inflate.destroy();
  }
}
