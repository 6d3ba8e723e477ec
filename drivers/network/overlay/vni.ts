import type { ClusterStore } from '@gantry/core/contracts/cluster.js';
import { conflict, unavailable } from '@gantry/core/contracts/errors.js';

const PREFIX = 'overlay/vni/';
/** Below are those that people give out by hand. */
const FIRST = 4096;
const LAST = 2 ** 24 - 1;
const ATTEMPTS = 50;

interface Owner {
  readonly network: string;
  readonly member: string;
}

/** The numbers that tell networks apart on the wire, each given to one network of all. */
export class VniAllocator {
  constructor(private readonly store: ClusterStore) {}

  /** `wanted` 0 for any. */
  async allocate(networkId: string, wanted: number): Promise<number> {
    const value = JSON.stringify({ network: networkId, member: this.store.member } satisfies Owner);
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const taken = await this.taken();
      const vni = wanted || next([...taken.keys()]);
      const key = PREFIX + String(vni);
      if (await this.store.commit([{ key, is: 'absent' }], [{ op: 'put', key, value }])) return vni;
      if (wanted !== 0 && taken.get(wanted)?.network !== networkId)
        throw conflict(`VNI ${wanted} belongs to network ${taken.get(wanted)?.network ?? 'of another engine'}`);
      if (wanted !== 0) return wanted;
    }
    throw unavailable('too many engines choose a VNI at the same time');
  }

  async free(networkId: string): Promise<void> {
    await this.freeWhere(({ network }) => network === networkId);
  }

  /** Frees what this engine took for networks that never came to be. */
  async audit(known: ReadonlySet<string>): Promise<void> {
    await this.freeWhere(({ network, member }) => member === this.store.member && !known.has(network));
  }

  private async freeWhere(condition: (owner: Owner) => boolean): Promise<void> {
    for (const [vni, owner] of await this.taken())
      if (condition(owner)) await this.store.commit([], [{ op: 'delete', key: PREFIX + String(vni) }]);
  }

  /** The one that was taken last at the end. */
  private async taken(): Promise<Map<number, Owner>> {
    const entries = await this.store.list(PREFIX);
    return new Map([...entries].map(([key, value]) => [Number(key.slice(PREFIX.length)), JSON.parse(value) as Owner]));
  }
}

/** In turn, so that a number that was just freed rests: a host that was cut off may still use it. */
function next(taken: readonly number[]): number {
  const set = new Set(taken);
  const last = taken.findLast((vni) => vni >= FIRST) ?? FIRST - 1;
  for (let step = 1; step <= LAST - FIRST + 1; step++) {
    const vni = FIRST + ((last - FIRST + step) % (LAST - FIRST + 1));
    if (!set.has(vni)) return vni;
  }
  throw unavailable('every VNI is taken');
}
