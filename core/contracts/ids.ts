import { hash, randomBytes } from 'node:crypto';
import { invalid } from './errors.js';

declare const brand: unique symbol;
type Branded<T, B extends string> = T & { readonly [brand]: B };

/** `sha256:` and 64 lower-case hex digits. Made only by {@link parseDigest} and {@link sha256}. */
export type Digest = Branded<string, 'Digest'>;
/** Digest of one uncompressed layer. */
export type DiffId = Digest;
/** Names a stack of layers: the digest that follows from its diff IDs, bottom first (OCI image spec, "Layer ChainID"). */
export type ChainId = Digest;
/** Names one snapshot of one storage driver. Opaque to the driver; safe as a file name (64 hex digits, or those and `-init`). */
export type SnapshotId = Branded<string, 'SnapshotId'>;

const DIGEST = /^sha256:[0-9a-f]{64}$/;
const HEX64 = /^[0-9a-f]{64}$/;

export const isDigest = (text: string): text is Digest => DIGEST.test(text);

export function parseDigest(text: string): Digest {
  if (!DIGEST.test(text)) throw invalid(`invalid digest: ${JSON.stringify(text.slice(0, 100))}`);
  return text as Digest;
}

export const sha256 = (bytes: Uint8Array | string): Digest => `sha256:${hash('sha256', bytes)}` as Digest;

/** The 64 hex digits of a digest: its name as a file. */
export const hexOf = (digest: Digest): string => digest.slice('sha256:'.length);

/** Chain ID of one more layer on top of `parent`. */
export const chainId = (parent: ChainId | undefined, diffId: DiffId): ChainId =>
  parent === undefined ? diffId : sha256(`${parent} ${diffId}`);

/** Chain IDs of a whole stack, bottom first; the last one names the image's file system. */
export function chainIds(diffIds: readonly DiffId[]): ChainId[] {
  const chain: ChainId[] = [];
  for (const diffId of diffIds) chain.push(chainId(chain.at(-1), diffId));
  return chain;
}

/** 64 random hex digits: the id of a container, network, exec, endpoint or anonymous volume. Never all digits in its first 12, which some clients would read as a number. */
export function newId(): string {
  for (;;) {
    const id = randomBytes(32).toString('hex');
    if (!/^\d+$/.test(id.slice(0, 12))) return id;
  }
}

export const isId = (text: string): boolean => HEX64.test(text);

export function snapshotId(text: string): SnapshotId {
  if (!/^[0-9a-f]{64}(-init)?$/.test(text)) throw invalid(`invalid snapshot id: ${JSON.stringify(text.slice(0, 100))}`);
  return text as SnapshotId;
}
