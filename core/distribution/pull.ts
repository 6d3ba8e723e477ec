import { EngineError, invalid, isKind, messageOf, notFound } from '../contracts/errors.js';
import { chainIds, hexOf, type Digest, type DiffId } from '../contracts/ids.js';
import type { Content } from '../content/content.js';
import { ingestBytes } from '../content/ingest.js';
import { limits } from '../content/limits.js';
import { noMatch, parseManifest, parseRootFs, selectPlatform, type Descriptor, type ImageManifest } from '../content/manifest.js';
import { hostPlatform, type PlatformSpec } from '../content/platform.js';
import { familiarForm, familiarName, fullName, type Reference } from '../content/reference.js';
import type { LayerSource, Layers } from '../layer/layers.js';
import type { Downloads, DownloadState } from './downloads.js';
import type { ProgressSink } from './progress.js';
import type { Registry } from './registry.js';
import type { FetchedManifest, RegistryClient } from './registry-client.js';
import { RegistryError } from './registry-error.js';
import { isBusy, retrying } from './retry.js';
import { cancelled } from './transport.js';

/** An image whose blobs are in the store and whose layers are unpacked, all held by the pull's owner. Nobody can see it yet. */
export interface PulledImage {
  readonly id: Digest;
  /** The manifest of this platform. */
  readonly manifest: Descriptor;
  /** What the name stands for at the registry: the index, or the manifest itself. */
  readonly named: Descriptor;
  readonly platform: PlatformSpec;
  readonly layers: readonly (LayerSource & { readonly size: number; readonly mediaType: string })[];
}

export interface PullRequest {
  /** With a tag or digest. */
  readonly reference: Reference;
  readonly platform: PlatformSpec | undefined;
  readonly storageDriver: string;
  /** Holds blobs and layers; the caller releases it when the image has its own holds, or when the pull failed. */
  readonly owner: string;
}

/** An aborted or failed pull leaves its verified blobs for so long to the next one, which then goes on where this one stopped. */
const KEEP_PARTIAL = 24 * 3600 * 1000;

/** Who holds the blobs of pulls from a repository that are under way or were cut off. Released when one ends well. */
export const partialOf = (reference: Reference): string => `partial:${fullName(reference)}`;

const short = (digest: Digest): string => hexOf(digest).slice(0, 12);

/** What a registry's refusal means for the one who asked to pull; the wording is what clients look for. */
export function pullError(error: unknown, reference: Reference): unknown {
  if (!(error instanceof RegistryError)) return error;
  const name = familiarName(reference);
  if (error.status === 401 || error.status === 403 || error.code === 'DENIED')
    return new EngineError(
      'not-found',
      `pull access denied for ${name}, repository does not exist or may require 'docker login': ${error.message}`,
      { cause: error },
    );
  if (error.code === 'NAME_UNKNOWN')
    return new EngineError('not-found', `repository ${name} not found: ${error.message}`, { cause: error });
  if (error.code === 'MANIFEST_UNKNOWN' || error.status === 404)
    return new EngineError('not-found', `manifest for ${familiarForm(reference)} not found: ${error.message}`, { cause: error });
  return error;
}

/** Brings images from registries: blobs into the content store, layers into a storage driver, one unpacked while the next ones arrive. */
export class Puller {
  constructor(
    private readonly content: Content,
    private readonly layers: Layers,
    private readonly registry: Registry,
    private readonly downloads: Downloads,
    private readonly options: { attempts: number; backoff: number },
  ) {}

