import type { Database } from './database.js';

/** What an operation of several steps set out to do, written before its first side effect. */
export interface Intent {
  readonly id: number;
  /** `container.start`, `image.pull` … : chooses who can finish or undo it. */
  readonly kind: string;
  /** The object's id, from which the names of all it touches follow. */
  readonly subject: string;
  readonly detail: unknown;
}

/** Intents that were begun and not yet ended. What a start of the daemon finds here was cut off by a crash. */
export class Journal {
  constructor(private readonly db: Database) {
    db.migrate('journal', [
      'CREATE TABLE intent (id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, subject TEXT NOT NULL, detail TEXT NOT NULL) STRICT',
    ]);
  }

  /** Synced when it returns. */
  begin(kind: string, subject: string, detail: unknown = null): Intent {
    const row = this.db.get(
      'INSERT INTO intent (kind, subject, detail) VALUES (?, ?, ?) RETURNING id',
      kind,
      subject,
      JSON.stringify(detail),
    );
    return { id: Number(row?.['id']), kind, subject, detail };
  }

  /** Call it in the transaction that writes the operation's record. */
  end(intent: Intent): void {
    this.db.run('DELETE FROM intent WHERE id = ?', intent.id);
  }

  /** Oldest first. */
  pending(): Intent[] {
    return this.db.all('SELECT id, kind, subject, detail FROM intent ORDER BY id').map((row) => ({
      id: Number(row['id']),
      kind: String(row['kind']),
      subject: String(row['subject']),
      detail: JSON.parse(String(row['detail'])) as unknown,
    }));
  }
}
