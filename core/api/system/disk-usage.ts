import { invalid } from '../../contracts/errors.js';
import { containerSummary } from '../containers/container-summary.js';
import { imageSummary } from '../images/image-json.js';
import type { Services } from '../services.js';
import { adapt } from '../version.js';
import { volumeJson } from '../volumes/volume-json.js';

const TYPES = ['container', 'image', 'volume', 'build-cache'] as const;

/** The answer of GET /system/df in the form that versions below 1.52 have. `types` empty means all; what is not asked for is null. */
export async function diskUsage(services: Services, types: readonly string[], version: number): Promise<object> {
  for (const type of types) {
    if (!(TYPES as readonly string[]).includes(type)) throw invalid(`unknown object type: ${type}`);
  }
  const wanted = (type: (typeof TYPES)[number]): boolean => types.length === 0 || types.includes(type);
  const [images, containers, volumes] = await Promise.all([
    wanted('image') ? imageUsage(services, version) : undefined,
    wanted('container') ? containerUsage(services, version) : null,
    wanted('volume') ? volumeUsage(services) : null,
  ]);
  const answer = {
    LayersSize: images?.layersSize ?? 0,
    Images: images?.images ?? null,
    Containers: containers,
    Volumes: volumes,
    BuildCache: wanted('build-cache') ? [] : null,
  };
  return adapt('diskUsage', answer, version);
}

async function imageUsage({ images, containers }: Services, version: number): Promise<{ layersSize: number; images: object[] }> {
  const [usage, users] = await Promise.all([images.usage(), containers.list({ all: true, limit: 0, size: false, filters: new Map() })]);
  const counts = new Map<string, number>();
  for (const { container } of users) counts.set(container.imageId, (counts.get(container.imageId) ?? 0) + 1);
  return {
    layersSize: usage.layersSize,
    // Counted here whatever the version: `docker system df` tells active images by it.
    images: usage.images.map(({ image, sharedSize }) => ({
      ...adapt('image', imageSummary(image), version),
      SharedSize: sharedSize,
      Containers: counts.get(image.id) ?? 0,
    })),
  };
}

async function containerUsage({ containers, networks }: Services, version: number): Promise<object[]> {
  const views = await containers.list({ all: true, limit: 0, size: true, filters: new Map() });
  return views.map((view) => containerSummary(view, networks, version));
}

async function volumeUsage({ volumes }: Services): Promise<object[]> {
  const { volumes: all } = await volumes.list(new Map());
  return Promise.all(
    all.map(async (volume) => {
      // A driver that cannot tell must not take the whole answer with it.
      const usage = await volumes.usage(volume.name).catch(() => ({ size: -1, references: -1 }));
      return { ...volumeJson(volume), UsageData: { Size: usage.size, RefCount: usage.references } };
    }),
  );
}
