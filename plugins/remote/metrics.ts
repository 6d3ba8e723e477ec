import { isKind, messageOf } from '@gantry/core/contracts/errors.js';
import type { Logger } from '@gantry/core/contracts/manifest.js';
import type { Plugin } from '../host/plugin.js';

/** How often it is looked whether a collector was started anew, and those that could not be told are tried again. Milliseconds. */
const LOOK_MS = 1_000;
/** For a collector to answer; the last word is said when the daemon ends, which is not held up for it. */
const START_MS = 10_000;
const STOP_MS = 1_000;

/** Where collectors are found by name. */
export interface CollectorFinder {
  get(name: string): Plugin | undefined;
}

/** Plugins that carry the engine's metrics away: each is told to begin once for each of its lives, and to end when the engine does. */
export class MetricsCollectors {
  /** Each with the life in which it was told; `undefined` for one that was not yet. */
  private readonly told = new Map<string, { readonly plugin: Plugin; readonly life: string } | undefined>();
  private timer: NodeJS.Timeout | undefined;
  private looking: Promise<void> | undefined;
  private again = false;

  constructor(
    private readonly plugins: CollectorFinder,
    private readonly log: Logger,
  ) {}

  /** There is one of this name, from now on. Nobody waits for it. */
  add(name: string): void {
    if (!this.told.has(name)) this.told.set(name, undefined);
    this.timer ??= setInterval(() => this.look(), LOOK_MS).unref();
    this.look();
  }

  /** One that is about to be stopped; never fails. */
  async remove(name: string): Promise<void> {
    const begun = this.told.get(name);
    this.told.delete(name);
    if (this.told.size === 0) {
      clearInterval(this.timer);
      this.timer = undefined;
    }
    if (begun) await this.stop(begun.plugin);
  }

  /** The daemon ends. */
  async close(): Promise<void> {
    await Promise.all([...this.told.keys()].map((name) => this.remove(name)));
  }

  /** One look at a time; one that is asked for meanwhile comes after. */
  private look(): void {
    if (this.looking) {
      this.again = true;
      return;
    }
    this.looking = Promise.all([...this.told].map(([name, begun]) => this.meet(name, begun?.life))).then(() => {
      this.looking = undefined;
      if (!this.again) return;
      this.again = false;
      this.look();
    });
  }

  private async meet(name: string, before: string | undefined): Promise<void> {
    const plugin = this.find(name);
    const life = plugin?.currentLife();
    if (!plugin || life === undefined || life === before) return;
    try {
      await plugin.need('MetricsCollector');
      await plugin.call('MetricsCollector.StartMetrics', undefined, { deadline: START_MS, patience: 0 });
    } catch (error) {
      // One that is away comes back; what it refuses it is not asked for again in this life.
      if (isKind(error, 'unavailable') || isKind(error, 'cancelled')) return;
      this.log.warn('a metrics collector refused to begin', { plugin: name, error: messageOf(error) });
    }
    if (this.told.has(name)) this.told.set(name, { plugin, life });
  }

  /** By the plugin itself: a managed one is not found by its name any more when it is being disabled. */
  private async stop(plugin: Plugin): Promise<void> {
    try {
      await plugin.call('MetricsCollector.StopMetrics', undefined, { deadline: STOP_MS, patience: 0 });
    } catch (error) {
      if (!isKind(error, 'not-implemented'))
        this.log.debug('a metrics collector was not told of the end', { plugin: plugin.name, error: messageOf(error) });
    }
  }

  /** A managed one is disabled until it was told of, and then there is none to be called. */
  private find(name: string): Plugin | undefined {
    try {
      return this.plugins.get(name);
    } catch {
      return undefined;
    }
  }
}
