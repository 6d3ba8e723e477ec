import type { ClusterChange } from '../contracts/cluster.js';
import { messageOf } from '../contracts/errors.js';
import type { Logger } from '../contracts/manifest.js';
import type { EtcdClient } from './etcd-client.js';
import { decode, range, type WatchAnswer } from './etcd-wire.js';

const FIRST_PAUSE_MS = 200;
const LONGEST_PAUSE_MS = 5000;

interface Observer {
  readonly prefix: string;
  tell(changes: readonly ClusterChange[]): void;
}

/**
 * All keys of the store in memory: read once and then followed. Whatever breaks the following, the store's compaction of what was
 * missed included, is mended by reading all again and telling what is different.
 */
export class Mirror {
  private readonly values = new Map<string, string>();
  private readonly observers = new Set<Observer>();
  private readonly known = Promise.withResolvers<void>();
  private following = new AbortController();
  private closed = false;
  private everKnown = false;
  private running: Promise<void> | undefined;
  private wake = (): void => undefined;
  connected = false;

  constructor(
    private readonly client: EtcdClient,
    /** Left out of the keys as others see them. */
    private readonly prefix: string,
    private readonly log: Logger,
  ) {}

  open(): void {
    this.running = this.run();
  }

  async close(): Promise<void> {
    this.closed = true;
    this.restart('the engine stops');
    await this.running;
  }

  /** What is followed now cannot be trusted: reads all again, at another member of the store. */
  restart(why: string): void {
    this.following.abort(new Error(why));
    this.wake();
  }

  whenKnown(): Promise<void> {
    return this.known.promise;
  }

  entries(prefix: string): ReadonlyMap<string, string> {
    return new Map([...this.values].filter(([key]) => key.startsWith(prefix)));
  }

  observe(prefix: string, tell: (changes: readonly ClusterChange[]) => void): () => void {
    const observer = { prefix, tell };
    this.observers.add(observer);
    if (this.everKnown)
      this.inform(
        observer,
        [...this.entries(prefix)].map(([key, value]) => ({ key, value })),
      );
    return () => void this.observers.delete(observer);
  }

  private async run(): Promise<void> {
    let pause = FIRST_PAUSE_MS;
    while (!this.closed) {
      this.following = new AbortController();
      try {
        const { entries, revision } = await this.client.readAll(this.prefix);
        this.reset(new Map(entries.map(({ key, value }) => [this.bare(key), decode(value)])));
        if (!this.connected) this.log.info('the cluster store answers', { keys: this.values.size });
        this.connected = true;
        pause = FIRST_PAUSE_MS;
        const next = BigInt(revision) + 1n;
        const wanted = { create_request: { ...range(this.prefix), start_revision: String(next) } };
        await this.client.stream('/v3/watch', wanted, (line) => this.follow(line as WatchAnswer), this.following.signal);
      } catch (error) {
        if (this.closed) break;
        if (this.connected) this.log.warn('the cluster store is followed no more, and is read again', { error: messageOf(error) });
        else this.log.debug('the cluster store does not answer', { error: messageOf(error) });
        this.connected = false;
      }
      const { promise, resolve } = Promise.withResolvers<void>();
      this.wake = resolve;
      const timer = setTimeout(resolve, pause * (0.75 + Math.random() / 2));
      await promise;
      clearTimeout(timer);
      pause = Math.min(pause * 2, LONGEST_PAUSE_MS);
    }
    this.connected = false;
  }

  private follow({ result, error }: WatchAnswer): void {
    if (!result) throw new Error(error?.message ?? 'no result');
    if (result.canceled)
      throw new Error(result.compact_revision ? 'the store has compacted what was missed' : `canceled: ${result.cancel_reason ?? ''}`);
    const changes = (result.events ?? []).map(({ type, kv }) => ({
      key: this.bare(kv.key),
      value: type === 'DELETE' ? undefined : decode(kv.value),
    }));
    this.apply(changes);
  }

  private reset(fresh: ReadonlyMap<string, string>): void {
    const gone: ClusterChange[] = [...this.values.keys()].filter((key) => !fresh.has(key)).map((key) => ({ key, value: undefined }));
    const changed: ClusterChange[] = [...fresh]
      .filter(([key, value]) => this.values.get(key) !== value)
      .map(([key, value]) => ({ key, value }));
    this.everKnown = true;
    this.apply([...gone, ...changed]);
    this.known.resolve();
  }

  private apply(changes: readonly ClusterChange[]): void {
    for (const { key, value } of changes) {
      if (value === undefined) this.values.delete(key);
      else this.values.set(key, value);
    }
    for (const observer of this.observers) {
      const mine = changes.filter(({ key }) => key.startsWith(observer.prefix));
      if (mine.length > 0) this.inform(observer, mine);
    }
  }

  private inform(observer: Observer, changes: readonly ClusterChange[]): void {
    try {
      observer.tell(changes);
    } catch (error) {
      this.log.error('a change in the cluster store was not taken in', { prefix: observer.prefix, error: messageOf(error) });
    }
  }

  private bare(key: string): string {
    return decode(key).slice(this.prefix.length);
  }
}
