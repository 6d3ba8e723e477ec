import type { EngineEvent, Events } from '@gantry/core/system/system.js';

/** Remembers all and hands on live ones. */
export class FakeEvents implements Events {
  readonly past: EngineEvent[] = [];
  readonly subscriptions: Parameters<Events['subscribe']>[0][] = [];
  private readonly subscribers = new Set<(event: EngineEvent) => void>();

  get listeners(): number {
    return this.subscribers.size;
  }

  publish(event: Omit<EngineEvent, 'time'>): void {
    const timed = { ...event, time: BigInt(Date.now()) * 1_000_000n + 7n };
    this.past.push(timed);
    for (const deliver of this.subscribers) deliver(timed);
  }

  subscribe(options: Parameters<Events['subscribe']>[0]): AsyncIterable<EngineEvent> {
    this.subscriptions.push(options);
    const waiting = options.since === undefined ? [] : this.past.filter(({ time }) => time >= (options.since ?? 0n));
    let wake = (): void => undefined;
    const listener = (event: EngineEvent): void => {
      waiting.push(event);
      wake();
    };
    this.subscribers.add(listener);
    const ended = options.until !== undefined && options.until <= BigInt(Date.now()) * 1_000_000n;
    options.signal.addEventListener('abort', () => wake());
    const subscribers = this.subscribers;
    return (async function* () {
      for (;;) {
        const event = waiting.shift();
        if (event) yield event;
        else if (ended || options.signal.aborted) break;
        else await new Promise<void>((resolve) => (wake = resolve));
      }
      subscribers.delete(listener);
    })();
  }
}
