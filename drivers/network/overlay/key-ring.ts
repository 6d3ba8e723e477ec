import { randomBytes } from 'node:crypto';
import type { ClusterStore } from '@gantry/core/contracts/cluster.js';

export const KEYS = 'overlay/keys';

/** How many keys are known: the one that encrypts, and the one before, which decrypts what is still on its way. */
const KEPT = 2;

export interface ClusterKey {
  readonly id: string;
  /** 32 bytes in base64. */
  readonly secret: string;
  /** Milliseconds since 1970, by the clock of whoever made it. */
  readonly created: number;
}

/** The keys of all encrypted networks, in the cluster's store. Whichever engine finds that the newest is too old makes the next one. */
export class KeyRing {
  constructor(
    private readonly store: ClusterStore,
    private readonly rotationMs: number,
  ) {}

  /** From memory, the newest last. */
  keys(): readonly ClusterKey[] {
    const text = this.store.entries(KEYS).get(KEYS);
    return text === undefined ? [] : parse(text);
  }

  /** Of several engines that try, one succeeds; the others find its key. */
  async rotate(now: number): Promise<readonly ClusterKey[]> {
    const there = await this.store.get(KEYS);
    const keys = there ? parse(there.value) : [];
    const newest = keys.at(-1);
    // A key from the future is of a clock that is wrong; waiting for its time would be waiting with an old key.
    if (newest && Math.abs(now - newest.created) < this.rotationMs) return keys;
    const made = { id: randomBytes(8).toString('hex'), secret: randomBytes(32).toString('base64'), created: now };
    const next = [...keys, made].slice(-KEPT);
    const done = await this.store.commit(
      [there ? { key: KEYS, revision: there.revision } : { key: KEYS, is: 'absent' }],
      [{ op: 'put', key: KEYS, value: JSON.stringify(next) }],
    );
    return done ? next : this.rotate(now);
  }
}

const parse = (text: string): readonly ClusterKey[] => JSON.parse(text) as ClusterKey[];
