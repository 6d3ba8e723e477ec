import { createHash, randomBytes } from 'node:crypto';
import { isIP } from 'node:net';
import type { ClusterStore } from '@gantry/core/contracts/cluster.js';
import { messageOf, unavailable } from '@gantry/core/contracts/errors.js';
import type { EncryptionPolicy, EncryptionState, EncryptionStep } from '@gantry/core/contracts/host-net.js';
import type { DriverEnv } from '@gantry/core/contracts/manifest.js';
import { associate, type Association, blockingPolicies, type Epoch, type Peer, peerPolicies, type WantedPolicy } from './associations.js';
import { type ClusterKey, KeyRing, KEYS } from './key-ring.js';

const PEERS = 'overlay/peers/';

export interface EncryptionTimes {
  readonly rotationMs: number;
  /** From the announcement of an epoch until it is used: the others need a moment to make their part of it. */
  readonly switchMs: number;
  /** From the use of the next epoch until the last packets of this one have arrived. */
  readonly retireMs: number;
  readonly tickMs: number;
}

export const usualTimes = (rotationMs: number): EncryptionTimes => ({
  rotationMs,
  switchMs: 3000,
  retireMs: 30_000,
  tickMs: Math.min(60_000, Math.max(1000, rotationMs / 4)),
});

/**
 * IPsec between this host and every other one with encrypted networks, for packets to the UDP port of such networks. Before any of
 * them can be sent or taken, everything to that port is dropped; what is encrypted for a peer is an exception from that.
 */
export class Encryption {
  private readonly ring: KeyRing;
  private readonly reqid: number;
  private epochs: Epoch[] = [];
  private sending = '';
  /** Ids of the epochs of this life; for those of a former one nothing is made. */
  private readonly mine = new Set<string>();
  /** Associations that this life has made for sending; one that is gone is never made again. */
  private readonly made = new Set<number>();
  private active = false;
  private work: Promise<unknown> = Promise.resolve();
  private readonly timers = new Set<NodeJS.Timeout>();
  private stops: (() => void)[] = [];

  constructor(
    private readonly env: DriverEnv,
    private readonly store: ClusterStore,
    private readonly port: number,
    private readonly times: EncryptionTimes,
  ) {
    this.ring = new KeyRing(store, times.rotationMs);
    this.reqid = createHash('sha256').update(`overlay ${env.instance}`).digest().readUInt32BE(0) || 1;
  }

  /** `unavailable` with the reason when the kernel cannot encrypt. */
  async check(): Promise<void> {
    // Addresses that are nobody's.
    const trial = { source: '192.0.2.1', destination: '192.0.2.2', spi: 0xfffffff0 };
    try {
      await this.env.host.net.encrypt('', [
        { op: 'add-state', ...trial, reqid: this.reqid, key: randomBytes(36) },
        { op: 'delete-state', ...trial },
      ]);
    } catch (error) {
      throw unavailable(`encrypted overlay networks need IPsec ESP with AES-GCM in the kernel: ${messageOf(error)}`, error);
    }
  }

  /** Before the first encrypted network is in the kernel. Needs the store, for keys. */
  async activate(): Promise<void> {
    await this.inTurn(async () => {
      if (this.active) return;
      await this.check();
      await this.block();
      await this.ring.rotate(Date.now());
      this.watch();
      await this.begin();
    });
  }

  /** At a daemon's start with encrypted networks in use: the kernel goes on as it is until the store tells of the others. */
  async resume(): Promise<void> {
    await this.inTurn(() => this.block());
    void this.store.whenKnown().then(() =>
      this.inBackground('taking up the encryption of overlay networks', async () => {
        if (this.active) return;
        this.epochs = [...(this.peers().get(this.store.address)?.epochs ?? [])];
        this.sending = this.epochs.at(-1)?.id ?? '';
        await this.ring.rotate(Date.now());
        this.watch();
        await this.begin();
      }),
    );
  }

