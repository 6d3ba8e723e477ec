import type { Database } from '../state/database.js';
import type { Volume } from './volumes.js';

/** Records of volumes and of the containers that name them, in memory and in the database. */
export class VolumeStore {
  private readonly volumes = new Map<string, Volume>();
  private readonly references = new Map<string, Set<string>>();

  private boot = '';

  constructor(private readonly db: Database) {}

  /** `boot` tells one run of the kernel from another. */
  open(boot: string): void {
    this.boot = boot;
    this.db.migrate('volume', [
      `CREATE TABLE volume (name TEXT PRIMARY KEY, driver TEXT NOT NULL, document TEXT NOT NULL) STRICT;
       CREATE TABLE volume_reference (name TEXT NOT NULL, container TEXT NOT NULL, PRIMARY KEY (name, container)) STRICT`,
      `CREATE TABLE volume_mount
       (name TEXT NOT NULL, container TEXT NOT NULL, path TEXT NOT NULL, boot TEXT NOT NULL, PRIMARY KEY (name, container)) STRICT`,
    ]);
    for (const row of this.db.all('SELECT document FROM volume')) {
      const volume = JSON.parse(String(row['document'])) as Volume;
      this.volumes.set(volume.name, volume);
    }
    for (const row of this.db.all('SELECT name, container FROM volume_reference')) {
      this.referencesOf(String(row['name'])).add(String(row['container']));
    }
  }

  get(name: string): Volume | undefined {
    return this.volumes.get(name);
  }

  list(): Volume[] {
    return [...this.volumes.values()].toSorted((a, b) => (a.name < b.name ? -1 : 1));
  }

  put(volume: Volume): void {
    this.db.run(
      'INSERT INTO volume VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE SET driver = excluded.driver, document = excluded.document',
      volume.name,
      volume.driver,
      JSON.stringify(volume),
    );
    this.volumes.set(volume.name, volume);
  }

  delete(name: string): void {
    this.db.transaction(() => {
      this.db.run('DELETE FROM volume_reference WHERE name = ?', name);
      this.db.run('DELETE FROM volume_mount WHERE name = ?', name);
      this.db.run('DELETE FROM volume WHERE name = ?', name);
    });
    this.volumes.delete(name);
    this.references.delete(name);
  }

  /** `also` is done in the same transaction. */
  rename(volume: Volume, to: string, also: () => void): Volume {
    const renamed = { ...volume, name: to };
    this.db.transaction(() => {
      this.delete(volume.name);
      this.put(renamed);
      also();
    });
    return renamed;
  }

  /** Container ids. */
  users(name: string): string[] {
    return [...(this.references.get(name) ?? [])];
  }

  addReference(name: string, container: string): void {
    this.db.run('INSERT OR IGNORE INTO volume_reference VALUES (?, ?)', name, container);
    this.referencesOf(name).add(container);
  }

  removeReference(name: string, container: string): void {
    this.db.run('DELETE FROM volume_reference WHERE name = ? AND container = ?', name, container);
    this.references.get(name)?.delete(container);
  }

  /** That a driver was asked to mount a volume for a container, also by a former daemon, and where it said that it is: '' while it has not answered, or when that was before the last boot. */
  mountOf(name: string, container: string): string | undefined {
    const row = this.db.get('SELECT path, boot FROM volume_mount WHERE name = ? AND container = ?', name, container);
    if (row === undefined) return undefined;
    return row['boot'] === this.boot ? String(row['path']) : '';
  }

  /** Outlives the daemon; a power cut ends every mount in any case. */
  putMount(name: string, container: string, path: string): void {
    this.db.volatile(() => {
      this.db.run(
        'INSERT INTO volume_mount VALUES (?, ?, ?, ?) ON CONFLICT (name, container) DO UPDATE SET path = excluded.path, boot = excluded.boot',
        name,
        container,
        path,
        this.boot,
      );
    });
  }

  deleteMount(name: string, container: string): void {
    this.db.volatile(() => {
      this.db.run('DELETE FROM volume_mount WHERE name = ? AND container = ?', name, container);
    });
  }

  allMounts(): [string, string][] {
    return this.db.all('SELECT name, container FROM volume_mount').map((row) => [String(row['name']), String(row['container'])]);
  }

  /** Every (name, container) pair. */
  allReferences(): [string, string][] {
    return [...this.references].flatMap(([name, containers]) => [...containers].map((id): [string, string] => [name, id]));
  }

  private referencesOf(name: string): Set<string> {
    const set = this.references.get(name) ?? new Set();
    this.references.set(name, set);
    return set;
  }
}
