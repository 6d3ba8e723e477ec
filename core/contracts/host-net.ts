/** A link as rtnetlink tells it. */
export interface Link {
  readonly index: number;
  readonly name: string;
  readonly kind: string;
  readonly mac: string;
  readonly mtu: number;
  readonly up: boolean;
  readonly master: number;
  readonly addresses: readonly string[];
}

export interface HostNet {
  /** Makes a network namespace on a thread of its own and keeps it by a bind mount at `path` (file made here). Loopback is up. */
  createNamespace(path: string): Promise<void>;
  /** Unmounts and removes the file; absent is fine. */
  removeNamespace(path: string): Promise<void>;
}