  /** After the last encrypted network went. */
  async deactivate(): Promise<void> {
    await this.inTurn(async () => {
      this.stopWatching();
      this.store.withdraw(PEERS + this.store.address);
      this.epochs = [];
      this.sending = '';
      const { states, policies } = await this.env.host.net.encryption('', this.reqid, this.port);
      await this.env.host.net.encrypt('', [
        ...states.map((state): EncryptionStep => ({ op: 'delete-state', ...state })),
        ...policies.map((policy) => this.deletion(policy)),
      ]);
    });
  }

  /** The kernel keeps what it has. */
  async close(): Promise<void> {
    this.stopWatching();
    await this.work;
  }

  private watch(): void {
    this.active = true;
    this.stops = [
      this.store.observe(PEERS, () => this.inBackground('taking in another host', () => this.reconcile())),
      this.store.observe(KEYS, () => this.inBackground('taking in a key', () => this.followKeys())),
    ];
    this.every(this.times.tickMs, () => this.inBackground('rotating keys', () => this.tick()));
  }

  private stopWatching(): void {
    this.active = false;
    for (const stop of this.stops.splice(0)) stop();
    for (const timer of this.timers) clearTimeout(timer);
    this.timers.clear();
  }

  private async tick(): Promise<void> {
    if (this.store.connected) await this.ring.rotate(Date.now());
    await this.reconcile();
  }

  private async followKeys(): Promise<void> {
    const newest = this.ring.keys().at(-1);
    if (newest && this.epochs.at(-1)?.key !== newest.id) await this.begin();
    else await this.reconcile();
  }

  /** A new epoch with the newest key: told first, used when the others know it. */
  private async begin(): Promise<void> {
    const newest = this.ring.keys().at(-1) ?? (await this.ring.rotate(Date.now())).at(-1);
    if (!newest) return;
    const epoch: Epoch = { id: randomBytes(16).toString('hex'), key: newest.id };
    this.epochs.push(epoch);
    this.mine.add(epoch.id);
    if (this.sending === '') this.sending = epoch.id;
    this.tell();
    await this.reconcile();
    if (this.sending === epoch.id) return;
    this.after(this.times.switchMs, 'using a new key', async () => {
      this.sending = epoch.id;
      await this.reconcile();
      this.after(this.times.retireMs, 'retiring a key', async () => {
        // Those before; a newer one may be there already.
        this.epochs = this.epochs.slice(
          Math.max(
            0,
            this.epochs.findIndex(({ id }) => id === epoch.id),
          ),
        );
        this.tell();
        await this.reconcile();
      });
    });
  }

  private tell(): void {
    this.store.announceAgain(PEERS + this.store.address, { address: this.store.address, epochs: this.epochs });
  }

  private peers(): Map<string, Peer> {
    const peers = new Map<string, Peer>();
    for (const [key, text] of this.store.entries(PEERS)) {
      const peer = parsePeer(text);
      if (peer && key === PEERS + peer.address) peers.set(peer.address, peer);
    }
    return peers;
  }

  /** Brings the kernel into line with who is there, which epochs there are, and the cluster's keys. */
  private async reconcile(): Promise<void> {
    if (!this.active) return;
    const self = this.store.address;
    const peers = [...this.peers().values()].filter(({ address }) => address !== self && isIP(address) === isIP(self));
    const keys = this.ring.keys();
    const { states, policies } = await this.env.host.net.encryption('', this.reqid, this.port);
    const there = new Set(states.map(idOf));
    const inbound = peers.flatMap(({ address, epochs }) => epochs.flatMap((epoch) => associate(address, self, epoch, keys) ?? []));
    const outbound = peers.flatMap(({ address }) => this.epochs.flatMap((epoch) => associate(self, address, epoch, keys) ?? []));
    const begun = peers.flatMap(({ address }) => this.begun.flatMap((epoch) => associate(self, address, epoch, keys) ?? []));
    const isNew = (association: Association): boolean => !there.has(idOf(association));
    const fresh = [...inbound.filter(isNew), ...begun.filter((association) => isNew(association) && !this.made.has(association.spi))];
    const wanted = new Set([...inbound, ...outbound].map(idOf));
    const wantedPolicies = [...blockingPolicies(self), ...peers.flatMap(({ address }) => this.policiesFor(address, keys))];
    const kept = new Set(wantedPolicies.map(pathOf));
    await this.env.host.net.encrypt('', [
      ...fresh.map((association): EncryptionStep => ({ op: 'add-state', ...association, reqid: this.reqid })),
      ...wantedPolicies.filter((policy) => !policies.some((other) => sameAs(policy, other))).map((policy) => this.putting(policy)),
      ...policies.filter((policy) => !kept.has(pathOf(policy))).map((policy) => this.deletion(policy)),
      ...states.filter((state) => !wanted.has(idOf(state))).map((state): EncryptionStep => ({ op: 'delete-state', ...state })),
    ]);
    // Somebody flushed them, or a peer went and came back. Made again, they would count from the start with the same key, which gives
    // it away; a new epoch has new keys.
    const lost = begun.filter((association) => isNew(association) && this.made.has(association.spi)).map(({ spi }) => spi);
    for (const { spi } of begun) this.made.add(spi);
    if (wantedPolicies.some(({ spi }) => lost.includes(spi))) await this.renew();
  }

