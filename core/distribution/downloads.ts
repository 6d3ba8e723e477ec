import { EngineError, messageOf } from '../contracts/errors.js';
import type { Host } from '../contracts/host.js';
import type { Digest } from '../contracts/ids.js';
import type { Content } from '../content/content.js';
import { ingest, type IngestSink } from '../content/ingest.js';
import type { Descriptor } from '../content/manifest.js';
import type { RegistryClient } from './registry-client.js';
import { RegistryUnreachable } from './registry-error.js';
import { RETRY_BACKOFF, retrying } from './retry.js';
import { Semaphore } from './semaphore.js';
import { Tap } from './tap.js';
import { cancelled } from './transport.js';

/** Where a transfer stands; the last one is told to whoever joins late. */
export type DownloadState =
  | { readonly phase: 'waiting' }
  | { readonly phase: 'downloading'; readonly current: number; readonly total: number }
  | { readonly phase: 'retrying'; readonly seconds: number }
  | { readonly phase: 'verifying' }
  | { readonly phase: 'complete' };

/** Bytes of progress after which earlier failures no longer count against a transfer. */
const WORTHWHILE = 1024 * 1024;

/** Bytes came and are not those that were asked for. Once more from the first one may help: a resumed download can be torn. */
class VerificationError extends EngineError {}

type Watcher = (state: DownloadState) => void;

interface Transfer {
  readonly done: Promise<void>;
  readonly watchers: Set<Watcher>;
  readonly stop: AbortController;
  readonly tap: Tap;
  last: DownloadState | undefined;
}

/** What one transfer is connected to. */
interface Ends {
  readonly tell: Watcher;
  readonly tap: Tap;
  readonly signal: AbortSignal;
}

/**
 * Brings blobs into the content store, a limited number at a time. Those who want the same blob at the same time share
 * one transfer, which goes on as long as one of them still wants it.
 */
export class Downloads {
  private readonly transfers = new Map<Digest, Transfer>();
  private readonly places: Semaphore;

  constructor(
    private readonly host: Host,
    private readonly content: Content,
    private readonly options: { concurrent: number; attempts: number; backoff?: number },
  ) {
    this.places = new Semaphore(() => options.concurrent);
  }

  /** Resolves when the blob is in the store. `sources` are tried in order; the caller holds the digest. */
  async fetch(blob: Descriptor, sources: readonly RegistryClient[], watch: Watcher, signal: AbortSignal): Promise<void> {
    for (;;) {
      if (signal.aborted) throw cancelled(signal);
      const running = this.transfers.get(blob.digest);
      if (!running) return this.join(blob.digest, this.begin(blob, sources), watch, signal);
      try {
        return await this.join(blob.digest, running, watch, signal);
      } catch (error) {
        // Somebody else's transfer failed, perhaps for want of credentials that we have: then it is our turn.
        if (signal.aborted || this.transfers.get(blob.digest) === running) throw error;
      }
    }
  }

  /**
   * Reads along with the transfer that is under way: the reading end of a pipe, at the first byte, once the transfer has begun.
   * The caller closes it. Nothing is verified yet, and the end comes early when the connection fails for good; only `fetch`
   * tells. Nothing when there is no such transfer or somebody else reads along.
   */
  async readAlong(digest: Digest): Promise<number | undefined> {
    return this.transfers.get(digest)?.tap.take();
  }

  private async join(digest: Digest, transfer: Transfer, watch: Watcher, signal: AbortSignal): Promise<void> {
    const left = Promise.withResolvers<never>();
    const leave = (): void => left.reject(cancelled(signal));
    signal.addEventListener('abort', leave, { once: true });
    transfer.watchers.add(watch);
    if (transfer.last) watch(transfer.last);
    try {
      await Promise.race([transfer.done, left.promise]);
    } finally {
      signal.removeEventListener('abort', leave);
      transfer.watchers.delete(watch);
      if (transfer.watchers.size === 0) {
        transfer.stop.abort();
        // Nobody joins what is ending, and the last one leaves when its temporary file is gone.
        if (this.transfers.get(digest) === transfer) this.transfers.delete(digest);
        await transfer.done.catch(() => undefined);
      }
    }
  }

