import { setTimeout as delay } from 'node:timers/promises';
import { RegistryError, RegistryUnreachable } from './registry-error.js';
import { cancelled } from './transport.js';

export interface RetryOptions {
  readonly attempts: number;
  /** Milliseconds before the second attempt; doubled for each further one. */
  readonly backoff: number;
  readonly signal: AbortSignal;
  /** Which failures may pass; absent, broken connections and answers that say to come later. */
  readonly retry?: (error: unknown) => boolean;
  /** Called before a wait. */
  readonly onWait?: (milliseconds: number) => void;
}

export const RETRY_BACKOFF = 1_000;
const LONGEST_BACKOFF = 30_000;

/** A broken connection, or an answer that says to come later. */
const mayRetry = (error: unknown): boolean => error instanceof RegistryUnreachable || (error instanceof RegistryError && error.transient);

/** The registry is there and asks us to come later. */
export const isBusy = (error: unknown): boolean => error instanceof RegistryError && (error.status === 429 || error.status === 503);

/** Tries again what failed for a reason that may pass. The attempts count failures without progress in between: `progressed` starts over. */
export async function retrying<T>(options: RetryOptions, work: (progressed: () => void) => Promise<T>): Promise<T> {
  let failures = 0;
  for (;;) {
    try {
      return await work(() => (failures = 0));
    } catch (error) {
      if (options.signal.aborted) throw cancelled(options.signal);
      failures++;
      if (!(options.retry ?? mayRetry)(error) || failures >= options.attempts) throw error;
      const asked = error instanceof RegistryError ? error.retryAfter : undefined;
      const wait = asked ?? Math.min(options.backoff * 2 ** (failures - 1), LONGEST_BACKOFF);
      options.onWait?.(wait);
      await delay(wait, undefined, { signal: options.signal }).catch(() => {
        throw cancelled(options.signal);
      });
    }
  }
}
