import { setTimeout as sleep } from 'node:timers/promises';
import type { Announcement, ClusterCondition } from '../contracts/cluster.js';
import { conflict, EngineError, isKind, messageOf, unavailable } from '../contracts/errors.js';
import type { Logger } from '../contracts/manifest.js';
import { KeyedLock } from '../state/keyed-lock.js';
import { compareOf } from './commit.js';
import { type EtcdClient, EtcdError } from './etcd-client.js';
import { absent, decode, type LeaseAnswer, leasedBy, put, read, remove, type TxnAnswer, unchanged } from './etcd-wire.js';
import type { Mirror } from './mirror.js';

const RETRY_MS = 1000;
const FIRST_LEASE_MS = 4000;

interface Wanted {
  readonly text: string;
  /** The lease under which the store has it; '' when that is to be done yet. */
  lease: string;
  /** Another engine was found to have it. */
  refused?: boolean;
}

/** Where the leases of this life, and of former ones that were not ended yet, are written down for the next one. */
export interface LeaseFile {
  read(): readonly string[];
  write(leases: readonly string[]): void;
}

/**
 * What this engine has announced, held by a lease that it renews. A lease that ran out, since the engine slept or was cut off, is
 * replaced by a new one and everything is announced again.
 */
export class Session {
  private readonly wanted = new Map<string, Wanted>();
  /** Keys to take away when the store can be reached. */
  private readonly unwanted = new Set<string>();
  /** On their way to the store. */
  private readonly announcing = new Set<string>();
  private lease = '';
  private readonly granted = Promise.withResolvers<void>();
  private former: readonly string[] = [];
  private mayEndFormer = false;
  /** A key is put and removed in the order in which that was wished. */
  private readonly locks = new KeyedLock();
  private closed = false;
  private running: Promise<void> | undefined;
  private wake = (): void => undefined;

  constructor(
    private readonly client: EtcdClient,
    private readonly prefix: string,
    private readonly member: string,
    private readonly times: { readonly heartbeatMs: number; readonly ttlSeconds: number },
    private readonly file: LeaseFile,
    private readonly log: Logger,
    private readonly mirror: Pick<Mirror, 'restart' | 'heard' | 'leased'>,
  ) {}

  open(): void {
    this.former = this.file.read();
    this.running = this.run();
  }

  /**
   * `stays`: containers go on without this engine, so what was announced stays for that many seconds; else it ends now. The store may be
   * away; then the lease runs out by itself.
   */
  async close(staySeconds: number): Promise<void> {
    this.closed = true;
    this.wake();
    await this.running;
    if (this.lease === '' && staySeconds === 0) return;
    try {
      if (staySeconds === 0) await this.client.call('/v3/lease/revoke', { ID: this.lease });
      else await this.extend(staySeconds);
    } catch (error) {
      this.log.warn('leaving the cluster store failed; what was announced ends with its lease', { error: messageOf(error) });
    }
  }

  async announce(key: string, value: Announcement, conditions: readonly ClusterCondition[]): Promise<void> {
    // A daemon that has just started gets its first one any moment.
    if (this.lease === '') await Promise.race([this.granted.promise, sleep(FIRST_LEASE_MS, undefined, { ref: false })]);
    if (this.lease === '') throw unavailable('the cluster store does not answer: this engine has no lease there');
    const entry = { text: this.textOf(value), lease: '' };
    this.unwanted.delete(key);
    this.announcing.add(key);
    try {
      await this.locks.run(key, () => this.put(key, entry, conditions));
      this.wanted.set(key, entry);
    } catch (error) {
      // Without an answer it may have been done.
      if (isKind(error, 'unavailable') && !this.wanted.has(key)) this.unwanted.add(key);
      throw error;
    } finally {
      this.announcing.delete(key);
    }
  }

  announceAgain(key: string, value: Announcement): void {
    this.unwanted.delete(key);
    this.wanted.set(key, { text: this.textOf(value), lease: '' });
    this.wake();
  }

  withdraw(key: string): void {
    this.wanted.delete(key);
    this.unwanted.add(key);
    this.wake();
  }

  endFormer(): void {
    this.mayEndFormer = true;
    this.wake();
  }

  get announced(): readonly string[] {
    return [...this.wanted.keys()];
  }

  private async run(): Promise<void> {
    let renewed = 0;
    let silent = false;
    while (!this.closed) {
      let pause = this.times.heartbeatMs;
      try {
        if (this.lease === '') {
          await this.begin();
          renewed = Date.now();
        } else if (Date.now() - renewed >= this.times.heartbeatMs * 0.9) {
          await this.renew();
          renewed = Date.now();
        }
        await this.putRest();
        this.findStrays();
        await this.removeRest();
        if (this.mayEndFormer) await this.endThose();
        silent = false;
        pause = Math.max(50, renewed + this.times.heartbeatMs - Date.now());
      } catch (error) {
        // Once for each absence of the store, not for each try.
        if (!silent) this.log.warn('telling the cluster store that this engine lives failed', { error: messageOf(error) });
        silent = true;
        this.mirror.restart('the lease was not renewed');
        pause = Math.min(RETRY_MS, this.times.heartbeatMs);
      }
      if (this.closed) break;
      const { promise, resolve } = Promise.withResolvers<void>();
      this.wake = resolve;
      const timer = setTimeout(resolve, pause);
      await promise;
      clearTimeout(timer);
    }
  }

