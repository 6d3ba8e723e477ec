import type { ChainId, Digest, DiffId, SnapshotId } from '../contracts/ids.js';
import type { Database, Row } from '../state/database.js';

const SCHEMA = [
  // `boot` is the boot during which the files were written, until they are known to be on disk; '' after that.
  `CREATE TABLE layer_snapshot (
     driver TEXT NOT NULL, chain TEXT NOT NULL, snapshot TEXT NOT NULL, parent TEXT, diff TEXT NOT NULL, blob TEXT NOT NULL,
     size INTEGER NOT NULL, boot TEXT NOT NULL, PRIMARY KEY (driver, chain)) STRICT, WITHOUT ROWID;
   CREATE TABLE layer_hold (owner TEXT NOT NULL, driver TEXT NOT NULL, chain TEXT NOT NULL, PRIMARY KEY (owner, driver, chain)) STRICT, WITHOUT ROWID;
   CREATE TABLE layer_writable (container TEXT PRIMARY KEY, driver TEXT NOT NULL, snapshot TEXT NOT NULL, chain TEXT, quota INTEGER) STRICT, WITHOUT ROWID`,
  'CREATE TABLE layer_init (driver TEXT NOT NULL, snapshot TEXT NOT NULL, boot TEXT NOT NULL, PRIMARY KEY (driver, snapshot)) STRICT, WITHOUT ROWID',
  'CREATE INDEX layer_hold_chain ON layer_hold (chain, driver)',
];

/** In one question instead of one for each layer, since every start of a container asks. */
const STACK_BELOW = `WITH RECURSIVE stack (depth, chain) AS (
    SELECT 0, ?2
    UNION ALL
    SELECT depth + 1, parent FROM stack JOIN layer_snapshot USING (chain) WHERE driver = ?1 AND parent IS NOT NULL)
  SELECT layer_snapshot.* FROM stack JOIN layer_snapshot USING (chain) WHERE driver = ?1 ORDER BY depth DESC`;

/** One unpacked layer of one driver. */
export interface SnapshotRecord {
  readonly driver: string;
  readonly chain: ChainId;
  readonly snapshot: SnapshotId;
  readonly parent: ChainId | undefined;
  readonly diff: DiffId;
  readonly blob: Digest;
  readonly size: number;
  readonly boot: string;
}

/** The layer between an image and its containers. */
export interface InitRecord {
  readonly driver: string;
  readonly snapshot: SnapshotId;
  readonly boot: string;
}

/** A container's writable layer. `chain` is what it stands on, none for an image without layers. */
export interface WritableRecord {
  readonly container: string;
  readonly driver: string;
  readonly snapshot: SnapshotId;
  readonly chain: ChainId | undefined;
  readonly quota: number | undefined;
}

const text = (row: Row, column: string): string => String(row[column]);
const optionalText = (row: Row, column: string): string | undefined => (row[column] === null ? undefined : String(row[column]));

const toSnapshot = (row: Row): SnapshotRecord => ({
  driver: text(row, 'driver'),
  chain: text(row, 'chain') as ChainId,
  snapshot: text(row, 'snapshot') as SnapshotId,
  parent: optionalText(row, 'parent') as ChainId | undefined,
  diff: text(row, 'diff') as DiffId,
  blob: text(row, 'blob') as Digest,
  size: Number(row['size']),
  boot: text(row, 'boot'),
});

const toWritable = (row: Row): WritableRecord => ({
  container: text(row, 'container'),
  driver: text(row, 'driver'),
  snapshot: text(row, 'snapshot') as SnapshotId,
  chain: optionalText(row, 'chain') as ChainId | undefined,
  quota: row['quota'] === null ? undefined : Number(row['quota']),
});

/** The layer room's tables. */
export class LayerRecords {
  private unsynced = false;

  constructor(private readonly db: Database) {}

  open(): void {
    this.db.migrate('layer', SCHEMA);
  }

  transaction<T>(work: () => T): T {
    return this.db.transaction(work);
  }

  snapshot(driver: string, chain: ChainId): SnapshotRecord | undefined {
    const row = this.db.get('SELECT * FROM layer_snapshot WHERE driver = ? AND chain = ?', driver, chain);
    return row && toSnapshot(row);
  }

  snapshots(): SnapshotRecord[] {
    return this.db.all('SELECT * FROM layer_snapshot').map(toSnapshot);
  }

  addSnapshot(record: SnapshotRecord): void {
    this.unsynced = true;
    this.db.run(
      'INSERT OR REPLACE INTO layer_snapshot VALUES (?, ?, ?, ?, ?, ?, ?, ?)',
      record.driver,
      record.chain,
      record.snapshot,
      record.parent ?? null,
      record.diff,
      record.blob,
      record.size,
      record.boot,
    );
  }

  removeSnapshot(driver: string, chain: ChainId): void {
    this.db.run('DELETE FROM layer_snapshot WHERE driver = ? AND chain = ?', driver, chain);
  }

  /** Whether something was recorded since the last call: there are files to sync. */
  takeUnsynced(): boolean {
    const found = this.unsynced;
    this.unsynced = false;
    return found;
  }

