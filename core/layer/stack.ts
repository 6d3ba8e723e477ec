import { chainIds, hexOf, sha256, snapshotId, type ChainId, type Digest, type DiffId, type SnapshotId } from '../contracts/ids.js';
import type { ArrivingBlob, LayerSource } from './layers.js';

/** One layer of a stack, with the names that follow from its place in it. */
export interface StackedLayer {
  readonly diff: DiffId;
  readonly blob: Digest;
  readonly chain: ChainId;
  readonly snapshot: SnapshotId;
  readonly parent: ChainId | undefined;
  readonly parentSnapshot: SnapshotId | undefined;
  /** When the blob need not be in the store yet. */
  readonly arriving: ArrivingBlob | undefined;
}

/** The snapshot of a chain in one driver. It follows from both, so that what a crash left is found again without a record. */
export const snapshotOf = (driver: string, chain: ChainId): SnapshotId => snapshotId(hexOf(sha256(`${driver} ${chain}`)));

export function stackOf(driver: string, layers: readonly LayerSource[]): StackedLayer[] {
  const chains = chainIds(layers.map((layer) => layer.diffId));
  const stack: StackedLayer[] = [];
  for (const [index, layer] of layers.entries()) {
    const below = stack.at(-1);
    const chain = chains[index];
    if (chain === undefined) throw new Error('a chain is shorter than its layers');
    stack.push({
      diff: layer.diffId,
      blob: layer.blob,
      chain,
      snapshot: snapshotOf(driver, chain),
      parent: below?.chain,
      parentSnapshot: below?.snapshot,
      arriving: layer.arriving,
    });
  }
  return stack;
}