  private async begin(): Promise<void> {
    const { ID, header } = await this.client.call<LeaseAnswer>('/v3/lease/grant', { TTL: String(this.times.ttlSeconds) });
    this.mirror.heard(BigInt(header?.revision ?? 0));
    this.file.write([ID, ...this.former]);
    this.lease = ID;
    this.granted.resolve();
  }

  private async endThose(): Promise<void> {
    if (this.former.length === 0) return;
    for (const lease of this.former) await this.revoke(lease);
    this.former = [];
    this.file.write([this.lease]);
  }

  private async renew(): Promise<void> {
    const { result } = await this.client.call<{ result?: LeaseAnswer }>('/v3/lease/keepalive', { ID: this.lease });
    this.mirror.heard(BigInt(result?.header?.revision ?? 0));
    if (Number(result?.TTL ?? 0) > 0) return;
    this.log.warn('this engine was away from the cluster store for too long; announcing everything again', { keys: this.wanted.size });
    await this.begin();
  }

  /** Brings to the store what it does not have under the present lease. */
  private async putRest(): Promise<void> {
    for (const [key, entry] of this.wanted) {
      if (entry.lease === this.lease) continue;
      try {
        await this.locks.run(key, () => this.put(key, entry, []));
      } catch (error) {
        if (!isKind(error, 'conflict')) throw error;
        // Tried again with every sign of life, and told once.
        if (!entry.refused) this.log.error('another engine has taken what this one announced', { key, error: messageOf(error) });
        entry.refused = true;
      }
    }
  }

  /** A request that was given up may be carried out later than the one that takes it back. */
  private findStrays(): void {
    for (const key of this.mirror.leased(this.lease)) if (!this.wanted.has(key) && !this.announcing.has(key)) this.unwanted.add(key);
  }

  private async removeRest(): Promise<void> {
    for (const key of this.unwanted)
      await this.locks.run(key, async () => {
        // Announced anew meanwhile.
        if (!this.unwanted.has(key)) return;
        const path = this.prefix + key;
        await this.client.call('/v3/kv/txn', { compare: [leasedBy(path, this.lease)], success: [remove(path)], failure: [] });
        this.unwanted.delete(key);
      });
  }

  private async revoke(lease: string): Promise<void> {
    try {
      await this.client.call('/v3/lease/revoke', { ID: lease });
    } catch (error) {
      if (!(error instanceof EtcdError) || !error.notFound) throw error;
    }
  }

  /** Absent, or this engine's own: anybody else's is a conflict. */
  private async put(key: string, entry: Wanted, conditions: readonly ClusterCondition[]): Promise<void> {
    const path = this.prefix + key;
    const { lease } = this;
    const more = conditions.map((condition) => compareOf(this.prefix, condition));
    const first = await this.client.call<TxnAnswer>('/v3/kv/txn', {
      compare: [absent(path), ...more],
      success: [put(path, entry.text, lease)],
      failure: [read(path)],
    });
    if (!first.succeeded) {
      const there = first.responses?.[0]?.response_range?.kvs?.[0];
      if (!there) throw new EngineError('not-found', `what ${key} belongs to is gone from the cluster store`);
      const owner = memberIn(decode(there.value));
      if (owner !== this.member) throw conflict(`${key} in the cluster store belongs to engine ${owner}`);
      const second = await this.client.call<TxnAnswer>('/v3/kv/txn', {
        compare: [unchanged(path, there.mod_revision ?? '0'), ...more],
        success: [put(path, entry.text, lease)],
        failure: [],
      });
      if (!second.succeeded) throw conflict(`${key} changed in the cluster store at the same time`);
    }
    entry.lease = lease;
  }

  /** Hands everything to a lease that nobody renews. */
  private async extend(seconds: number): Promise<void> {
    const { ID } = await this.client.call<LeaseAnswer>('/v3/lease/grant', { TTL: String(seconds) });
    this.file.write([ID, this.lease, ...this.former]);
    const former = this.lease;
    this.lease = ID;
    await this.putRest();
    if (former !== '') await this.revoke(former);
  }

  private textOf(value: Announcement): string {
    return JSON.stringify({ ...value, member: this.member });
  }
}

function memberIn(text: string): string {
  try {
    const { member } = Object(JSON.parse(text)) as { member?: unknown };
    return typeof member === 'string' ? member : 'unknown';
  } catch {
    return 'unknown';
  }
}
