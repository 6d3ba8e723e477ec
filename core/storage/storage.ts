import type { ChainId, Digest, DiffId } from '../contracts/ids.js';

/** Who needs a layer. An operation is a pull or the like that is under way. */
export interface Holder {
  readonly kind: 'image' | 'container' | 'operation';
  readonly id: string;
  /** A name of the image or container now, or ''. */
  readonly name: string;
}

/** A layer as it is unpacked for one driver, for whom, and how large. */
export interface UnpackedLayer {
  readonly driver: string;
  readonly chainId: ChainId;
  readonly diffId: DiffId;
  readonly blob: Digest;
  readonly snapshot: string;
  readonly size: number;
  readonly holders: readonly Holder[];
}

/** One layer of an image, bottom first, wherever it is. */
export interface ImageLayer {
  readonly chainId: ChainId;
  readonly diffId: DiffId;
  readonly blob: Digest;
  /** Bytes of the compressed blob; `undefined` when it is not here. */
  readonly blobSize: number | undefined;
  readonly places: readonly UnpackedLayer[];
}

/** The files of a container. */
export interface ContainerFiles {
  readonly id: string;
  readonly name: string;
  readonly status: string;
  /** Bytes beyond its image; -1 when the driver cannot tell. */
  readonly size: number;
  /** Bytes that it may hold; `undefined` for no limit. */
  readonly quota: number | undefined;
}

/** What one storage driver keeps. Bytes; what a driver cannot tell counts as nothing. */
export interface DriverUse {
  readonly name: string;
  readonly isDefault: boolean;
  /** Why it cannot serve on this host; '' when it can. */
  readonly unavailable: string;
  readonly layers: number;
  readonly layersSize: number;
  readonly containers: number;
  readonly containersSize: number;
  /** Snapshots that nobody has a record of. */
  readonly orphans: number;
  readonly orphansSize: number;
}

export interface StorageUse {
  readonly drivers: readonly DriverUse[];
  /** Compressed layers, manifests and configurations. */
  readonly blobsSize: number;
  /** What containers keep beside their files: logs above all, rotated ones included. */
  readonly logsSize: number;
}

export interface DriverDetails {
  readonly use: DriverUse;
  /** Why it serves when nobody names a driver; '' when it does not. */
  readonly chosenBecause: string;
  /** The driver's own rows, as in `info`. */
  readonly status: readonly (readonly [string, string])[];
  readonly unpacked: readonly UnpackedLayer[];
  readonly containerFiles: readonly ContainerFiles[];
  readonly orphanSnapshots: readonly { readonly snapshot: string; readonly size: number }[];
}

/** What became of one image or container. */
export interface MigrationStep {
  readonly kind: 'image' | 'container';
  readonly id: string;
  readonly name: string;
  readonly outcome: 'moved' | 'skipped' | 'failed';
  /** Why it was not moved, else ''. */
  readonly reason: string;
  /** Of a container: the digest of its own files, found equal on both sides. */
  readonly digest: string;
  /** Bytes that were compared for it. */
  readonly size: number;
}

/** Where layers are, and the operations on them that concern images and containers together. */
export interface Storage {
  usage(): Promise<StorageUse>;
  /** `not-found` for a driver that is none. */
  inspect(driver: string): Promise<DriverDetails>;
  imageLayers(image: string): Promise<ImageLayer[]>;
  /**
   * Removes orphans, and layers that are unpacked for another driver than the default while no container stands on them; with `all` for
   * the default one, too. Blobs stay: what is needed again is unpacked again.
   */
  prune(options: { all: boolean }): Promise<{ removed: string[]; spaceReclaimed: number }>;
  /**
   * Moves every image and every stopped container from one driver to another, one at a time; `tell` hears of each. What fails stays where
   * it was and does not end the rest. Ends early, between two of them, when `signal` aborts. Calling it again goes on. One at a time:
   * `conflict` for a second.
   */
  migrate(request: { from: string; to: string }, tell: (step: MigrationStep) => void, signal: AbortSignal): Promise<void>;
}