  async pull(clients: readonly RegistryClient[], request: PullRequest, progress: ProgressSink, signal: AbortSignal): Promise<PulledImage> {
    const { reference, owner } = request;
    const tagOrDigest = reference.digest ?? reference.tag ?? 'latest';
    const { client, result: top } = await this.registry
      .firstWorking(clients, (one) => this.manifest(one, tagOrDigest, signal))
      .catch((error: unknown) => {
        throw pullError(error, reference);
      });
    // A mirror's blobs may be missing or broken: what comes after it in the list stands in.
    const sources = clients.slice(clients.indexOf(client)).filter((one) => one === client || client.endpoint.mirror);
    const { fetched, manifest } = await this.choose(sources, top, request, signal);

    progress({ id: tagOrDigest, status: `Pulling from ${reference.path}` });
    const held = [...new Set([top.digest, fetched.digest, manifest.config.digest, ...manifest.layers.map((layer) => layer.digest)])];
    this.content.hold(owner, held);
    // Under a name of its own, so that after a failure or a crash the next pull of the same finds what arrived, and nobody keeps it for ever.
    const keep = (): void => this.content.hold(partialOf(reference), held, Date.now() + KEEP_PARTIAL);
    keep();
    try {
      // Each waits for the disk: at the same time, and all of them before a failure of one is told, so that nothing is left behind.
      const stored = await Promise.allSettled([
        ingestBytes(this.content, top.bytes, { digest: top.digest }),
        fetched === top ? undefined : ingestBytes(this.content, fetched.bytes, { digest: fetched.digest }),
        this.downloads.fetch(manifest.config, sources, () => undefined, signal),
      ]);
      for (const one of stored) if (one.status === 'rejected') throw one.reason;
      const config = await this.content.read(manifest.config.digest, limits.configBytes);
      const rootfs = parseRootFs(config, manifest.layers.length);
      if (rootfs.platform.os !== '' && rootfs.platform.os !== 'linux')
        throw new EngineError(
          'invalid-parameter',
          `image operating system ${JSON.stringify(rootfs.platform.os.slice(0, 40))} cannot be used on this platform`,
        );
      await this.bringLayers(manifest.layers, rootfs.diffIds, sources, request, progress, signal);
      progress({ status: `Digest: ${top.digest}` });
      return {
        id: manifest.config.digest,
        manifest: { mediaType: manifest.mediaType, digest: fetched.digest, size: fetched.bytes.length },
        named: { mediaType: top.mediaType || manifest.mediaType, digest: top.digest, size: top.bytes.length },
        platform: rootfs.platform,
        layers: manifest.layers.map((layer, index) => ({
          diffId: at(rootfs.diffIds, index),
          blob: layer.digest,
          size: layer.size,
          mediaType: layer.mediaType,
        })),
      };
    } catch (error) {
      // Another pull of the same repository may have ended well meanwhile, and let go. What is wrong in itself is not worth keeping.
      if (isKind(error, 'unavailable') || isKind(error, 'cancelled')) keep();
      else this.content.release(partialOf(reference));
      throw pullError(error, reference);
    }
  }

  /** A registry that cannot be reached is told at once, for somebody waits for the first line; one that is busy is asked again. */
  private manifest(client: RegistryClient, tagOrDigest: string, signal: AbortSignal): Promise<FetchedManifest> {
    const { attempts, backoff } = this.options;
    return retrying({ attempts, backoff, signal, retry: isBusy }, () => client.manifest(tagOrDigest, signal));
  }

  /** From what the name stands for to the manifest of one platform. An index may point at another one, once. */
  private async choose(
    sources: readonly RegistryClient[],
    top: FetchedManifest,
    { platform, reference }: PullRequest,
    signal: AbortSignal,
  ): Promise<{ fetched: FetchedManifest; manifest: ImageManifest }> {
    const wanted = platform ?? hostPlatform();
    let fetched = top;
    let claimed = top.mediaType;
    for (let depth = 0; depth < 3; depth++) {
      const parsed = parseManifest(fetched.bytes, claimed);
      if (parsed.kind === 'image') return { fetched, manifest: parsed };
      const entry = selectPlatform(parsed, wanted);
      if (!entry) throw new EngineError('not-found', noMatch(wanted));
      const { result } = await this.registry
        .firstWorking(sources, (one) => this.manifest(one, entry.digest, signal))
        .catch((error: unknown) => {
          throw pullError(error, { ...reference, digest: entry.digest });
        });
      if (result.bytes.length !== entry.size)
        throw new EngineError('system', `manifest ${entry.digest} has ${result.bytes.length} bytes where its index says ${entry.size}`);
      if (result.mediaType !== '' && result.mediaType !== entry.mediaType)
        throw invalid(`manifest ${entry.digest} was given as ${result.mediaType} where its index says ${entry.mediaType.slice(0, 200)}`);
      fetched = result;
      claimed = entry.mediaType;
    }
    throw new EngineError('invalid-parameter', 'the index leads to indexes only');
  }

