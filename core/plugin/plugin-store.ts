import { EngineError, conflict } from '../contracts/errors.js';
import type { Database } from '../state/database.js';
import { familiarForm, parseReference, tagged } from '../content/reference.js';
import type { Plugin } from './plugins.js';

/** The name that a user's word stands for: familiar, with a tag. */
export const pluginName = (text: string): string => familiarForm(tagged(parseReference(text)));

/** Records of plugins, in memory and in the database. */
export class PluginStore {
  private readonly plugins = new Map<string, Plugin>();

  constructor(private readonly db: Database) {}

  open(): void {
    this.db.migrate('plugin', ['CREATE TABLE plugin (id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, document TEXT NOT NULL) STRICT']);
    for (const row of this.db.all('SELECT document FROM plugin')) {
      const plugin = JSON.parse(String(row['document'])) as Plugin;
      this.plugins.set(plugin.id, plugin);
    }
  }

  list(): Plugin[] {
    return [...this.plugins.values()].toSorted((a, b) => (a.name < b.name ? -1 : 1));
  }

  get(id: string): Plugin | undefined {
    return this.plugins.get(id);
  }

  /** By id, name with or without tag, or the beginning of an id that is one plugin's alone. */
  find(word: string): Plugin | undefined {
    const byId = this.plugins.get(word);
    if (byId) return byId;
    const name = readName(word);
    const all = this.list();
    const byName = name === undefined ? undefined : all.find((plugin) => plugin.name === name);
    if (byName || !/^[0-9a-f]{1,64}$/.test(word)) return byName;
    const byPrefix = all.filter(({ id }) => id.startsWith(word));
    if (byPrefix.length > 1) throw conflict(`plugin id ${word} is ambiguous`);
    return byPrefix[0];
  }

  known(word: string): Plugin {
    const plugin = this.find(word);
    if (!plugin) throw new EngineError('not-found', `plugin ${JSON.stringify(word)} not found`);
    return plugin;
  }

  /** `also` is done in the same transaction. */
  put(plugin: Plugin, also: () => void = () => undefined): void {
    this.db.transaction(() => {
      this.db.run(
        'INSERT INTO plugin VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE SET name = excluded.name, document = excluded.document',
        plugin.id,
        plugin.name,
        JSON.stringify(plugin),
      );
      also();
    });
    this.plugins.set(plugin.id, plugin);
  }

  delete(id: string, also: () => void): void {
    this.db.transaction(() => {
      this.db.run('DELETE FROM plugin WHERE id = ?', id);
      also();
    });
    this.plugins.delete(id);
  }
}

/** What is no reference is no plugin's name. */
function readName(word: string): string | undefined {
  try {
    return pluginName(word);
  } catch {
    return undefined;
  }
}
