import type { Readable } from 'node:stream';
import type { DiffId, SnapshotId } from './ids.js';
import type { Mount } from './mount.js';

export interface CreateSnapshot {
  /** The snapshot whose tree the new one starts with; empty tree when absent. */
  readonly parent?: SnapshotId;
  /** True for a container's layer; false for an image layer that `applyDiff` will fill. */
  readonly writable: boolean;
  /** Limit on what may be written, in bytes. Only with the capability `quota`; else the driver refuses with `invalid-parameter`. */
  readonly quota?: number;
  /** True when nobody needs its content once the machine has stopped: the driver may leave out what keeps it on disk. */
  readonly volatile?: boolean;
}

/** A layer archive to apply: an open descriptor positioned at its first byte, read to its end. A file, pipe or socket. The caller keeps and closes it. */
export interface LayerInput {
  readonly fd: number;
  /** Compression is found from the first bytes: gzip, zstd, bzip2, xz or none. */
}

export interface AppliedLayer {
  /** Digest of the uncompressed archive that was read; the caller compares it. */
  readonly diffId: DiffId;
  /** Bytes of file content that the layer added to the tree. */
  readonly size: number;
}

export type ChangeKind = 'modified' | 'added' | 'deleted';

/** One path that differs from the parent, absolute in the container's tree. */
export interface Change {
  readonly path: string;
  readonly kind: ChangeKind;
}

/**
 * A storage driver keeps trees of files, each a snapshot on top of at most one other, and says what
 * to mount to see one. It sees opaque ids only; the layer store knows which chain ID an id stands for.
 * All methods may be called at the same time for different ids; the caller serialises calls for one id.
 * A method that fails leaves no half-made snapshot: the same call can be made again at once.
 */
export interface StorageDriver {
  /** Makes `id` exist with the content of `parent`, or empty. Fails with `conflict` if it exists, `not-found` if the parent does not. */
  create(id: SnapshotId, options: CreateSnapshot): Promise<void>;
  exists(id: SnapshotId): Promise<boolean>;
  /** Every snapshot there is, for the reconciler: what no record names is an orphan. */
  list(): Promise<SnapshotId[]>;
  /**
   * What to mount to see the tree; the caller mounts. Pairs with `release`; calls nest. An image layer is seen read-only.
   * After a daemon's death and restart `acquire` is called again for what is still in use.
   */
  acquire(id: SnapshotId): Promise<Mount[]>;
  /** Ends one `acquire`. Releasing what is not acquired succeeds. */
  release(id: SnapshotId): Promise<void>;
  /**
   * Fills `id`, just created and never acquired, from a layer archive: whiteouts, ownership, xattrs, links and devices included.
   * Never writes outside the snapshot, whatever the archive says. A malformed archive is `invalid-parameter` and names the entry.
   */
  applyDiff(id: SnapshotId, parent: SnapshotId | undefined, layer: LayerInput): Promise<AppliedLayer>;
  /** The difference from `parent` as an uncompressed layer archive, in a stable order. The stream fails, rather than ends, when it cannot be complete. */
  diff(id: SnapshotId, parent: SnapshotId | undefined): Promise<Readable>;
  /** The paths in that difference, parents of a change included as `modified`, in path order. */
  changes(id: SnapshotId, parent: SnapshotId | undefined): Promise<Change[]>;
  /** Bytes that `id` holds beyond its parent. */
  usage(id: SnapshotId): Promise<number>;
  /** Removing what is absent succeeds: a crashed removal must be repeatable. Fails with `conflict` while acquired. */
  remove(id: SnapshotId): Promise<void>;
  /** Rows for `docker info`, in order. */
  status(): Promise<[string, string][]>;
  /** `GraphDriver.Data` of inspect: LowerDir, UpperDir, MergedDir, WorkDir and the like; `{}` when there is nothing to say. */
  metadata(id: SnapshotId): Promise<Record<string, string>>;
  /** Called once when the daemon stops. Snapshots in use stay in use. */
  close(): Promise<void>;
}
