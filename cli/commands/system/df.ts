import type { StorageAnswer } from '@gantry/core/api/gantry/schema.js';
import { BaseCommand } from '../../base-command.js';
import { ApiError } from '../../client/client.js';
import type { ContainerSummary, ImageSummary } from '../../client/types.js';
import { flag } from '../../flags.js';
import { containerRow } from '../../render/containers.js';
import { imageRows } from '../../render/images.js';
import { type ListShape, type Row, renderList } from '../../render/list.js';
import { ago, humanSize, shortId } from '../../render/units.js';

interface DiskUsage {
  LayersSize: number;
  Images: ImageSummary[] | null;
  Containers: ContainerSummary[] | null;
  Volumes: { Name: string; UsageData?: { Size: number; RefCount: number } | null }[] | null;
  BuildCache:
    | {
        ID: string;
        Type: string;
        InUse: boolean;
        Shared: boolean;
        Size: number;
        CreatedAt: string;
        LastUsedAt?: string | null;
        UsageCount: number;
      }[]
    | null;
}

const summary: ListShape = {
  headings: { Type: 'TYPE', TotalCount: 'TOTAL', Active: 'ACTIVE', Size: 'SIZE', Reclaimable: 'RECLAIMABLE' },
  table: '{{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}',
  quiet: '{{.Type}}',
};

export default class Df extends BaseCommand {
  static override flags = {
    format: flag.string({ description: "'table', 'table TEMPLATE', 'json', or a Go template for each line" }),
    verbose: flag.boolean({ char: 'v', description: 'Show each object' }),
  };

  async run(): Promise<void> {
    const { flags } = this.read(Df);
    const usage = await this.client.get<DiskUsage>('/system/df');
    if (flags.verbose && flags.format === '') {
      const storage = await this.client.get<StorageAnswer>('/gantry/v1/storage').catch((error: unknown) => {
        // Another engine than ours.
        if (error instanceof ApiError && error.status === 404) return undefined;
        throw error;
      });
      process.stdout.write(details(usage) + (storage ? storageDetails(storage) : ''));
    } else process.stdout.write(renderList(totals(usage), summary, flags.format));
  }
}

const share = (part: number, whole: number): string =>
  whole > 0 ? `${humanSize(part)} (${Math.trunc((part * 100) / whole)}%)` : humanSize(part);
const row = (Type: string, total: number, active: number, size: number, Reclaimable: string): Row => ({
  Type,
  TotalCount: String(total),
  Active: String(active),
  Size: humanSize(size),
  Reclaimable,
});
const busy = new Set(['running', 'paused', 'restarting']);
const sum = <T>(items: readonly T[], amount: (item: T) => number): number =>
  items.reduce((total, item) => total + Math.max(0, amount(item)), 0);

const totals = (usage: DiskUsage): Row[] => {
  const images = usage.Images ?? [];
  const containers = usage.Containers ?? [];
  const volumes = usage.Volumes ?? [];
  const cache = usage.BuildCache ?? [];
  const usedImages = images.filter((image) => image.Containers > 0);
  const inUse = sum(usedImages, (image) => (image.Size === -1 || image.SharedSize === -1 ? 0 : image.Size - image.SharedSize));
  const layers = usage.LayersSize ?? 0;
  const written = sum(containers, (each) => each.SizeRw ?? 0);
  const idle = containers.filter((each) => !busy.has(each.State));
  const volumeSize = sum(volumes, (each) => each.UsageData?.Size ?? 0);
  const unused = volumes.filter((each) => (each.UsageData?.RefCount ?? 0) === 0);
  const own = cache.filter((each) => !each.Shared);
  return [
    row('Images', images.length, usedImages.length, layers, share(layers - inUse, layers)),
    row(
      'Containers',
      containers.length,
      containers.length - idle.length,
      written,
      share(
        sum(idle, (each) => each.SizeRw ?? 0),
        written,
      ),
    ),
    row(
      'Local Volumes',
      volumes.length,
      volumes.length - unused.length,
      volumeSize,
      share(
        sum(unused, (each) => each.UsageData?.Size ?? 0),
        volumeSize,
      ),
    ),
    row(
      'Build Cache',
      cache.length,
      cache.filter((each) => each.InUse).length,
      sum(own, (each) => each.Size),
      humanSize(
        sum(
          own.filter((each) => !each.InUse),
          (each) => each.Size,
        ),
      ),
    ),
  ];
};

