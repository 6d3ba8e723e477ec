import { EngineError, conflict, invalid } from '../contracts/errors.js';
import { isId } from '../contracts/ids.js';
import type { Database } from '../state/database.js';
import type { Container, ContainerState } from './container.js';

/** Docker's text, which clients search for. */
export const noSuchContainer = (name: string): EngineError => new EngineError('not-found', `No such container: ${name}`);

/** The records of all containers, in memory and in the database. Reads never touch the disk. */
export class ContainerStore {
  private readonly byId = new Map<string, Container>();
  /** Names of records and of creations under way. */
  private readonly names = new Map<string, string>();

  constructor(private readonly db: Database) {}

  /** Brings the tables up to date and reads every record. */
  open(): void {
    this.db.migrate('container', [
      `CREATE TABLE container (
         id TEXT PRIMARY KEY,
         name TEXT NOT NULL UNIQUE,
         image_id TEXT NOT NULL,
         status TEXT NOT NULL,
         document TEXT NOT NULL
       ) STRICT`,
    ]);
    for (const row of this.db.all('SELECT document FROM container')) {
      const container = JSON.parse(String(row['document'])) as Container;
      this.byId.set(container.id, container);
      this.names.set(container.name, container.id);
    }
  }

  /** By full id. */
  byFullId(id: string): Container | undefined {
    return this.byId.get(id);
  }

  /** By full id, exact name (with or without slash), or unique id prefix. */
  get(name: string): Container {
    const found = this.find(name);
    if (!found) throw noSuchContainer(name);
    return found;
  }

  /** As {@link get}, `undefined` for none; an ambiguous prefix still throws. */
  find(name: string): Container | undefined {
    if (isId(name)) {
      const exact = this.byId.get(name);
      if (exact) return exact;
    }
    const named = this.names.get(name.startsWith('/') ? name.slice(1) : name);
    if (named !== undefined) {
      const container = this.byId.get(named);
      if (container) return container;
    }
    if (!/^[0-9a-f]{1,64}$/.test(name)) return undefined;
    let found: Container | undefined;
    for (const [id, container] of this.byId) {
      if (!id.startsWith(name)) continue;
      if (found) throw invalid(`Multiple IDs found with provided prefix: ${name}`);
      found = container;
    }
    return found;
  }

  /** Newest first. */
  list(): Container[] {
    return [...this.byId.values()].toSorted((a, b) => (a.created < b.created ? 1 : a.created > b.created ? -1 : 0));
  }

  get size(): number {
    return this.byId.size;
  }

  nameTaken(name: string): boolean {
    return this.names.has(name);
  }

  /** Holds a name for `id` until its record is inserted; `conflict` when it is taken. The returned function gives it back when no record took it over. */
  reserve(name: string, id: string): () => void {
    const holder = this.names.get(name);
    if (holder !== undefined) throw nameConflict(name, holder);
    this.names.set(name, id);
    return () => {
      if (!this.byId.has(id) && this.names.get(name) === id) this.names.delete(name);
    };
  }

  /** Writes a new record. Synced when it returns. */
  insert(container: Container): void {
    const holder = this.names.get(container.name);
    if (holder !== undefined && holder !== container.id) throw nameConflict(container.name, holder);
    this.db.run(
      'INSERT INTO container (id, name, image_id, status, document) VALUES (?, ?, ?, ?, ?)',
      container.id,
      container.name,
      container.imageId,
      container.state.status,
      JSON.stringify(container),
    );
    this.byId.set(container.id, container);
    this.names.set(container.name, container.id);
  }

  /** Replaces a record, and its name when that changed. Synced when it returns. */
  put(container: Container): void {
    const old = this.byId.get(container.id);
    if (!old) throw noSuchContainer(container.id);
    const holder = this.names.get(container.name);
    if (holder !== undefined && holder !== container.id) throw nameConflict(container.name, holder);
    this.db.run(
      'UPDATE container SET name = ?, image_id = ?, status = ?, document = ? WHERE id = ?',
      container.name,
      container.imageId,
      container.state.status,
      JSON.stringify(container),
      container.id,
    );
    if (old.name !== container.name) this.names.delete(old.name);
    this.names.set(container.name, container.id);
    this.byId.set(container.id, container);
  }

  /** Changes some fields of a record; `undefined` when it is gone. */
  update(id: string, change: (container: Container) => Partial<Container>): Container | undefined {
    const old = this.byId.get(id);
    if (!old) return undefined;
    const container = { ...old, ...change(old) };
    this.put(container);
    return container;
  }

  updateState(id: string, change: Partial<ContainerState>): Container | undefined {
    return this.update(id, (old) => ({ state: { ...old.state, ...change } }));
  }

  /** Changes what need not survive a restart: health, exec ids. */
  remember(id: string, change: (container: Container) => Partial<Container>): void {
    const old = this.byId.get(id);
    if (old) this.byId.set(id, { ...old, ...change(old) });
  }

  /** Absent is fine. */
  delete(id: string): void {
    this.db.run('DELETE FROM container WHERE id = ?', id);
    const old = this.byId.get(id);
    this.byId.delete(id);
    if (old && this.names.get(old.name) === id) this.names.delete(old.name);
  }
}

function nameConflict(name: string, holder: string): EngineError {
  return conflict(
    `Conflict. The container name "/${name}" is already in use by container "${holder}". You have to remove (or rename) that container to be able to reuse that name.`,
  );
}
