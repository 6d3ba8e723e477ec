/** Lets a number of holders in at a time; those that wait come in order. */
export class Semaphore {
  private readonly waiting: (() => void)[] = [];
  private taken = 0;

  /** `places` may change: who is in stays in. */
  constructor(private readonly places: () => number) {}

  /** Whether `acquire` would have to wait. */
  get full(): boolean {
    return this.taken >= this.places();
  }

  /** Gives back the function that leaves. Rejects with the signal's reason, and takes no place then. */
  async acquire(signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted();
    if (!this.full) this.taken++;
    else {
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      const abort = (): void => {
        const place = this.waiting.indexOf(resolve);
        if (place < 0) return;
        this.waiting.splice(place, 1);
        reject(signal.reason as Error);
      };
      this.waiting.push(resolve);
      signal.addEventListener('abort', abort, { once: true });
      await promise.finally(() => signal.removeEventListener('abort', abort));
    }
    let left = false;
    return () => {
      if (left) return;
      left = true;
      this.taken--;
      while (this.waiting.length > 0 && !this.full) {
        this.taken++;
        this.waiting.shift()?.();
      }
    };
  }
}
