/** One operation at a time per key; those that wait run in the order they came. */
export class KeyedLock {
  private readonly tails = new Map<string, Promise<void>>();

  async run<T>(key: string, work: () => Promise<T>): Promise<T> {
    const before = this.tails.get(key);
    const { promise: mine, resolve: done } = Promise.withResolvers<void>();
    this.tails.set(key, mine);
    if (before) await before;
    try {
      return await work();
    } finally {
      done();
      if (this.tails.get(key) === mine) this.tails.delete(key);
    }
  }

  /** Whether someone works under this key now. */
  busy(key: string): boolean {
    return this.tails.has(key);
  }
}
