import { setTimeout as sleep } from 'node:timers/promises';
import type { ClusterChange } from '../contracts/cluster.js';
import { messageOf } from '../contracts/errors.js';
import type { Logger } from '../contracts/manifest.js';
import type { EtcdClient } from './etcd-client.js';
import { decode, type EtcdEntry, range, type RangeAnswer, type WatchAnswer } from './etcd-wire.js';

const FIRST_PAUSE_MS = 200;
const LONGEST_PAUSE_MS = 5000;

/** How long changes that the store has may be on their way. */
const GRACE_MS = 2000;

interface Observer {
  readonly prefix: string;
  tell(changes: readonly ClusterChange[]): void;
}

interface Entry {
  readonly value: string;
  /** Revision of its last change. */
  readonly changed: bigint;
  /** '' without one. */
  readonly lease: string;
}

/**
 * All keys of the store in memory: read once and then followed. Whatever breaks the following, the store's compaction of what was
 * missed included, is mended by reading all again and telling what is different. A stream that stays open and says nothing is found
 * out by comparing, see {@link heard}.
 */
export class Mirror {
  private readonly values = new Map<string, Entry>();
  private readonly observers = new Set<Observer>();
  private readonly known = Promise.withResolvers<void>();
  private following = new AbortController();
  private closed = false;
  private everKnown = false;
  /** Everything that the store changed up to this revision is in memory. */
  private seen = 0n;
  /** The revision that the store had at the sign of life before this one. */
  private told = 0n;
  private verifying = false;
  private running: Promise<void> | undefined;
  private wake = (): void => undefined;
  /** Why the store is not followed; `undefined` when it is. */
  failure: { readonly since: Date; readonly reason: string } | undefined = { since: new Date(), reason: 'it has not answered yet' };

  constructor(
    private readonly client: Pick<EtcdClient, 'readAll' | 'stream' | 'call'>,
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

  /**
   * The store's revision, of any answer. When what it had at the last sign of life did not come by now, other keys than these may have
   * changed, or the stream is dead: the store is asked which of the two it is.
   */
  heard(revision: bigint): void {
    if (this.connected && this.told > this.seen)
      this.verify().catch((error: unknown) => this.log.debug('the cluster store could not be compared', { error: messageOf(error) }));
    this.told = revision;
  }

  get connected(): boolean {
    return this.failure === undefined;
  }

  whenKnown(): Promise<void> {
    return this.known.promise;
  }

  entries(prefix: string): ReadonlyMap<string, string> {
    return new Map([...this.values].flatMap(([key, { value }]) => (key.startsWith(prefix) ? [[key, value] as const] : [])));
  }

  /** Keys that end with this lease. */
  leased(lease: string): string[] {
    return [...this.values].flatMap(([key, entry]) => (entry.lease === lease ? [key] : []));
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
        this.reset(new Map(entries.map((entry) => [this.bare(entry.key), entryOf(entry)])), BigInt(revision));
        if (!this.connected) this.log.info('the cluster store answers', { keys: this.values.size });
        this.failure = undefined;
        pause = FIRST_PAUSE_MS;
        const next = BigInt(revision) + 1n;
        const wanted = { create_request: { ...range(this.prefix), start_revision: String(next) } };
        await this.client.stream('/v3/watch', wanted, (line) => this.follow(line as WatchAnswer), this.following.signal);
      } catch (error) {
        if (this.closed) break;
        if (this.connected) this.log.warn('the cluster store is followed no more, and is read again', { error: messageOf(error) });
        else this.log.debug('the cluster store does not answer', { error: messageOf(error) });
        this.failure = { since: this.failure?.since ?? new Date(), reason: messageOf(error) };
      }
      const { promise, resolve } = Promise.withResolvers<void>();
      this.wake = resolve;
      const timer = setTimeout(resolve, pause * (0.75 + Math.random() / 2));
      await promise;
      clearTimeout(timer);
      pause = Math.min(pause * 2, LONGEST_PAUSE_MS);
    }
    this.failure ??= { since: new Date(), reason: 'the engine stops' };
  }

  private follow({ result, error }: WatchAnswer): void {
    if (!result) throw new Error(error?.message ?? 'no result');
    if (result.canceled)
      throw new Error(result.compact_revision ? 'the store has compacted what was missed' : `canceled: ${result.cancel_reason ?? ''}`);
    const changes = (result.events ?? []).map(({ type, kv }) => ({
      key: this.bare(kv.key),
      entry: type === 'DELETE' ? undefined : entryOf(kv),
    }));
    // One answer has all changes of a revision, and those of former ones were told before.
    const last = result.events?.at(-1)?.kv.mod_revision;
    this.apply(changes, BigInt(last ?? 0));
  }

  private reset(fresh: ReadonlyMap<string, Entry>, revision: bigint): void {
    const gone = [...this.values.keys()].filter((key) => !fresh.has(key)).map((key) => ({ key, entry: undefined }));
    const changed = [...fresh].filter(([key, { changed: at }]) => this.values.get(key)?.changed !== at);
    this.everKnown = true;
    this.seen = revision;
    this.apply([...gone, ...changed.map(([key, entry]) => ({ key, entry }))], revision);
    this.known.resolve();
  }

  private apply(changes: readonly { readonly key: string; readonly entry: Entry | undefined }[], revision: bigint): void {
    if (revision > this.seen) this.seen = revision;
    const told: ClusterChange[] = [];
    for (const { key, entry } of changes) {
      const before = this.values.get(key)?.value;
      if (entry === undefined) this.values.delete(key);
      else this.values.set(key, entry);
      if (before !== entry?.value) told.push({ key, value: entry?.value });
    }
    for (const observer of this.observers) {
      const mine = told.filter(({ key }) => key.startsWith(observer.prefix));
      if (mine.length > 0) this.inform(observer, mine);
    }
  }

  private async verify(): Promise<void> {
    if (this.verifying) return;
    this.verifying = true;
    try {
      const { following, seen } = this;
      if (await this.isWhole()) return;
      await sleep(GRACE_MS, undefined, { ref: false });
      // A stream that tells of anything is alive, and what it has not told yet is looked for at the next sign of life.
      if (following === this.following && this.connected && this.seen === seen) this.restart('changes of the store were not told');
    } finally {
      this.verifying = false;
    }
  }

  /**
   * Number of keys and newest change tell everything: of changes that were missed the last one is either newer than all that are
   * known, or it took a key away.
   */
  private async isWhole(): Promise<boolean> {
    const answer = await this.client.call<RangeAnswer>('/v3/kv/range', {
      ...range(this.prefix),
      limit: '1',
      keys_only: true,
      sort_target: 'MOD',
      sort_order: 'DESCEND',
    });
    let newest = 0n;
    for (const { changed } of this.values.values()) if (changed > newest) newest = changed;
    if (this.values.size !== Number(answer.count ?? 0) || newest !== BigInt(answer.kvs?.[0]?.mod_revision ?? 0)) return false;
    const revision = BigInt(answer.header?.revision ?? 0);
    if (revision > this.seen) this.seen = revision;
    return true;
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

const entryOf = ({ value, mod_revision, lease }: EtcdEntry): Entry => ({
  value: decode(value),
  changed: BigInt(mod_revision ?? 0),
  lease: lease ?? '',
});
