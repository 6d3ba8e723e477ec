import { DatabaseSync, type StatementSync } from 'node:sqlite';

export interface StoredPool {
  readonly id: string;
  /** Addresses as decimal numbers; they need not fit in 64 bits. */
  readonly leases: readonly string[];
}

/**
 * Pools and leases on disk. A pool is synced when the call returns. A lease survives the end of the process but not a
 * power cut, which ends every container that could use the address: a sync for each would cost more than the whole join.
 */
export class LeaseStore {
  private readonly insertLease: StatementSync;
  private readonly deleteLease: StatementSync;

  private constructor(private readonly db: DatabaseSync) {
    this.insertLease = db.prepare('INSERT OR IGNORE INTO lease (pool, address) VALUES (?, ?)');
    this.deleteLease = db.prepare('DELETE FROM lease WHERE pool = ? AND address = ?');
  }

  static open(path: string): LeaseStore {
    const db = new DatabaseSync(path, { enableForeignKeyConstraints: true });
    db.exec(`PRAGMA busy_timeout = 2000; PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;
      CREATE TABLE IF NOT EXISTS pool (id TEXT PRIMARY KEY) STRICT;
      CREATE TABLE IF NOT EXISTS lease (
        pool TEXT NOT NULL REFERENCES pool (id) ON DELETE CASCADE,
        address TEXT NOT NULL,
        PRIMARY KEY (pool, address)
      ) STRICT, WITHOUT ROWID;`);
    return new LeaseStore(db);
  }

  load(): StoredPool[] {
    const pools = new Map<string, string[]>();
    for (const row of this.db.prepare('SELECT id FROM pool').all()) pools.set(String(row['id']), []);
    for (const row of this.db.prepare('SELECT pool, address FROM lease').all())
      pools.get(String(row['pool']))?.push(String(row['address']));
    return [...pools].map(([id, leases]) => ({ id, leases }));
  }

  addPool(id: string): void {
    this.synced(() => this.db.prepare('INSERT OR IGNORE INTO pool (id) VALUES (?)').run(id));
  }

  removePool(id: string): void {
    this.synced(() => this.db.prepare('DELETE FROM pool WHERE id = ?').run(id));
  }

  addLease(pool: string, address: bigint): void {
    this.insertLease.run(pool, String(address));
  }

  removeLease(pool: string, address: bigint): void {
    this.deleteLease.run(pool, String(address));
  }

  close(): void {
    this.db.close();
  }

  private synced(work: () => void): void {
    this.db.exec('PRAGMA synchronous = FULL');
    try {
      work();
    } finally {
      this.db.exec('PRAGMA synchronous = NORMAL');
    }
  }
}