/** What Docker's answer has no place for. */
const storageDetails = ({ Drivers, BlobsSize, LogsSize }: StorageAnswer): string => {
  const shape: ListShape = {
    headings: { Name: 'STORAGE DRIVER', Layers: 'LAYERS', Containers: 'CONTAINERS', Orphans: 'LEFT BY CRASHES' },
    table: '{{.Name}}\t{{.Layers}}\t{{.Containers}}\t{{.Orphans}}',
    quiet: '{{.Name}}',
  };
  const rows = Drivers.filter((each) => each.Layers + each.Containers + each.Orphans > 0).map((each) => ({
    Name: each.Name,
    Layers: humanSize(each.LayersSize),
    Containers: humanSize(each.ContainersSize),
    Orphans: humanSize(each.OrphansSize),
  }));
  return `\nStorage usage:\n\n${renderList(rows, shape, '')}\nCompressed layers: ${humanSize(BlobsSize)}\nContainer logs: ${humanSize(LogsSize)}\n`;
};

const details = (usage: DiskUsage): string => {
  const imageLines = (usage.Images ?? []).flatMap((image) =>
    imageRows(image, false, false).map((line) => ({
      ...line,
      SharedSize: image.SharedSize === -1 ? '0B' : humanSize(image.SharedSize),
      UniqueSize: image.SharedSize === -1 ? '0B' : humanSize(image.Size - image.SharedSize),
      Containers: image.Containers === -1 ? '0' : String(image.Containers),
    })),
  );
  const images: ListShape = {
    headings: {
      Repository: 'REPOSITORY',
      Tag: 'TAG',
      ID: 'IMAGE ID',
      CreatedSince: 'CREATED',
      Size: 'SIZE',
      SharedSize: 'SHARED SIZE',
      UniqueSize: 'UNIQUE SIZE',
      Containers: 'CONTAINERS',
    },
    table: '{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}\t{{.SharedSize}}\t{{.UniqueSize}}\t{{.Containers}}',
    quiet: '{{.ID}}',
  };
  const containers: ListShape = {
    headings: {
      ID: 'CONTAINER ID',
      Image: 'IMAGE',
      Command: 'COMMAND',
      LocalVolumes: 'LOCAL VOLUMES',
      Size: 'SIZE',
      RunningFor: 'CREATED',
      Status: 'STATUS',
      Names: 'NAMES',
    },
    table: '{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.LocalVolumes}}\t{{.Size}}\t{{.RunningFor}}\t{{.Status}}\t{{.Names}}',
    quiet: '{{.ID}}',
  };
  const containerLines = (usage.Containers ?? []).map((each) => ({ ...containerRow(each, false), Size: humanSize(each.SizeRw ?? 0, 3) }));
  const volumes: ListShape = {
    headings: { Name: 'VOLUME NAME', Links: 'LINKS', Size: 'SIZE' },
    table: '{{.Name}}\t{{.Links}}\t{{.Size}}',
    quiet: '{{.Name}}',
  };
  const volumeLines = (usage.Volumes ?? []).map((each) => ({
    Name: each.Name,
    Links: String(each.UsageData?.RefCount ?? 'N/A'),
    Size: each.UsageData && each.UsageData.Size >= 0 ? humanSize(each.UsageData.Size) : 'N/A',
  }));
  const cacheItems = usage.BuildCache ?? [];
  const cache: ListShape = {
    headings: {
      ID: 'CACHE ID',
      CacheType: 'CACHE TYPE',
      Size: 'SIZE',
      CreatedSince: 'CREATED',
      LastUsedSince: 'LAST USED',
      UsageCount: 'USAGE',
      Shared: 'SHARED',
    },
    table: '{{.ID}}\t{{.CacheType}}\t{{.Size}}\t{{.CreatedSince}}\t{{.LastUsedSince}}\t{{.UsageCount}}\t{{.Shared}}',
    quiet: '{{.ID}}',
  };
  const since = (text: string | null | undefined): string => (text ? ago(Date.parse(text) / 1000) : '');
  const cacheLines = cacheItems.map((each) => ({
    ID: shortId(each.ID) + (each.InUse ? '*' : ''),
    CacheType: each.Type,
    Size: humanSize(each.Size, 3),
    CreatedSince: since(each.CreatedAt),
    LastUsedSince: since(each.LastUsedAt),
    UsageCount: String(each.UsageCount),
    Shared: String(each.Shared),
  }));
  return [
    `Images space usage:\n\n${renderList(imageLines, images, '')}`,
    `Containers space usage:\n\n${renderList(containerLines, containers, '')}`,
    `Local Volumes space usage:\n\n${renderList(volumeLines, volumes, '')}`,
    `Build cache usage: ${humanSize(
      sum(
        cacheItems.filter((each) => !each.Shared),
        (each) => each.Size,
      ),
    )}\n\n${renderList(cacheLines, cache, '')}`,
  ].join('\n');
};
