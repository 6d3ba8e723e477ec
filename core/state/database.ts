import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite';
import { EngineError } from '../contracts/errors.js';
import type { Reserve } from './reserve.js';
import { SharedSync } from './shared-sync.js';

/** SQLite's result code for a disk without space. */
const SQLITE_FULL = 13;

const isFull = (error: unknown): boolean => (error as { errcode?: number }).errcode === SQLITE_FULL;

/** What a person would call it. */
const inPlainWords = (error: unknown): EngineError =>
  new EngineError('system', 'the records could not be written: no space left on device', { cause: error });

/** Values of one row. */
export type Row = Record<string, null | number | bigint | string | Uint8Array>;

/**
 * All records of one daemon in one SQLite file: WAL, synchronous FULL, so a committed transaction survives a power cut.
 * Every room has tables of its own and gives its schema to {@link migrate}; no room reads another's tables.
 * Calls are synchronous and take some 10 µs to read, some 200 µs to commit.
 */
export class Database {
  private readonly statements = new Map<string, StatementSync>();
  private depth = 0;
  private reserve: Reserve | undefined;

  private constructor(
    private readonly db: DatabaseSync,
    /** What is committed lies there until SQLite, after a sync of its own, brings it into the file itself. None for `:memory:`. */
    private readonly log: SharedSync | undefined,
  ) {}

  /** Opens or makes the file; `:memory:` for tests. A second daemon on the same file is refused. */
  static open(path: string): Database {
    const db = new DatabaseSync(path, { enableForeignKeyConstraints: true });
    db.exec('PRAGMA busy_timeout = 2000; PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;');
    db.exec('CREATE TABLE IF NOT EXISTS room_version (room TEXT PRIMARY KEY, version INTEGER NOT NULL) STRICT');
    // SQLite has made it by now, and keeps this one file until the database is closed.
    return new Database(db, path === ':memory:' ? undefined : SharedSync.open(`${path}-wal`));
  }

  /** Space for a full disk, given up before a write fails. */
  useReserve(reserve: Reserve): void {
    this.reserve = reserve;
  }

  /** Runs what frees space, or what must be recorded whatever the disk is like. */
  freeing<T>(work: () => T): T {
    return this.reserve ? this.reserve.whileFreeing(work) : work();
  }

  /** Brings a room's tables to the newest form: `steps[n]` goes from version n to n + 1 and is never edited once released. */
  migrate(room: string, steps: readonly string[]): void {
    this.transaction(() => {
      const row = this.get('SELECT version FROM room_version WHERE room = ?', room);
      const version = Number(row?.['version'] ?? 0);
      if (version > steps.length)
        throw new Error(`the records of ${room} have version ${version}, newer than this program (${steps.length})`);
      for (const step of steps.slice(version)) this.db.exec(step);
      this.run('INSERT INTO room_version VALUES (?, ?) ON CONFLICT (room) DO UPDATE SET version = excluded.version', room, steps.length);
    });
  }

  run(sql: string, ...values: SQLInputValue[]): void {
    this.again(() => this.prepared(sql).run(...values));
  }

  get(sql: string, ...values: SQLInputValue[]): Row | undefined {
    return this.again(() => this.prepared(sql).get(...values)) as Row | undefined;
  }

  all(sql: string, ...values: SQLInputValue[]): Row[] {
    return this.prepared(sql).all(...values) as Row[];
  }

  /** All or nothing; calls nest into the outermost. */
  transaction<T>(work: () => T): T {
    return this.again(() => this.wholeTransaction(work));
  }

  private wholeTransaction<T>(work: () => T): T {
    if (this.depth > 0) return work();
    this.db.exec('BEGIN IMMEDIATE');
    this.depth++;
    try {
      const result = work();
      this.db.exec('COMMIT');
      return result;
    } catch (error) {
      // A full disk may have ended the transaction already.
      if (this.db.isTransaction) this.db.exec('ROLLBACK');
      throw error;
    } finally {
      this.depth--;
    }
  }

  /**
   * A transaction that survives the end of this process but perhaps not a power cut, for what a reboot ends anyway: it
   * saves the wait for the disk. Within another transaction it is as durable as that one.
   */
  volatile<T>(work: () => T): T {
    if (this.depth > 0) return work();
    this.db.exec('PRAGMA synchronous = NORMAL');
    try {
      return this.transaction(work);
    } finally {
      this.db.exec('PRAGMA synchronous = FULL');
    }
  }

  /**
   * A transaction that survives a power cut once the promise resolves. This process sees it at once. The wait for the disk holds nobody
   * else up, and those who wait at the same time wait for one sync together. Within another transaction it is as durable as that one.
   */
  async durable<T>(work: () => T): Promise<T> {
    const result = this.volatile(work);
    if (this.depth === 0) await this.log?.sync();
    return result;
  }

  close(): void {
    this.statements.clear();
    this.log?.close();
    this.db.close();
  }

  /** On a full disk once more, when somebody could make room. A transaction is tried again as a whole, never in the middle. */
  private again<T>(call: () => T): T {
    try {
      return call();
    } catch (error) {
      if (this.depth > 0 || !isFull(error)) throw error;
      if (!this.reserve?.giveUp()) throw inPlainWords(error);
    }
    try {
      return call();
    } catch (error) {
      throw isFull(error) ? inPlainWords(error) : error;
    }
  }

  private prepared(sql: string): StatementSync {
    let statement = this.statements.get(sql);
    if (!statement) {
      statement = this.db.prepare(sql);
      this.statements.set(sql, statement);
    }
    return statement;
  }
}