  private get begun(): Epoch[] {
    return this.epochs.filter(({ id }) => this.mine.has(id));
  }

  private async renew(): Promise<void> {
    const before = this.sending;
    this.epochs = this.epochs.filter(({ id }) => id !== before);
    this.sending = '';
    await this.begin();
  }

  private policiesFor(peer: string, keys: readonly ClusterKey[]): WantedPolicy[] {
    const epoch = this.epochs.find(({ id }) => id === this.sending);
    const association = epoch && associate(this.store.address, peer, epoch, keys);
    return association ? peerPolicies(this.store.address, peer, association.spi) : [];
  }

  private async block(): Promise<void> {
    await this.env.host.net.encrypt(
      '',
      blockingPolicies(this.store.address).map((policy) => this.putting(policy)),
    );
  }

  private putting(policy: WantedPolicy): EncryptionStep {
    return { op: 'put-policy', ...policy, port: this.port, reqid: this.reqid };
  }

  private deletion({ direction, source, destination }: EncryptionPolicy): EncryptionStep {
    return { op: 'delete-policy', direction, source, destination, port: this.port };
  }

  private every(ms: number, work: () => void): void {
    const timer = setInterval(work, ms);
    timer.unref();
    this.timers.add(timer);
  }

  private after(ms: number, what: string, work: () => Promise<void>): void {
    const timer = setTimeout(() => {
      this.timers.delete(timer);
      this.inBackground(what, work);
    }, ms);
    timer.unref();
    this.timers.add(timer);
  }

  private inBackground(what: string, work: () => Promise<void>): void {
    this.inTurn(work).catch((error: unknown) => this.env.log.warn(`${what} failed`, { error: messageOf(error) }));
  }

  private async inTurn(work: () => Promise<void>): Promise<void> {
    const mine = this.work.then(work, work);
    this.work = mine.catch(() => undefined);
    return mine;
  }
}

const idOf = ({ destination, spi }: EncryptionState): string => `${destination} ${spi}`;

/** Addresses as the kernel tells them, with the length of their prefix. */
const pathOf = ({ direction, source, destination }: EncryptionPolicy): string => `${direction} ${whole(source)} ${whole(destination)}`;
const whole = (text: string): string => (text.includes('/') ? text : `${text}/${text.includes(':') ? 128 : 32}`);

const sameAs = (wanted: WantedPolicy, other: EncryptionPolicy): boolean =>
  pathOf(wanted) === pathOf(other) && wanted.block === other.block && wanted.spi === other.spi;

/** Another engine wrote it. */
function parsePeer(text: string): Peer | undefined {
  const { address, epochs } = Object(JSON.parse(text)) as Record<string, unknown>;
  if (typeof address !== 'string' || isIP(address) === 0 || !Array.isArray(epochs)) return undefined;
  const valid = epochs.filter((entry: unknown): entry is Epoch => {
    const { id, key } = Object(entry) as Record<string, unknown>;
    return typeof id === 'string' && typeof key === 'string';
  });
  return { address, epochs: valid };
}