  private async bringLayers(
    blobs: readonly Descriptor[],
    diffIds: readonly DiffId[],
    sources: readonly RegistryClient[],
    { storageDriver, owner }: PullRequest,
    progress: ProgressSink,
    signal: AbortSignal,
  ): Promise<void> {
    const driver = storageDriver || this.layers.defaultDriver.name;
    const known = new Set(
      this.layers
        .places()
        .filter((place) => place.driver === driver)
        .map((place) => place.chainId),
    );
    const chain = chainIds(diffIds);
    // Once one layer fails the others are of no use: the rest of this pull stops.
    const failed = new AbortController();
    const either = AbortSignal.any([signal, failed.signal]);

    const layers = await Promise.all(
      blobs.map(async (blob, index) => ({
        blob,
        id: short(blob.digest),
        diffId: at(diffIds, index),
        present: (await this.content.size(blob.digest)) === blob.size,
        unpacked: known.has(at(chain, index)),
      })),
    );
    for (const { id, present, unpacked } of layers) progress({ id, status: present && unpacked ? 'Already exists' : 'Pulling fs layer' });
    const transfers = layers.map(async ({ blob, id, present, unpacked }) => {
      if (!present) await this.downloads.fetch(blob, sources, (state) => report(progress, id, state), either);
      else if (!unpacked) progress({ id, status: 'Download complete' });
    });
    for (const transfer of transfers) transfer.catch((error: unknown) => failed.abort(error));
    const stack: LayerSource[] = layers.map(({ blob, diffId, present }, index) => ({
      diffId,
      blob: blob.digest,
      arriving: {
        size: blob.size,
        arrived: async () => {
          await transfers[index];
          if (either.aborted) throw cancelled(either);
        },
        readAlong: async () => (present ? undefined : this.downloads.readAlong(blob.digest)),
        abandon: (reason) => failed.abort(registrationError(reason)),
      },
    }));
    const told = new Set<string>();
    try {
      await this.layers.prepare(driver, stack, owner, (diffId, event, current, total) => {
        for (const [index, { id, ...layer }] of layers.entries()) {
          if (layer.diffId !== diffId || (layer.present && layer.unpacked)) continue;
          const line = event === 'extracting' ? `${id} ${current}` : id;
          if (told.has(id) || told.has(line)) continue;
          told.add(line);
          if (event === 'extracting') progress({ id, status: 'Extracting', current, total });
          else transfers[index]?.then(() => progress({ id, status: 'Pull complete' })).catch(() => undefined);
        }
      });
      // Also of those that were unpacked already: their blobs were lost.
      await Promise.all(transfers);
    } catch (error) {
      failed.abort(registrationError(error));
      await Promise.allSettled(transfers);
      // The first failure is the cause; what was cut off because of it is not.
      throw signal.aborted ? cancelled(signal) : (failed.signal.reason as unknown);
    }
    if (signal.aborted) throw cancelled(signal);
  }
}

/** What is told of a layer that could not be unpacked. */
function registrationError(error: unknown): unknown {
  if (error instanceof EngineError && !isKind(error, 'system')) return error;
  return new EngineError('system', `failed to register layer: ${messageOf(error)}`, { cause: error });
}

function report(progress: ProgressSink, id: string, state: DownloadState): void {
  switch (state.phase) {
    case 'waiting':
      return progress({ id, status: 'Waiting' });
    case 'downloading':
      return progress({ id, status: 'Downloading', current: state.current, total: state.total });
    case 'retrying':
      return progress({ id, status: `Retrying in ${state.seconds} second${state.seconds === 1 ? '' : 's'}` });
    case 'verifying':
      return progress({ id, status: 'Verifying Checksum' });
    case 'complete':
      return progress({ id, status: 'Download complete' });
  }
}

function at<T>(list: readonly T[], index: number): T {
  const value = list[index];
  if (value === undefined) throw notFound('element', String(index));
  return value;
}
