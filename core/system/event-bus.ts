import { injectable } from 'tsyringe';
import { unavailable } from '../contracts/errors.js';
import { eventMatcher } from './event-filters.js';
import type { EngineEvent, EventFilters, Events } from './system.js';

/** Events that a late subscriber can still get. */
const REMEMBERED = 256;
/** Events that wait for one slow subscriber before it loses its stream. */
const QUEUED = 4_096;

/** Events in the order they happened, to whoever listens. Publishing never waits for a listener. */
@injectable()
export class EventBus implements Events {
  private readonly past: EngineEvent[] = [];
  private readonly subscribers = new Set<(event: EngineEvent) => void>();
  private lastTime = 0n;
  /** How many there were since the daemon's start. */
  published = 0;

  publish(event: Omit<EngineEvent, 'time'>): void {
    const now = BigInt(Date.now()) * 1_000_000n;
    // Distinct and rising even within one millisecond or when the clock steps back: `since` must neither repeat nor skip.
    this.published++;
    this.lastTime = now > this.lastTime ? now : this.lastTime + 1n;
    const stamped: EngineEvent = { ...event, time: this.lastTime };
    this.past.push(stamped);
    if (this.past.length > REMEMBERED) this.past.shift();
    for (const deliver of this.subscribers) deliver(stamped);
  }

  /** How many listen now. */
  get listeners(): number {
    return this.subscribers.size;
  }

  subscribe(options: { since?: bigint; until?: bigint; filters: EventFilters; signal: AbortSignal }): AsyncIterable<EngineEvent> {
    const { since, until, signal } = options;
    const matches = eventMatcher(options.filters);
    const wanted = (event: EngineEvent): boolean => (until === undefined || event.time <= until) && matches(event);
    const queue: EngineEvent[] = since === undefined ? [] : this.past.filter((event) => event.time >= since && wanted(event));

    let ended = false;
    let lost = false;
    let wake = (): void => undefined;
    let timer: NodeJS.Timeout | undefined;
    const deliver = (event: EngineEvent): void => {
      if (!wanted(event)) return;
      if (queue.length >= QUEUED) {
        lost = true;
        end();
      } else {
        queue.push(event);
        wake();
      }
    };
    const end = (): void => {
      ended = true;
      clearTimeout(timer);
      signal.removeEventListener('abort', end);
      this.subscribers.delete(deliver);
      wake();
    };
    // The replay was copied and the subscriber is armed in the same turn: nothing can fall between.
    const arm = (): void => {
      if (signal.aborted) return end();
      if (until !== undefined) {
        const wait = Number((until - BigInt(Date.now()) * 1_000_000n) / 1_000_000n);
        if (wait <= 0) return end();
        timer = setLongTimeout(end, wait, (next) => (timer = next));
      }
      signal.addEventListener('abort', end, { once: true });
      this.subscribers.add(deliver);
    };
    arm();

    return {
      [Symbol.asyncIterator]: () => ({
        next: async (): Promise<IteratorResult<EngineEvent>> => {
          for (;;) {
            const event = signal.aborted ? undefined : queue.shift();
            if (event) return { done: false, value: event };
            if (lost) throw unavailable(`the reader of events was too slow: more than ${QUEUED} were waiting`);
            if (ended) return { done: true, value: undefined };
            const { promise, resolve } = Promise.withResolvers<void>();
            wake = resolve;
            await promise;
          }
        },
        return: async (): Promise<IteratorResult<EngineEvent>> => {
          queue.length = 0;
          end();
          return { done: true, value: undefined };
        },
      }),
    };
  }
}

const LONGEST_TIMER = 2 ** 31 - 1;

/** A timer longer than the 24 days that setTimeout can count. */
function setLongTimeout(action: () => void, ms: number, replaced: (timer: NodeJS.Timeout) => void): NodeJS.Timeout {
  if (ms <= LONGEST_TIMER) return setTimeout(action, ms);
  return setTimeout(() => replaced(setLongTimeout(action, ms - LONGEST_TIMER, replaced)), LONGEST_TIMER);
}