  /** What was written before a sync that has just returned is on disk. */
  markSynced(snapshots: readonly SnapshotRecord[], inits: readonly InitRecord[]): void {
    this.db.transaction(() => {
      for (const { driver, chain } of snapshots)
        this.db.run("UPDATE layer_snapshot SET boot = '' WHERE driver = ? AND chain = ?", driver, chain);
      for (const { driver, snapshot } of inits)
        this.db.run("UPDATE layer_init SET boot = '' WHERE driver = ? AND snapshot = ?", driver, snapshot);
    });
  }

  inits(): InitRecord[] {
    return this.db
      .all('SELECT * FROM layer_init')
      .map((row) => ({ driver: text(row, 'driver'), snapshot: text(row, 'snapshot') as SnapshotId, boot: text(row, 'boot') }));
  }

  hasInit(driver: string, snapshot: SnapshotId): boolean {
    return this.db.get('SELECT 1 FROM layer_init WHERE driver = ? AND snapshot = ?', driver, snapshot) !== undefined;
  }

  addInit(driver: string, snapshot: SnapshotId, boot: string): void {
    this.unsynced = true;
    this.db.run('INSERT OR REPLACE INTO layer_init VALUES (?, ?, ?)', driver, snapshot, boot);
  }

  removeInit(driver: string, snapshot: SnapshotId): void {
    this.db.run('DELETE FROM layer_init WHERE driver = ? AND snapshot = ?', driver, snapshot);
  }

  /** The layers of a stack, bottom first, as far down as there are records. */
  stackBelow(driver: string, top: ChainId | undefined): SnapshotRecord[] {
    if (top === undefined) return [];
    return this.db.all(STACK_BELOW, driver, top).map(toSnapshot);
  }

  sizeOf(chain: ChainId): number | undefined {
    const row = this.db.get('SELECT size FROM layer_snapshot WHERE chain = ? LIMIT 1', chain);
    return row && Number(row['size']);
  }

  hold(owner: string, driver: string, chain: ChainId): void {
    this.db.run('INSERT OR IGNORE INTO layer_hold VALUES (?, ?, ?)', owner, driver, chain);
  }

  unhold(owner: string): void {
    this.db.run('DELETE FROM layer_hold WHERE owner = ?', owner);
  }

  /** Drops the holds of operations, which a restart has ended; those of images have digests as owners. */
  endOperations(): void {
    this.db.run("DELETE FROM layer_hold WHERE owner NOT LIKE 'sha256:%'");
  }

  isHeld(driver: string, chain: ChainId): boolean {
    return this.db.get('SELECT 1 FROM layer_hold WHERE driver = ? AND chain = ? LIMIT 1', driver, chain) !== undefined;
  }

  /** Drops what one owner holds with one driver. */
  unholdFrom(owner: string, driver: string): void {
    this.db.run('DELETE FROM layer_hold WHERE owner = ? AND driver = ?', owner, driver);
  }

  holds(): { owner: string; driver: string; chain: ChainId }[] {
    return this.db
      .all('SELECT owner, driver, chain FROM layer_hold')
      .map((row) => ({ owner: text(row, 'owner'), driver: text(row, 'driver'), chain: text(row, 'chain') as ChainId }));
  }

  /** Whether a record stands for this snapshot. */
  names(driver: string, snapshot: SnapshotId): boolean {
    return (
      this.hasInit(driver, snapshot) ||
      this.db.get('SELECT 1 FROM layer_snapshot WHERE driver = ? AND snapshot = ?', driver, snapshot) !== undefined ||
      this.db.get('SELECT 1 FROM layer_writable WHERE driver = ? AND snapshot = ?', driver, snapshot) !== undefined
    );
  }

  /** Whether there is any record of this driver. */
  uses(driver: string): boolean {
    return ['layer_snapshot', 'layer_init', 'layer_writable'].some(
      (table) => this.db.get(`SELECT 1 FROM ${table} WHERE driver = ? LIMIT 1`, driver) !== undefined,
    );
  }

  writable(container: string): WritableRecord | undefined {
    const row = this.db.get('SELECT * FROM layer_writable WHERE container = ?', container);
    return row && toWritable(row);
  }

  writables(): WritableRecord[] {
    return this.db.all('SELECT * FROM layer_writable').map(toWritable);
  }

  /** On disk no later than the container's own record, which follows: before that nobody misses it. */
  addWritable(record: WritableRecord): void {
    this.db.volatile(() =>
      this.db.run(
        'INSERT INTO layer_writable VALUES (?, ?, ?, ?, ?)',
        record.container,
        record.driver,
        record.snapshot,
        record.chain ?? null,
        record.quota ?? null,
      ),
    );
  }

  /** The same layer is kept by another driver from now on. */
  moveWritable(container: string, driver: string): void {
    this.db.run('UPDATE layer_writable SET driver = ? WHERE container = ?', driver, container);
  }

  /** When a power cut brings it back, whoever removed the layer finds that and does it again. */
  removeWritable(container: string): void {
    this.db.volatile(() => this.db.run('DELETE FROM layer_writable WHERE container = ?', container));
  }
}