  private begin(blob: Descriptor, sources: readonly RegistryClient[]): Transfer {
    const { promise: done, resolve, reject } = Promise.withResolvers<void>();
    done.catch(() => undefined);
    const transfer: Transfer = { done, watchers: new Set(), stop: new AbortController(), tap: new Tap(this.host), last: undefined };
    this.transfers.set(blob.digest, transfer);
    const tell: Watcher = (state) => {
      transfer.last = state;
      for (const watcher of transfer.watchers) watcher(state);
    };
    this.transfer(blob, sources, { tell, tap: transfer.tap, signal: transfer.stop.signal })
      .finally(() => {
        transfer.tap.end();
        if (this.transfers.get(blob.digest) === transfer) this.transfers.delete(blob.digest);
      })
      .then(resolve, reject);
    return transfer;
  }

  private async transfer(blob: Descriptor, sources: readonly RegistryClient[], ends: Ends): Promise<void> {
    const { tell, signal } = ends;
    if (this.places.full) tell({ phase: 'waiting' });
    const leave = await this.places.acquire(signal);
    try {
      // A file of another length was damaged behind our back: what comes now takes its place.
      if ((await this.content.size(blob.digest)) === blob.size) return tell({ phase: 'complete' });
      await this.fromFirst(blob, sources, ends);
      tell({ phase: 'complete' });
    } finally {
      leave();
    }
  }

  private async fromFirst(blob: Descriptor, sources: readonly RegistryClient[], ends: Ends): Promise<void> {
    for (const [index, source] of sources.entries()) {
      try {
        return await this.verified(blob, source, ends);
      } catch (error) {
        if (index === sources.length - 1 || ends.signal.aborted) throw error;
      }
    }
  }

  /** Once more from the first byte when what came is not what was asked for. */
  private async verified(blob: Descriptor, source: RegistryClient, ends: Ends): Promise<void> {
    for (let again = false; ; again = true) {
      try {
        return await this.stored(blob, source, ends);
      } catch (error) {
        if (!(error instanceof VerificationError) || again) throw error;
      }
    }
  }

  private async stored(blob: Descriptor, source: RegistryClient, { tell, tap, signal }: Ends): Promise<void> {
    const tee = tap.open();
    try {
      await ingest(this.host, this.content, {
        expected: { digest: blob.digest, size: blob.size },
        limit: blob.size,
        ...(tee === undefined ? {} : { tee }),
        produce: (sink) => this.receive(blob, source, sink, tell, signal),
        check: (found) => {
          tell({ phase: 'verifying' });
          if (found.digest !== blob.digest)
            throw new VerificationError(
              'system',
              `filesystem layer verification failed for digest ${blob.digest}: the bytes have ${found.digest}`,
            );
        },
      });
    } finally {
      tap.close();
    }
  }

  /** Pours the blob into `sink`; a broken connection is resumed where it broke. */
  private async receive(blob: Descriptor, source: RegistryClient, sink: IngestSink, tell: Watcher, signal: AbortSignal): Promise<void> {
    const { host } = new URL(source.endpoint.origin);
    let received = 0;
    let told = Number.NEGATIVE_INFINITY;
    const report = (): void => {
      const now = performance.now();
      if (now - told < 100 && received < blob.size) return;
      told = now;
      tell({ phase: 'downloading', current: received, total: blob.size });
    };
    const onWait = (milliseconds: number): void => tell({ phase: 'retrying', seconds: Math.ceil(milliseconds / 1000) });
    const { attempts, backoff = RETRY_BACKOFF } = this.options;
    let marked = 0;
    await retrying({ attempts, backoff, signal, onWait }, async (progressed) => {
      const { from, body } = await source.blob(blob.digest, received, signal);
      let skip = received - from;
      let ours: unknown;
      try {
        for await (const chunk of body as AsyncIterable<Buffer>) {
          const fresh = skip > 0 ? chunk.subarray(skip) : chunk;
          skip = Math.max(0, skip - chunk.length);
          if (fresh.length === 0) continue;
          if (received + fresh.length > blob.size)
            throw new VerificationError('system', `blob ${blob.digest} is longer than the ${blob.size} bytes that its manifest says`);
          await sink.write(fresh).catch((error: unknown) => {
            ours = error;
            throw error;
          });
          received += fresh.length;
          if (received - marked >= WORTHWHILE) {
            marked = received;
            progressed();
          }
          report();
        }
      } catch (error) {
        body.destroy();
        // What failed on our side, a full disk above all, is not mended by asking again.
        if (error === ours || error instanceof EngineError) throw error;
        throw new RegistryUnreachable(host, messageOf(error), error);
      }
      if (received < blob.size) throw new RegistryUnreachable(host, `blob ${blob.digest} ended after ${received} of ${blob.size} bytes`);
    });
  }
}
