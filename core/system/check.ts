import { open } from 'node:fs/promises';
import { inject, injectable } from 'tsyringe';
import { layersOf } from '../container/image-mounts.js';
import type { Containers } from '../container/containers.js';
import type { Content } from '../content/content.js';
import { messageOf } from '../contracts/errors.js';
import type { Host } from '../contracts/host.js';
import type { Digest, DiffId } from '../contracts/ids.js';
import type { Logger } from '../contracts/manifest.js';
import type { Images } from '../image/images.js';
import type { Layers } from '../layer/layers.js';
import { Examination, type Finding } from '../state/examination.js';
import { Tokens } from '../tokens.js';

export interface CheckOptions {
  /** Mends what can be mended. */
  readonly repair: boolean;
  /** Only layers and snapshots. */
  readonly storageOnly: boolean;
  /** Reads every blob and compares every layer with its blob, too: as long as it takes. */
  readonly deep: boolean;
}

/** Compares what is recorded with what is there, by the same functions that a start of the daemon uses. Safe beside all other calls. */
export interface Check {
  run(options: CheckOptions): Promise<readonly Finding[]>;
}

@injectable()
export class SystemCheck implements Check {
  constructor(
    @inject(Tokens.Log) private readonly log: Logger,
    @inject(Tokens.Host) private readonly host: Host,
    @inject(Tokens.Content) private readonly content: Content,
    @inject(Tokens.Layers) private readonly layers: Layers,
    @inject(Tokens.Images) private readonly images: Images,
    @inject(Tokens.Containers) private readonly containers: Containers,
  ) {}

  async run({ repair, storageOnly, deep }: CheckOptions): Promise<readonly Finding[]> {
    const examination = new Examination(repair, this.log);
    const known = async (): Promise<ReadonlySet<string>> =>
      new Set(
        (await this.containers.list({ all: true, limit: 0, size: false, filters: new Map() })).flatMap(({ container }) =>
          layersOf(container),
        ),
      );
    await this.layers.examine(examination, known, { deep });
    if (!storageOnly) await this.containers.examine(examination);
    await this.examineBlobs(examination, deep);
    return examination.findings;
  }

  /** What is left without a blob can neither be pushed nor unpacked for another storage driver. */
  private async examineBlobs(examination: Examination, deep: boolean): Promise<void> {
    const seen = new Set<Digest>();
    for (const image of await this.images.list({ all: true, filters: new Map() })) {
      for (const { blob, diffId } of this.images.layersOf(image)) {
        if (seen.has(blob)) continue;
        seen.add(blob);
        const wrong = (await this.content.has(blob)) ? deep && (await this.damage(blob, diffId)) : 'is gone';
        if (wrong === false || this.images.find(image.id) === undefined) continue;
        const problem = `a layer of image ${image.repoTags[0] ?? image.id} ${wrong}; pull or load it again`;
        await examination.found({ area: 'blob', subject: blob, problem, remedy: '' });
      }
    }
  }

  private async damage(blob: Digest, diffId: DiffId): Promise<string | false> {
    try {
      const file = await open(await this.content.path(blob), 'r');
      try {
        const { digest } = await this.host.files.hashUncompressed(file.fd);
        return digest !== diffId && `holds ${digest}, not ${diffId}`;
      } finally {
        await file.close();
      }
    } catch (error) {
      return `cannot be read: ${messageOf(error)}`;
    }
  }
}
