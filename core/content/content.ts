import type { Digest } from '../contracts/ids.js';

/** A blob being written. Becomes visible only by `commit`. */
export interface BlobWriter {
  write(chunk: Uint8Array): Promise<void>;
  /** Compares length and digest, syncs, renames. Existing already is success. */
  commit(expected: { digest?: Digest; size?: number }): Promise<{ digest: Digest; size: number }>;
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
  reserve(): Promise<{
    path: string;
    adopt(found: { digest: Digest; size: number }, expected: { digest?: Digest; size?: number }): Promise<void>;
    abort(): Promise<void>;
  }>;
  /** Keeps blobs from the collector: until `release(owner)`. Durable. */
  hold(owner: string, digests: readonly Digest[]): void;
  release(owner: string): void;
  /** Removes blobs that nobody holds. */
  collect(): Promise<{ removed: Digest[]; bytes: number }>;
  usage(): Promise<number>;
}
