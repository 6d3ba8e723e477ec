import { randomUUID } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { isIP } from 'node:net';
import { join } from 'node:path';
import type { Announcement, ClusterChange, ClusterCondition, ClusterOperation, ClusterStatus, ClusterStore } from '../contracts/cluster.js';
import { EngineError, invalid, unavailable } from '../contracts/errors.js';
import type { HostNet } from '../contracts/host-net.js';
import type { Logger } from '../contracts/manifest.js';
import type { ClusterSettings } from './cluster-settings.js';
import { compareOf, requestOf } from './commit.js';
import { EtcdClient } from './etcd-client.js';
import { decode, encode, type RangeAnswer, type TxnAnswer } from './etcd-wire.js';
import { type LeaseFile, Session } from './session.js';
import { Mirror } from './mirror.js';

/** How long containers that go on while no engine runs stay known to others. */
const AWAY_SECONDS = 24 * 3600;

/** Announced by every engine, so that none other takes its address. */
const MEMBERS = 'members/';

/** The shared state of several engines, in etcd. */
export class ClusterService implements ClusterStore {
  private readonly mirror: Mirror;
  private readonly session: Session;

  private constructor(
    private readonly settings: ClusterSettings,
    private readonly client: EtcdClient,
    readonly member: string,
    readonly address: string,
    lease: LeaseFile,
    log: Logger,
  ) {
    this.mirror = new Mirror(client, settings.prefix, log);
    const times = { heartbeatMs: settings.heartbeatSeconds * 1000, ttlSeconds: settings.ttlSeconds };
    this.session = new Session(client, settings.prefix, member, times, lease, log, this.mirror);
  }

  /** `folder` is kept with the engine's data. A store that does not answer is no error: it is waited for. */
  static async open(settings: ClusterSettings, folder: string, net: HostNet, log: Logger): Promise<ClusterService> {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const address = await addressOf(settings.advertise, net);
    const service = new ClusterService(settings, new EtcdClient(settings), memberOf(folder), address, leaseFile(folder), log);
    service.mirror.open();
    service.session.open();
    service.session.announceAgain(MEMBERS + address, { address, name: hostname() });
    return service;
  }

  get connected(): boolean {
    return this.mirror.connected;
  }

  /** From memory. */
  status(): ClusterStatus {
    const members = [...this.mirror.entries(MEMBERS).values()].flatMap((text) => memberOfText(text) ?? []);
    return { store: this.settings.store, address: this.address, failure: this.mirror.failure, members };
  }

  async close(): Promise<void> {
    const others = this.session.announced.filter((key) => !key.startsWith(MEMBERS));
    await this.session.close(others.length > 0 ? AWAY_SECONDS : 0);
    await this.mirror.close();
    this.client.close();
  }

  entries(prefix: string): ReadonlyMap<string, string> {
    return this.mirror.entries(prefix);
  }

  observe(prefix: string, observer: (changes: readonly ClusterChange[]) => void): () => void {
    return this.mirror.observe(prefix, observer);
  }

  whenKnown(): Promise<void> {
    return this.mirror.whenKnown();
  }

  async get(key: string): Promise<{ value: string; revision: string } | undefined> {
    const { kvs } = await this.ask<RangeAnswer>('/v3/kv/range', { key: encode(this.settings.prefix + key) });
    const entry = kvs?.[0];
    return entry && { value: decode(entry.value), revision: entry.mod_revision ?? '0' };
  }

  async list(prefix: string): Promise<ReadonlyMap<string, string>> {
    const { entries } = await this.reached(this.client.readAll(this.settings.prefix + prefix));
    const byChange = entries.toSorted((a, b) => Number(BigInt(a.mod_revision ?? 0) - BigInt(b.mod_revision ?? 0)));
    return new Map(byChange.map(({ key, value }) => [decode(key).slice(this.settings.prefix.length), decode(value)]));
  }

  async commit(conditions: readonly ClusterCondition[], operations: readonly ClusterOperation[]): Promise<boolean> {
    const { succeeded } = await this.ask<TxnAnswer>('/v3/kv/txn', {
      compare: conditions.map((condition) => compareOf(this.settings.prefix, condition)),
      success: operations.map((operation) => requestOf(this.settings.prefix, operation)),
      failure: [],
    });
    return succeeded ?? false;
  }

  async announce(key: string, value: Announcement, conditions: readonly ClusterCondition[] = []): Promise<void> {
    await this.reached(this.session.announce(key, value, conditions));
  }

  announceAgain(key: string, value: Announcement): void {
    this.session.announceAgain(key, value);
  }

  withdraw(key: string): void {
    this.session.withdraw(key);
  }

  settle(): void {
    this.session.endFormer();
  }

  private ask<T>(path: string, body: unknown): Promise<T> {
    return this.reached(this.client.call<T>(path, body));
  }

  /** What etcd finds wrong with a request of ours is nothing that a caller can act on. */
  private async reached<T>(work: Promise<T>): Promise<T> {
    try {
      return await work;
    } catch (error) {
      if (error instanceof EngineError) throw error;
      throw unavailable(`cluster store ${this.settings.store} failed: ${error instanceof Error ? error.message : String(error)}`, error);
    }
  }
}

/** Another engine wrote it. */
function memberOfText(text: string): { name: string; address: string } | undefined {
  const { name, address } = Object(JSON.parse(text)) as Record<string, unknown>;
  return typeof name === 'string' && typeof address === 'string' ? { name, address } : undefined;
}

/** Of a link its first IPv4 address, else its first other one that is not of the link alone. */
async function addressOf(advertise: string, net: HostNet): Promise<string> {
  if (isIP(advertise) !== 0) return advertise;
  const link = (await net.links('')).find(({ name }) => name === advertise);
  if (!link) throw invalid(`cluster-advertise: there is no interface ${advertise}`);
  const addresses = link.addresses.map((address) => address.split('/')[0] ?? '');
  const chosen = addresses.find((address) => isIP(address) === 4) ?? addresses.find((address) => !address.startsWith('fe80'));
  if (chosen === undefined) throw invalid(`cluster-advertise: interface ${advertise} has no address`);
  return chosen;
}

function memberOf(folder: string): string {
  const path = join(folder, 'member');
  const kept = readIfThere(path);
  if (kept !== '') return kept;
  const made = randomUUID();
  writeWhole(path, made);
  return made;
}

function leaseFile(folder: string): LeaseFile {
  const path = join(folder, 'lease');
  return {
    read: () =>
      readIfThere(path)
        .split(' ')
        .filter((lease) => /^\d+$/.test(lease)),
    write: (leases) => writeWhole(path, leases.join(' ')),
  };
}

function readIfThere(path: string): string {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw error;
  }
}

function writeWhole(path: string, text: string): void {
  writeFileSync(`${path}.new`, text, { mode: 0o600, flush: true });
  renameSync(`${path}.new`, path);
}
