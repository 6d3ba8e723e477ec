/** What must be so for {@link ClusterStore.commit} to do anything. */
export type ClusterCondition =
  | { readonly key: string; readonly is: 'absent' | 'present' }
  /** As {@link ClusterStore.get} told it. */
  | { readonly key: string; readonly revision: string }
  | { readonly prefix: string; readonly is: 'empty' };

export type ClusterOperation =
  | { readonly op: 'put'; readonly key: string; readonly value: string }
  /** Absent is fine. */
  | { readonly op: 'delete'; readonly key: string }
  | { readonly op: 'delete-prefix'; readonly prefix: string };

/** One key's new value, or that it is gone. */
export interface ClusterChange {
  readonly key: string;
  readonly value: string | undefined;
}

/** Announced values are objects; whoever announced one is in it as `member`. */
export type Announcement = Readonly<Record<string, unknown>> & { readonly member?: string };

/** How an engine stands to the store that it shares, for people. */
export interface ClusterStatus {
  /** As the user wrote it. */
  readonly store: string;
  /** The address by which others reach this engine. */
  readonly address: string;
  /** Why the store is not followed at the moment, and since when; `undefined` when it is. */
  readonly failure: { readonly since: Date; readonly reason: string } | undefined;
  /** Host names and addresses of all engines as last heard, this one too. */
  readonly members: readonly { readonly name: string; readonly address: string }[];
}

/**
 * State that several engines share, by key. Keys are paths without a leading slash. What must outlive this engine is committed; what
 * must not is announced, and is gone soon after the engine is. Calls that reach for the store fail with `unavailable` when it does
 * not answer in time; an answer that never came leaves open whether the change was made.
 */
export interface ClusterStore {
  /** This engine among the others: kept with its data, and nobody else has it. */
  readonly member: string;
  /** The IP address by which other hosts reach this one. */
  readonly address: string;
  /** Whether what is in memory is what the store has. */
  readonly connected: boolean;

  /** From memory, as last heard. */
  entries(prefix: string): ReadonlyMap<string, string>;
  /** Tells of all there is (at once, or when the store answers for the first time) and then of every change, in order. Returns what ends it. */
  observe(prefix: string, observer: (changes: readonly ClusterChange[]) => void): () => void;
  /** Resolves when memory has been filled from the store once. */
  whenKnown(): Promise<void>;

  /** Asks the store: the value now, and its revision for a condition. */
  get(key: string): Promise<{ readonly value: string; readonly revision: string } | undefined>;
  /** Asks the store, in the order of the keys' last changes, oldest first. */
  list(prefix: string): Promise<ReadonlyMap<string, string>>;
  /** All operations, or none and `false` when a condition does not hold. */
  commit(conditions: readonly ClusterCondition[], operations: readonly ClusterOperation[]): Promise<boolean>;

  /**
   * Keeps a value under a key while this engine lives, and puts it back should the store have lost it. `conflict` when another
   * engine announces the key already, and `not-found` when a condition does not hold.
   */
  announce(key: string, value: Announcement, conditions?: readonly ClusterCondition[]): Promise<void>;
  /** The same as soon as the store can be reached; what is in the way then is logged. For what was announced before a restart. */
  announceAgain(key: string, value: Announcement): void;
  /** Never waits for the store: what is announced no more disappears when the store is reached. */
  withdraw(key: string): void;
  /** Everything of a former life has been announced again; the rest of it may go. */
  settle(): void;
}
