import type { Digest } from '../contracts/ids.js';

/** What a blob must be, and who holds it from the moment that it is visible. */
export interface ExpectedBlob {
  readonly digest?: Digest;
  readonly size?: number;
  /** The hold is recorded before the blob can be seen, so that no collection comes in between. */
  readonly owner?: string;
}

/** A blob being written. Becomes visible only by `commit`. */
export interface BlobWriter {
  write(chunk: Uint8Array): Promise<void>;
  /** Compares length and digest, syncs, renames. Existing already is success. On failure nothing is left. */
  commit(expected: ExpectedBlob): Promise<{ digest: Digest; size: number }>;
  /** Removes what was written; after `commit` it does nothing. */
  abort(): Promise<void>;
}

/** A place for a blob that somebody else writes. */
export interface ReservedBlob {
  readonly path: string;
  /** `found` is what the writer hashed and counted. On failure nothing is left. */
  adopt(found: { digest: Digest; size: number }, expected: ExpectedBlob): Promise<void>;
  /** Removes what was written; after `adopt` it does nothing. */
  abort(): Promise<void>;
}

/** Bytes under their digests, verified when written. */
export interface Content {
  has(digest: Digest): Promise<boolean>;
  size(digest: Digest): Promise<number | undefined>;
  /** Path of a blob for reading; `not-found` when absent. */
  path(digest: Digest): Promise<string>;
  /** A small blob (manifest, configuration) whole; fails past `limit`. */
  read(digest: Digest, limit: number): Promise<Buffer>;
  writer(): Promise<BlobWriter>;
  /** A path for a new blob in the store's own file system, for the addon to write; `adopt` makes it visible after checking the digest that the addon found. */
  reserve(): Promise<ReservedBlob>;
  /**
   * Keeps blobs from the collector: until `release(owner)`, or until `expires` (milliseconds since 1970) when given. Durable.
   * A blob need not be there yet: hold it first, then ask whether it is there, and no collection comes in between.
   */
  hold(owner: string, digests: readonly Digest[], expires?: number): void;
  release(owner: string): void;
  /** Removes blobs that nobody holds. */
  collect(): Promise<{ removed: Digest[]; bytes: number }>;
  /** Bytes of all blobs. */
  usage(): Promise<number>;
}
