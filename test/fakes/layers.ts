import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { chainIds, type ChainId } from '@gantry/core/contracts/ids.js';
import type { Content } from '@gantry/core/content/content.js';
import type { LayerPlace, Layers, LayerSource } from '@gantry/core/layer/layers.js';
import { inflated } from './host-files.js';

/** The layer store's part that images use: what is unpacked for which driver, and who holds it. Reads blobs and compares diff IDs; keeps no tree. */
export class FakeLayers implements Pick<Layers, 'defaultDriver' | 'prepare' | 'release' | 'sizeOf' | 'places'> {
  readonly defaultDriver = { name: 'fake', reason: 'a test' };
  readonly unpacked = new Map<string, { driver: string; chainId: ChainId; size: number; owners: Set<string> }>();
  /** How often a blob was really unpacked. */
  unpacks = 0;

  constructor(private readonly content: Content) {}

  get asLayers(): Layers {
    return this as unknown as Layers;
  }

  async prepare(
    driver: string,
    layers: readonly LayerSource[],
    owner: string,
    onLayer?: (diffId: LayerSource['diffId'], event: 'extracting' | 'done', current: number, total: number) => void,
  ): Promise<void> {
    const chain = chainIds(layers.map((layer) => layer.diffId));
    for (const [index, layer] of layers.entries()) {
      const chainId = chain[index] as ChainId;
      const key = `${driver} ${chainId}`;
      const there = this.unpacked.get(key);
      if (there) {
        there.owners.add(owner);
        continue;
      }
      await layer.arriving?.arrived();
      const hash = createHash('sha256');
      let size = 0;
      for await (const chunk of inflated(createReadStream(await this.content.path(layer.blob)) as AsyncIterable<Buffer>)) {
        hash.update(chunk);
        size += chunk.length;
      }
      const diffId = `sha256:${hash.digest('hex')}`;
      if (diffId !== layer.diffId) throw new Error(`layer ${layer.blob} unpacks to ${diffId}, not to ${layer.diffId}`);
      this.unpacks++;
      onLayer?.(layer.diffId, 'extracting', size, size);
      const place = this.unpacked.get(key) ?? { driver, chainId, size, owners: new Set<string>() };
      this.unpacked.set(key, place);
      place.owners.add(owner);
      onLayer?.(layer.diffId, 'done', size, size);
    }
  }

  async release(owner: string): Promise<void> {
    for (const [key, place] of this.unpacked) {
      place.owners.delete(owner);
      if (place.owners.size === 0) this.unpacked.delete(key);
    }
  }

  sizeOf(chainId: ChainId): number | undefined {
    return [...this.unpacked.values()].find((place) => place.chainId === chainId)?.size;
  }

  places(): LayerPlace[] {
    return [...this.unpacked.values()].map(({ driver, chainId, size, owners }) => ({
      driver,
      chainId,
      diffId: chainId,
      blob: chainId,
      snapshot: chainId.slice(7),
      size,
      references: owners.size,
      holders: [...owners],
    }));
  }
}
