import { invalid } from '../contracts/errors.js';
import { parseDigest, type Digest, type DiffId } from '../contracts/ids.js';
import { JsonReader, parseJson } from './json.js';
import { limits } from './limits.js';
import { isForeignLayerType, isIndexType, isLayerType, isManifestType, isSchema1Type, mediaTypes } from './media-types.js';
import { formatPlatform, platformRank, type PlatformSpec } from './platform.js';

/** Points at a blob: what it is, and which bytes. */
export interface Descriptor {
  readonly mediaType: string;
  readonly digest: Digest;
  readonly size: number;
}

export interface IndexEntry extends Descriptor {
  readonly platform: PlatformSpec | undefined;
  readonly annotations: Readonly<Record<string, string>>;
}

export interface ImageManifest {
  readonly kind: 'image';
  readonly mediaType: string;
  readonly config: Descriptor;
  /** Bottom first. */
  readonly layers: readonly Descriptor[];
}

export interface ImageIndex {
  readonly kind: 'index';
  readonly mediaType: string;
  readonly entries: readonly IndexEntry[];
}

export type Manifest = ImageManifest | ImageIndex;

/** What the distribution side needs of a configuration; the rest is core/image's. */
export interface RootFs {
  readonly platform: PlatformSpec;
  readonly diffIds: readonly DiffId[];
}

function descriptor(reader: JsonReader): Descriptor {
  const size = reader.number('size');
  if (!Number.isSafeInteger(size) || size < 0) throw invalid('a descriptor has a size that is no whole number');
  return { mediaType: reader.string('mediaType'), digest: parseDigest(reader.string('digest')), size };
}

const platformOf = (reader: JsonReader | undefined): PlatformSpec | undefined =>
  reader && { os: reader.string('os'), architecture: reader.string('architecture'), variant: reader.string('variant') };

function bounded(layer: Descriptor): Descriptor {
  if (layer.size > limits.layerBytes) throw invalid(`layer ${layer.digest} has ${layer.size} bytes, more than ${limits.layerBytes}`);
  if (isForeignLayerType(layer.mediaType))
    throw invalid(
      `layer ${layer.digest} is foreign (${layer.mediaType}): its bytes are not in the registry and are not fetched from elsewhere`,
    );
  if (!isLayerType(layer.mediaType))
    throw invalid(`layer ${layer.digest} has the unsupported type ${JSON.stringify(layer.mediaType.slice(0, 200))}`);
  return layer;
}

/** What a manifest's configuration is of. */
export type Purpose = 'image' | 'plugin';

function checkConfigType(type: string, purpose: Purpose): void {
  const isPlugin = type === mediaTypes.dockerPluginConfig;
  const isImage = type === mediaTypes.dockerConfig || type === mediaTypes.ociConfig;
  if (purpose === 'plugin' ? isPlugin : isImage) return;
  if (isPlugin) throw invalid('Encountered remote "application/vnd.docker.plugin.v1+json"(plugin config) when fetching image');
  if (isImage) throw invalid(`Encountered remote ${JSON.stringify(type)}(image) when fetching plugin`);
  throw invalid(
    `this is no ${purpose === 'plugin' ? 'plugin' : 'container image'}: its configuration has the type ${JSON.stringify(type.slice(0, 200))}`,
  );
}

function imageManifest(reader: JsonReader, mediaType: string, purpose: Purpose): ImageManifest {
  const config = reader.child('config');
  if (!config) throw invalid('the manifest names no configuration');
  const layers = reader.children('layers').map((layer) => bounded(descriptor(layer)));
  if (layers.length > limits.layers)
    throw invalid(`the image has ${layers.length} layers, more than the ${limits.layers} that can be mounted`);
  const described = descriptor(config);
  checkConfigType(described.mediaType, purpose);
  if (described.size > limits.configBytes) throw invalid(`the configuration has ${described.size} bytes, more than ${limits.configBytes}`);
  return { kind: 'image', mediaType, config: described, layers };
}

function imageIndex(reader: JsonReader, mediaType: string): ImageIndex {
  const entries = reader.children('manifests').map((entry) => ({
    ...descriptor(entry),
    platform: platformOf(entry.child('platform')),
    annotations: entry.stringMap('annotations'),
  }));
  if (entries.length > limits.indexEntries) throw invalid(`the index has ${entries.length} entries, more than ${limits.indexEntries}`);
  return { kind: 'index', mediaType, entries };
}

