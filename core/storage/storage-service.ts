import { join } from 'node:path';
import { inject, injectable } from 'tsyringe';
import type { Containers } from '../container/containers.js';
import type { Content } from '../content/content.js';
import { messageOf } from '../contracts/errors.js';
import type { Host } from '../contracts/host.js';
import { chainIds, isDigest } from '../contracts/ids.js';
import type { Logger } from '../contracts/manifest.js';
import type { DriverRegistry } from '../extension/driver-registry.js';
import type { Images } from '../image/images.js';
import type { LayerPlace, Layers, OrphanSnapshot } from '../layer/layers.js';
import type { Settings } from '../system/settings.js';
import { Tokens } from '../tokens.js';
import { Migration } from './migration.js';
import type { ContainerFiles, DriverDetails, ImageLayer, MigrationStep, Storage, StorageUse, UnpackedLayer } from './storage.js';

const sum = (sizes: readonly { readonly size: number }[]): number => sizes.reduce((all, { size }) => all + Math.max(size, 0), 0);
const keyOf = ({ driver, chainId }: { driver: string; chainId: string | undefined }): string => `${driver} ${chainId}`;

/** Layers as images and containers see them. */
@injectable()
export class StorageService implements Storage {
  private readonly migration: Migration;

  constructor(
    @inject(Tokens.Settings) private readonly settings: Settings,
    @inject(Tokens.Log) private readonly log: Logger,
    @inject(Tokens.Host) private readonly host: Host,
    @inject(Tokens.Drivers) private readonly drivers: DriverRegistry,
    @inject(Tokens.Content) private readonly content: Content,
    @inject(Tokens.Layers) private readonly layers: Layers,
    @inject(Tokens.Images) private readonly images: Images,
    @inject(Tokens.Containers) private readonly containers: Containers,
  ) {
    this.migration = new Migration(drivers, layers, images, containers);
  }

  async usage(): Promise<StorageUse> {
    const orphans = await this.layers.orphans();
    const names = await this.holderNames();
    const details: DriverDetails[] = [];
    for (const driver of this.drivers.names('storage').toSorted()) details.push(await this.details(driver, orphans, names));
    return {
      drivers: details.map(({ use }) => use),
      blobsSize: await this.content.usage(),
      logsSize: await this.host.files.treeSize(join(this.settings.dataRoot, 'containers')).catch(() => 0),
    };
  }

  async inspect(driver: string): Promise<DriverDetails> {
    await this.drivers.manifest('storage', driver);
    return this.details(driver, await this.layers.orphans(), await this.holderNames());
  }

  async imageLayers(name: string): Promise<ImageLayer[]> {
    const sources = this.images.layersOf(this.images.resolve(name));
    const chains = chainIds(sources.map(({ diffId }) => diffId));
    const places = this.layers.places();
    const names = await this.holderNames();
    return Promise.all(
      sources.map(async ({ diffId, blob }, index) => {
        const chainId = chains[index];
        if (chainId === undefined) throw new Error('a chain is shorter than its layers');
        const here = places.filter((place) => place.chainId === chainId).map((place) => unpacked(place, names));
        return { chainId, diffId, blob, blobSize: await this.content.size(blob), places: here };
      }),
    );
  }

  async prune({ all }: { all: boolean }): Promise<{ removed: string[]; spaceReclaimed: number }> {
    const before = this.layers.places();
    // A container stands on a chain through all layers below it, and an operation needs what it has just unpacked.
    const needed = new Set(before.filter(({ holders }) => !holders.every(isDigest)).map(keyOf));
    for (const place of before) {
      if ((place.driver === this.layers.defaultDriver.name && !all) || needed.has(keyOf(place))) continue;
      for (const holder of place.holders) await this.layers.releaseFrom(holder, place.driver);
    }
    const orphans = await this.layers.orphans();
    const removedOrphans: OrphanSnapshot[] = [];
    for (const orphan of orphans) {
      try {
        await this.layers.removeOrphan(orphan);
        removedOrphans.push(orphan);
      } catch (error) {
        this.log.warn('a snapshot without record was not removed', { ...orphan, error: messageOf(error) });
      }
    }
    const left = new Set(this.layers.places().map(keyOf));
    const removed = before.filter((place) => !left.has(keyOf(place)));
    return {
      removed: [
        ...removed.map(({ driver, chainId }) => `${driver} ${chainId}`),
        ...removedOrphans.map((one) => `${one.driver} ${one.snapshot}`),
      ],
      spaceReclaimed: sum(removed) + sum(removedOrphans),
    };
  }

