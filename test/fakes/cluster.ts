import type { Announcement, ClusterChange, ClusterCondition, ClusterOperation, ClusterStore } from '@gantry/core/contracts/cluster.js';
import { conflict, EngineError } from '@gantry/core/contracts/errors.js';

/** The state of a cluster in this process; each member sees it through a {@link ClusterStore} of its own. */
export class MemoryCluster {
  private readonly values = new Map<string, { value: string; revision: number }>();
  private readonly observers = new Set<{ prefix: string; tell: (changes: readonly ClusterChange[]) => void }>();
  private revision = 0;

  member(member: string, address: string): ClusterStore {
    const announce = async (key: string, value: Announcement, conditions: readonly ClusterCondition[] = []): Promise<void> => {
      if (!conditions.every((condition) => this.holds(condition))) throw new EngineError('not-found', `${key} belongs to nothing`);
      const there = this.values.get(key);
      if (there && (JSON.parse(there.value) as Announcement).member !== member) throw conflict(`${key} belongs to another engine`);
      this.put(key, JSON.stringify({ ...value, member }));
    };
    return {
      member,
      address,
      connected: true,
      entries: (prefix) => new Map([...this.values].flatMap(([key, { value }]) => (key.startsWith(prefix) ? [[key, value] as const] : []))),
      observe: (prefix, tell) => {
        const observer = { prefix, tell };
        this.observers.add(observer);
        const all = [...this.values].filter(([key]) => key.startsWith(prefix)).map(([key, { value }]) => ({ key, value }));
        if (all.length > 0) tell(all);
        return () => void this.observers.delete(observer);
      },
      whenKnown: async () => undefined,
      get: async (key) => {
        const there = this.values.get(key);
        return there && { value: there.value, revision: String(there.revision) };
      },
      list: async (prefix) => {
        const found = [...this.values].filter(([key]) => key.startsWith(prefix)).toSorted(([, a], [, b]) => a.revision - b.revision);
        return new Map(found.map(([key, { value }]) => [key, value]));
      },
      commit: async (conditions, operations) => {
        if (!conditions.every((condition) => this.holds(condition))) return false;
        for (const operation of operations) this.apply(operation);
        return true;
      },
      announce,
      announceAgain: (key, value) => void announce(key, value),
      withdraw: (key) => this.remove([key]),
      settle: () => undefined,
    };
  }

  private holds(condition: ClusterCondition): boolean {
    if ('prefix' in condition) return ![...this.values.keys()].some((key) => key.startsWith(condition.prefix));
    const there = this.values.get(condition.key);
    if ('revision' in condition) return String(there?.revision ?? 0) === condition.revision;
    return (there !== undefined) === (condition.is === 'present');
  }

  private apply(operation: ClusterOperation): void {
    if (operation.op === 'put') this.put(operation.key, operation.value);
    else if (operation.op === 'delete') this.remove([operation.key]);
    else this.remove([...this.values.keys()].filter((key) => key.startsWith(operation.prefix)));
  }

  private put(key: string, value: string): void {
    this.values.set(key, { value, revision: ++this.revision });
    this.tell([{ key, value }]);
  }

  private remove(keys: readonly string[]): void {
    const gone = keys.filter((key) => this.values.delete(key));
    this.tell(gone.map((key) => ({ key, value: undefined })));
  }

  private tell(changes: readonly ClusterChange[]): void {
    for (const { prefix, tell } of this.observers) {
      const mine = changes.filter(({ key }) => key.startsWith(prefix));
      if (mine.length > 0) tell(mine);
    }
  }
}
