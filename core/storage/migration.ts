import type { Containers } from '../container/containers.js';
import { EngineError, conflict, invalid, isKind, messageOf, unavailable } from '../contracts/errors.js';
import type { DriverRegistry } from '../extension/driver-registry.js';
import type { Images } from '../image/images.js';
import type { Layers } from '../layer/layers.js';
import type { MigrationStep } from './storage.js';

/**
 * Moves all that one storage driver keeps to another. Each image and each container is a step of its own, whole or not at all, so that a
 * migration that was cut off is gone on with by starting it again: what is moved already is not there any more.
 */
export class Migration {
  private running: { readonly from: string; readonly to: string } | undefined;

  constructor(
    private readonly drivers: DriverRegistry,
    private readonly layers: Layers,
    private readonly images: Images,
    private readonly containers: Containers,
  ) {}

  async run({ from, to }: { from: string; to: string }, tell: (step: MigrationStep) => void, signal: AbortSignal): Promise<void> {
    if (from === '' || to === '') throw invalid('a migration needs the names of two storage drivers');
    if (from === to) throw invalid(`storage driver ${from} cannot be migrated to itself`);
    if (this.running) throw conflict(`a migration from ${this.running.from} to ${this.running.to} is under way`);
    this.running = { from, to };
    try {
      for (const name of [from, to]) await this.usable(name);
      await this.moveImages(from, to, tell, signal);
      await this.moveContainers(from, to, tell, signal);
    } finally {
      this.running = undefined;
    }
  }

  /** Refused before anything is moved. */
  private async usable(name: string): Promise<void> {
    await this.drivers.manifest('storage', name);
    const probe = await this.drivers.probe('storage', name);
    if (!probe.ok) throw unavailable(`storage driver ${name} cannot serve on this host: ${probe.reason}`);
    await this.drivers.get('storage', name);
  }

  private async moveImages(from: string, to: string, tell: (step: MigrationStep) => void, signal: AbortSignal): Promise<void> {
    for (const { id, repoTags, repoDigests, size } of await this.images.list({ all: true, filters: new Map() })) {
      stopAt(signal);
      const step = { kind: 'image', id, name: repoTags[0] ?? repoDigests[0] ?? '', digest: '', size } as const;
      try {
        if (await this.images.migrate(id, from, to)) tell({ ...step, outcome: 'moved', reason: '' });
      } catch (error) {
        tell({ ...step, outcome: 'failed', reason: messageOf(error) });
      }
    }
  }

  private async moveContainers(from: string, to: string, tell: (step: MigrationStep) => void, signal: AbortSignal): Promise<void> {
    const views = await this.containers.list({ all: true, limit: 0, size: false, filters: new Map() });
    const kept = new Set(
      this.layers
        .writables()
        .filter(({ driver }) => driver === from)
        .map(({ container }) => container),
    );
    for (const { container } of views) {
      const { id, name } = container;
      if (!kept.has(id)) continue;
      stopAt(signal);
      const step = { kind: 'container', id, name, digest: '', size: 0 } as const;
      try {
        const { digest, size } = await this.containers.migrate(id, to);
        tell({ ...step, outcome: 'moved', reason: '', digest, size });
      } catch (error) {
        // Removed meanwhile: nothing of it is left to move.
        if (isKind(error, 'not-found') && !this.layers.writables().some((place) => place.container === id)) continue;
        tell({ ...step, outcome: isKind(error, 'conflict') ? 'skipped' : 'failed', reason: messageOf(error) });
      }
    }
  }
}

function stopAt(signal: AbortSignal): void {
  if (signal.aborted) throw new EngineError('cancelled', 'the migration was stopped; what is moved stays moved');
}