/**
 * Parses a manifest or index. What it is must be said the same way by everybody who says it: `claimed` (the Content-Type or
 * the descriptor's type; '' when unknown), the document's own `mediaType`, and its members. A document that could be read
 * both as a manifest and as an index is refused.
 */
export function parseManifest(bytes: Uint8Array, claimed: string, purpose: Purpose = 'image'): Manifest {
  if (bytes.byteLength > limits.manifestBytes)
    throw invalid(`the manifest has ${bytes.byteLength} bytes, more than ${limits.manifestBytes}`);
  const reader = JsonReader.of(parseJson(bytes, 'the manifest'), 'the manifest');
  const own = reader.string('mediaType');
  if (isSchema1Type(claimed) || isSchema1Type(own) || reader.number('schemaVersion') === 1)
    throw invalid(
      'the registry has this image only as manifest version 2, schema 1, a format that is no longer supported: push it again with a current tool',
    );
  if (reader.number('schemaVersion') !== 2) throw invalid('the manifest has no schemaVersion 2');
  const type = own || claimed;
  if (own !== '' && claimed !== '' && own !== claimed)
    throw invalid(`the manifest says that it is ${own.slice(0, 200)}, but was given as ${claimed.slice(0, 200)}`);
  const isImage = reader.has('layers') || reader.has('config');
  const isIndex = reader.has('manifests');
  if (isImage && isIndex) throw invalid('the manifest has both layers and manifests: it is ambiguous');
  if (isIndex && (isIndexType(type) || type === '')) return imageIndex(reader, type || mediaTypes.ociIndex);
  if (isImage && (isManifestType(type) || type === '')) return imageManifest(reader, type || mediaTypes.ociManifest, purpose);
  throw invalid(`unsupported manifest type ${JSON.stringify(type.slice(0, 200))}`);
}

/** An entry that describes another one (an attestation) and is no image. */
const isAttached = (entry: IndexEntry): boolean =>
  entry.annotations['vnd.docker.reference.type'] !== undefined || entry.platform?.os === 'unknown';

/** The entry that serves `wanted` best; `undefined` when none does, for which {@link noMatch} has the words. */
export function selectPlatform(index: ImageIndex, wanted: PlatformSpec): IndexEntry | undefined {
  let best: IndexEntry | undefined;
  let bestRank = Number.POSITIVE_INFINITY;
  for (const entry of index.entries) {
    if (isAttached(entry) || !(isManifestType(entry.mediaType) || isIndexType(entry.mediaType))) continue;
    // An entry that names no platform serves any, when nothing better does.
    const rank = entry.platform ? platformRank(wanted, entry.platform) : Number.MAX_SAFE_INTEGER;
    if (rank !== undefined && rank < bestRank) {
      best = entry;
      bestRank = rank;
    }
  }
  return best;
}

/** The platforms that an index names, attestations left out. */
export const platformsOf = (index: ImageIndex): PlatformSpec[] =>
  index.entries.filter((entry) => !isAttached(entry)).flatMap((entry) => entry.platform ?? []);

/** What clients look for when no entry of an index serves. */
export const noMatch = (wanted: PlatformSpec): string => `no matching manifest for ${formatPlatform(wanted)} in the manifest list entries`;

/** The stack of layers that a configuration names; their number must be the manifest's. */
export function parseRootFs(config: Uint8Array, layers: number): RootFs {
  const reader = JsonReader.of(parseJson(config, 'the image configuration'), 'the image configuration');
  const rootfs = reader.child('rootfs');
  const diffIds = (rootfs?.strings('diff_ids') ?? []).map(parseDigest);
  if (diffIds.length !== layers) throw invalid(`the image has ${layers} layers in its manifest and ${diffIds.length} in its configuration`);
  const platform = platformOf(reader) ?? { os: '', architecture: '', variant: '' };
  return { platform, diffIds };
}

/** A manifest for layers and a configuration that are in the content store. */
export function buildManifest(mediaType: string, config: Descriptor, layers: readonly Descriptor[]): Buffer {
  const plain = ({ mediaType: type, digest, size }: Descriptor): object => ({ mediaType: type, size, digest });
  return Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, config: plain(config), layers: layers.map(plain) }, null, 3));
}
