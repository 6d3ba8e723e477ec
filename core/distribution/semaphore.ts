/** Lets a number of holders in at a time; those that wait come in order. */
export class Semaphore {
  private readonly waiting: (() => void)[] = [];
  constructor(private free: number) {}

  /** Whether `acquire` would have to wait. */
  get full(): boolean {
    return this.free <= 0;
  }

  /** Gives back the function that leaves. Rejects with the signal's reason, and takes no place then. */
  async acquire(signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted();
    if (this.free > 0) this.free--;
    else {
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      const abort = (): void => {
        this.waiting.splice(this.waiting.indexOf(resolve), 1);
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
      const next = this.waiting.shift();
      if (next) next();
      else this.free++;
    };
  }
}
