import type { Readable } from 'node:stream';
import type { ChainId, Digest, DiffId } from '../contracts/ids.js';
import type { Mount } from '../contracts/mount.js';
import type { Change } from '../contracts/storage.js';

/** A blob that is on its way into the content store, or there already. */
export interface ArrivingBlob {
  /** Bytes that it will have. */
  readonly size: number;
  /** Resolves when the blob is in the store, verified. Rejects when whoever brings it gave up. May be called again. */
  arrived(): Promise<void>;
  /**
   * The bytes while they come: the reading end of a pipe, at the first byte, which the caller closes. They are not verified, and end
   * early when the transfer fails. Waits for the transfer to begin. Nothing when they cannot be had: the caller waits for `arrived`.
   */
  readAlong(): Promise<number | undefined>;
  /** The blob is of no use any more, because another layer of the stack failed for `reason`. */
  abandon(reason: unknown): void;
}

/** One layer of an image: where its bytes are and what they must be. */
export interface LayerSource {
  readonly diffId: DiffId;
  /** Of the blob in the content store. */
  readonly blob: Digest;
  /** When it need not be in the store yet. */
  readonly arriving?: ArrivingBlob;
}

export interface LayerPlace {
  readonly driver: string;
  readonly chainId: ChainId;
  readonly snapshot: string;
  readonly size: number;
  readonly references: number;
}

/**
 * Layers as trees, for each storage driver. An image's layers are unpacked for a driver when that driver first needs them,
 * from the content store. A container's writable layer is one more snapshot on top.
 */
export interface Layers {
  /** The driver that serves when nobody names one, and why it was chosen. */
  readonly defaultDriver: { name: string; reason: string };
  /**
   * Makes sure that the stack is unpacked for `driver` and holds it for `owner`: an image's id (a digest), or one operation's own name,
   * whose holds end with the daemon. `unavailable`
   * names the missing kernel feature when the driver cannot serve. A pull calls it while the blobs arrive, and a layer may be unpacked
   * from bytes that nobody has verified; it counts only when its blob is in the store and its diff ID is right. Several owners may ask
   * for the same stack at once: what is unpacked already is only held once more.
   */
  prepare(
    driver: string,
    layers: readonly LayerSource[],
    owner: string,
    onLayer?: (diffId: DiffId, event: 'extracting' | 'done', current: number, total: number) => void,
  ): Promise<void>;
  /** Drops the holds of `owner`; snapshots that nobody holds are removed. */
  release(owner: string): Promise<void>;
  /** Bytes of one unpacked layer, from records. */
  sizeOf(chainId: ChainId): number | undefined;
  places(): LayerPlace[];

  /** A container's writable layer. Idempotent for one container. `quota` in bytes. */
  createWritable(containerId: string, driver: string, layers: readonly LayerSource[], options: { quota?: number }): Promise<void>;
  /** What to mount at the container's root; pairs with `releaseWritable`. */
  acquireWritable(containerId: string): Promise<Mount[]>;
  releaseWritable(containerId: string): Promise<void>;
  removeWritable(containerId: string): Promise<void>;
  writableUsage(containerId: string): Promise<number>;
  writableChanges(containerId: string): Promise<Change[]>;
  writableDiff(containerId: string): Promise<Readable>;
  writableMetadata(containerId: string): Promise<Record<string, string>>;
  /** Rows for `docker info` of the default driver. */
  status(): Promise<[string, string][]>;
  /** At daemon start, called by the container service: `containers` is every one that has a record, whether it runs or not. The writable layers of all others, and snapshots without record, are what a crash left: they are removed. */
  settle(containers: ReadonlySet<string>): Promise<void>;
}
