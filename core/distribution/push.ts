import { EngineError } from '../contracts/errors.js';
import { hexOf, type Digest, type DiffId } from '../contracts/ids.js';
import type { Content } from '../content/content.js';
import { limits } from '../content/limits.js';
import type { Descriptor } from '../content/manifest.js';
import { throttled, type ProgressSink } from './progress.js';
import type { Registry } from './registry.js';
import type { RegistryClient } from './registry-client.js';
import { RegistryError } from './registry-error.js';
import { Semaphore } from './semaphore.js';
import { uploadBlob } from './upload.js';

/** All that one tag needs at the registry; every blob is in the content store and held by the caller. */
export interface PushRequest {
  readonly tag: string;
  readonly manifest: Descriptor;
  readonly config: Descriptor;
  /** Bottom first. */
  readonly layers: readonly (Descriptor & { readonly diffId: DiffId; readonly mountFrom: readonly string[] })[];
}

const short = (digest: Digest): string => hexOf(digest).slice(0, 12);

/** What a registry's refusal means for the one who asked to push. */
function pushError(error: unknown): unknown {
  if (!(error instanceof RegistryError)) return error;
  if (error.status === 401)
    return new EngineError('unauthorized', error.message || 'unauthorized: authentication required', { cause: error });
  if (error.status === 403 || error.code === 'DENIED')
    return new EngineError('forbidden', error.message || 'denied: requested access to the resource is denied', { cause: error });
  return error;
}

/** Sends images to registries, blobs first and the manifest last, so that nobody there sees half of one. */
export class Pusher {
  private readonly places: Semaphore;

  constructor(
    private readonly content: Content,
    private readonly registry: Registry,
    private readonly options: { concurrent: number; attempts: number; backoff?: number },
  ) {
    this.places = new Semaphore(() => options.concurrent);
  }

  /** The address that takes our pushes. */
  async reach(clients: readonly RegistryClient[], signal: AbortSignal): Promise<RegistryClient> {
    const { client } = await this.registry.firstWorking(clients, async (one) => {
      // Who answers is there, whatever it answers: it may take a push from whom it lets read nothing.
      await one.hasManifest('latest', signal).catch((error: unknown) => {
        if (!(error instanceof RegistryError)) throw error;
      });
    });
    return client;
  }

  async push(client: RegistryClient, request: PushRequest, progress: ProgressSink, signal: AbortSignal): Promise<void> {
    const topFirst = request.layers.toReversed();
    for (const layer of topFirst) progress({ id: short(layer.diffId), status: 'Preparing' });
    const failed = new AbortController();
    const either = AbortSignal.any([signal, failed.signal]);
    const done = new Map<Digest, Promise<void>>();
    const uploads = topFirst.map((layer) => {
      // The same blob twice in one image is sent once.
      const upload = done.get(layer.digest) ?? this.layer(client, layer, progress, either);
      done.set(layer.digest, upload);
      upload.catch((error: unknown) => failed.abort(error));
      return upload;
    });
    try {
      await Promise.all(uploads);
      await uploadBlob(client, this.content, request.config, { ...this.quiet(signal), mountFrom: [] });
      const bytes = await this.content.read(request.manifest.digest, limits.manifestBytes);
      await client.putManifest(request.tag, request.manifest.mediaType, bytes, signal);
    } catch (error) {
      failed.abort(error);
      await Promise.allSettled(uploads);
      throw pushError(signal.aborted ? error : failed.signal.reason);
    }
    const { digest, size } = request.manifest;
    progress({ status: `${request.tag}: digest: ${digest} size: ${size}` });
    progress({ aux: { tag: request.tag, digest, size } });
  }

  private async layer(
    client: RegistryClient,
    layer: PushRequest['layers'][number],
    progress: ProgressSink,
    signal: AbortSignal,
  ): Promise<void> {
    const id = short(layer.diffId);
    if (this.places.full) progress({ id, status: 'Waiting' });
    const leave = await this.places.acquire(signal);
    try {
      const result = await uploadBlob(client, this.content, layer, {
        ...this.quiet(signal),
        mountFrom: layer.mountFrom,
        onProgress: throttled((current) => progress({ id, status: 'Pushing', current, total: layer.size })),
        onRetry: (seconds) => progress({ id, status: `Retrying in ${seconds} second${seconds === 1 ? '' : 's'}` }),
      });
      const said = {
        exists: 'Layer already exists',
        mounted: `Mounted from ${result.how === 'mounted' ? result.from : ''}`,
        pushed: 'Pushed',
      };
      progress({ id, status: said[result.how] });
    } finally {
      leave();
    }
  }

  private quiet(signal: AbortSignal): Omit<Parameters<typeof uploadBlob>[3], 'mountFrom'> {
    const { attempts, backoff } = this.options;
    return { attempts, ...(backoff === undefined ? {} : { backoff }), signal, onProgress: () => undefined, onRetry: () => undefined };
  }
}