  migrate(request: { from: string; to: string }, tell: (step: MigrationStep) => void, signal: AbortSignal): Promise<void> {
    return this.migration.run(request, tell, signal);
  }

  private async details(name: string, allOrphans: readonly OrphanSnapshot[], names: ReadonlyMap<string, string>): Promise<DriverDetails> {
    const { defaultDriver } = this.layers;
    const isDefault = defaultDriver.name === name;
    const places = this.layers.places().filter(({ driver }) => driver === name);
    const containerFiles = await this.containerFiles(name);
    const orphans = allOrphans.filter(({ driver }) => driver === name);
    const probe = await this.drivers.probe('storage', name);
    return {
      use: {
        name,
        isDefault,
        unavailable: probe.ok ? '' : probe.reason,
        layers: places.length,
        layersSize: sum(places),
        containers: containerFiles.length,
        containersSize: sum(containerFiles),
        orphans: orphans.length,
        orphansSize: sum(orphans),
      },
      chosenBecause: isDefault ? defaultDriver.reason : '',
      // A driver that keeps nothing is not opened for this.
      status: probe.ok && (isDefault || places.length > 0 || containerFiles.length > 0) ? await this.statusOf(name) : [],
      unpacked: places.map((place) => unpacked(place, names)),
      containerFiles,
      orphanSnapshots: orphans.map(({ snapshot, size }) => ({ snapshot, size })),
    };
  }

  private async statusOf(name: string): Promise<readonly (readonly [string, string])[]> {
    try {
      return await (await this.drivers.get('storage', name)).driver.status();
    } catch (error) {
      return [['Status', messageOf(error)]];
    }
  }

  private async containerFiles(driver: string): Promise<ContainerFiles[]> {
    const views = await this.containers.list({ all: true, limit: 0, size: false, filters: new Map() });
    const known = new Map(views.map(({ container }) => [container.id, container]));
    return Promise.all(
      this.layers
        .writables()
        .filter((place) => place.driver === driver)
        .map(async ({ container: id, quota }) => {
          const size = await this.layers.writableUsage(id).catch(() => -1);
          const container = known.get(id);
          return { id, name: container?.name ?? '', status: container?.state.status ?? 'creating', size, quota };
        }),
    );
  }

  /** Names of images and containers by id. */
  private async holderNames(): Promise<ReadonlyMap<string, string>> {
    const images = await this.images.list({ all: true, filters: new Map() });
    const views = await this.containers.list({ all: true, limit: 0, size: false, filters: new Map() });
    return new Map([
      ...images.map(({ id, repoTags, repoDigests }) => [id, repoTags[0] ?? repoDigests[0] ?? ''] as const),
      ...views.map(({ container }) => [container.id, container.name] as const),
    ]);
  }
}

function unpacked(place: LayerPlace, names: ReadonlyMap<string, string>): UnpackedLayer {
  const { driver, chainId, diffId, blob, snapshot, size, holders } = place;
  return {
    driver,
    chainId,
    diffId,
    blob,
    snapshot,
    size,
    holders: holders.map((id) => ({
      kind: isDigest(id) ? 'image' : names.has(id) ? 'container' : 'operation',
      id,
      name: names.get(id) ?? '',
    })),
  };
}
