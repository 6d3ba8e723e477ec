import type { Readable } from 'node:stream';
import type { ChainId, Digest, DiffId, SnapshotId } from '../contracts/ids.js';
import type { Mount } from '../contracts/mount.js';
import type { Change } from '../contracts/storage.js';
import type { Examination } from '../state/examination.js';

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

/** A layer as it is unpacked for one driver. */
export interface LayerPlace {
  readonly driver: string;
  readonly chainId: ChainId;
  readonly diffId: DiffId;
  readonly blob: Digest;
  readonly snapshot: string;
  /** Bytes of the files that it adds. */
  readonly size: number;
  /** For whom it is kept: how many holds and containers stand on it. */
  readonly references: number;
  /** Who they are: ids of images (digests) and of containers, and names of operations under way. */
  readonly holders: readonly string[];
}

/** A container's layer. */
export interface WritablePlace {
  readonly container: string;
  readonly driver: string;
  /** Of the image that it stands on; none for an image without layers. */
  readonly chainId: ChainId | undefined;
  /** Bytes that it may hold. */
  readonly quota: number | undefined;
}

export interface OrphanSnapshot {
  readonly driver: string;
  readonly snapshot: SnapshotId;
  /** Bytes; -1 when the driver cannot tell. */
  readonly size: number;
}

/** What a container's layer was found to be on both sides of a move. */
export interface MovedLayer {
  /** Of the archive of its files, which is the same with both drivers. */
  readonly digest: Digest;
  /** Bytes of that archive. */
  readonly size: number;
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
  /** Drops what `owner` holds with one driver; what it holds with others stays. */
  releaseFrom(owner: string, driver: string): Promise<void>;
  /** Bytes of one unpacked layer, from records. */
  sizeOf(chainId: ChainId): number | undefined;
  places(): LayerPlace[];
  writables(): WritablePlace[];
  /** Snapshots that drivers keep and nobody has a record of: what a crash left. A driver that cannot be asked has none. */
  orphans(): Promise<OrphanSnapshot[]>;
  /** Removes one of them, unless it is none any more. */
  removeOrphan(orphan: OrphanSnapshot): Promise<void>;

  /**
   * A container's writable layer. Idempotent for one container. `quota` in bytes; `volatile` when it need not outlive a stop of the
   * machine; for `image`, what had to be unpacked stays so when the container is gone, until it is released.
   */
  createWritable(
    containerId: string,
    driver: string,
    layers: readonly LayerSource[],
    options: { quota?: number; volatile?: boolean; image?: Digest },
  ): Promise<void>;
  /** What to mount at the container's root; pairs with `releaseWritable`. */
  acquireWritable(containerId: string): Promise<Mount[]>;
  releaseWritable(containerId: string): Promise<void>;
  removeWritable(containerId: string): Promise<void>;
  /**
   * Moves a container's layer to another driver. Nothing may use it, and the caller sees to that. `recorded` runs in the transaction in
   * which the layer changes hands. On failure the layer is where it was. `invalid-parameter` when the other driver cannot keep its limit.
   */
  moveWritable(containerId: string, driver: string, recorded: () => void): Promise<MovedLayer>;
  writableUsage(containerId: string): Promise<number>;
  writableChanges(containerId: string): Promise<Change[]>;
  writableDiff(containerId: string): Promise<Readable>;
  writableMetadata(containerId: string): Promise<Record<string, string>>;
  /** Rows for `docker info` of the default driver. */
  status(): Promise<[string, string][]>;
  /**
   * Compares records with what the drivers keep. `containers` gives the ids of all that have a record. `deep` also compares each layer with
   * its blob, to the last byte. Safe beside all other calls.
   */
  examine(examination: Examination, containers: () => Promise<ReadonlySet<string>>, options?: { readonly deep: boolean }): Promise<void>;
  /** At daemon start, called by the container service: `containers` is every one that has a record, whether it runs or not. The writable layers of all others, and snapshots without record, are what a crash left: they are removed. */
  settle(containers: ReadonlySet<string>): Promise<void>;
}
