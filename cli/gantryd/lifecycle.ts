import type { Logger } from '@gantry/core/contracts/manifest.js';
import { messageOf } from '@gantry/core/contracts/errors.js';

interface Part {
  readonly name: string;
  stop(): void | Promise<void>;
}

/** Parts in the order they were started; stopped in reverse, each whatever became of the others. */
export class Lifecycle {
  private readonly parts: Part[] = [];

  constructor(private readonly log: Logger) {}

  /** Starts a part and remembers how to stop it. When the start fails, nothing of it is remembered. */
  async start<T>(name: string, start: () => T | Promise<T>, stop?: (started: T) => void | Promise<void>): Promise<T> {
    const began = performance.now();
    const started = await start();
    this.log.debug('started', { part: name, ms: Math.round((performance.now() - began) * 10) / 10 });
    if (stop) this.parts.push({ name, stop: () => stop(started) });
    return started;
  }

  async stop(): Promise<void> {
    for (let part = this.parts.pop(); part; part = this.parts.pop()) {
      try {
        await part.stop();
      } catch (error) {
        this.log.error('stopping a part failed', { part: part.name, error: messageOf(error) });
      }
    }
  }
}
