import { EngineError, messageOf } from '../contracts/errors.js';
import { hexOf, parseDigest, sha256, type Digest } from '../contracts/ids.js';
import type { Logger } from '../contracts/manifest.js';
import type { Content } from '../content/content.js';
import { limits } from '../content/limits.js';
import type { Descriptor } from '../content/manifest.js';
import { parseReference } from '../content/reference.js';
import type { LayerSource } from '../layer/layers.js';
import type { Database } from '../state/database.js';
import { parseImageConfig, type ImageConfig } from './image-config.js';

/** One layer of an image and the blob that holds it. */
export interface StoredLayer extends LayerSource {
  readonly size: number;
  readonly mediaType: string;
}

/** An image as the database has it, with its configuration parsed. */
export interface ImageRecord {
  readonly id: Digest;
  readonly image: ImageConfig;
  readonly layers: readonly StoredLayer[];
  /** The manifest it came with; `undefined` for one that was made here and never pushed. */
  readonly manifest: Descriptor | undefined;
  /** Id of the image that this one was committed from, or ''. */
  readonly parent: string;
  /** RFC 3339, '' when never. */
  readonly lastTagged: string;
}

const SCHEMA = [
  `CREATE TABLE image (
     id TEXT PRIMARY KEY, layers TEXT NOT NULL, manifest TEXT, parent TEXT NOT NULL, last_tagged TEXT NOT NULL) STRICT;
   CREATE TABLE image_name (
     name TEXT PRIMARY KEY, image TEXT NOT NULL REFERENCES image (id)) STRICT`,
];

export const holderOf = (id: Digest): string => `image:${id}`;

/**
 * The images of this machine and their names. Everything is also in memory, so reading waits for nothing; every change is
 * in the database before it is in memory. Names are full forms: `docker.io/library/a:tag`, `docker.io/library/a@sha256:…`.
 */

export class ImageStore {
  private readonly images = new Map<Digest, ImageRecord>();
  private readonly ids = new Map<string, Digest>();
  private readonly names = new Map<Digest, Set<string>>();

  constructor(
    private readonly db: Database,
    private readonly content: Content,
    private readonly log: Logger,
  ) {}

  /** Reads all records. An image whose configuration cannot be read is left out, with a warning; its record stays. */
  async open(): Promise<void> {
    this.db.migrate('image', SCHEMA);
    await Promise.all(
      this.db.all('SELECT id, layers, manifest, parent, last_tagged FROM image').map(async (row) => {
        const id = parseDigest(String(row['id']));
        try {
          const bytes = await this.content.read(id, limits.configBytes);
          if (sha256(bytes) !== id) throw new EngineError('system', `its configuration is damaged: the bytes have ${sha256(bytes)}`);
          const image = parseImageConfig(bytes);
          const manifest = row['manifest'];
          this.images.set(id, {
            id,
            image,
            layers: JSON.parse(String(row['layers'])) as StoredLayer[],
            manifest: manifest === null ? undefined : (JSON.parse(String(manifest)) as Descriptor),
            parent: String(row['parent']),
            lastTagged: String(row['last_tagged']),
          });
        } catch (error) {
          this.log.warn('an image cannot be read and is not shown', { image: id, error: messageOf(error) });
        }
      }),
    );
    for (const row of this.db.all('SELECT name, image FROM image_name')) {
      const id = parseDigest(String(row['image']));
      if (this.images.has(id)) this.remember(String(row['name']), id);
    }
  }

  get(id: Digest): ImageRecord | undefined {
    return this.images.get(id);
  }

  all(): ImageRecord[] {
    return [...this.images.values()];
  }

  /** The image that a full form names. */
  named(name: string): ImageRecord | undefined {
    const id = this.ids.get(name);
    return id === undefined ? undefined : this.images.get(id);
  }

  /** The one image whose id begins with these hex digits; `undefined` for none and for several. */
  byPrefix(hex: string): ImageRecord | undefined {
    if (hex.length === 64) return this.images.get(parseDigest(`sha256:${hex}`));
    const found = [...this.images.values()].filter((record) => hexOf(record.id).startsWith(hex));
    return found.length === 1 ? found[0] : undefined;
  }

  /** Full forms, sorted. */
  namesOf(id: Digest): string[] {
    return [...(this.names.get(id) ?? [])].toSorted();
  }

  /** Full form to id, for all names. */
  allNames(): ReadonlyMap<string, Digest> {
    return this.ids;
  }

  childrenOf(id: Digest): ImageRecord[] {
    return this.all().filter((record) => record.parent === id);
  }

  /** Adds an image or replaces what is known of it, and gives it names, which other images may lose. It holds its own blobs from then on, and no others. */
  put(record: ImageRecord, names: readonly string[], alongside: () => void = () => undefined): void {
    this.db.transaction(() => {
      this.db.run(
        `INSERT INTO image VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET
           layers = excluded.layers, manifest = excluded.manifest, parent = excluded.parent, last_tagged = excluded.last_tagged`,
        record.id,
        JSON.stringify(record.layers),
        record.manifest ? JSON.stringify(record.manifest) : null,
        record.parent,
        record.lastTagged,
      );
      for (const name of names) this.writeName(name, record.id);
      this.holdBlobs(record, [...this.namesOf(record.id), ...names]);
      alongside();
    });
    this.images.set(record.id, record);
    for (const name of names) this.remember(name, record.id);
  }

  /** Gives an image one more name; another image that has it loses it. */
  setName(name: string, id: Digest, lastTagged: string): void {
    this.db.transaction(() => {
      this.writeName(name, id);
      this.db.run('UPDATE image SET last_tagged = ? WHERE id = ?', lastTagged, id);
    });
    const record = this.images.get(id);
    if (record) this.images.set(id, { ...record, lastTagged });
    this.remember(name, id);
  }

  removeName(name: string): void {
    this.db.run('DELETE FROM image_name WHERE name = ?', name);
    this.forget(name);
  }

  /** Takes the record, its names and its holds on blobs away. */
  remove(id: Digest): void {
    this.db.transaction(() => {
      this.db.run('DELETE FROM image_name WHERE image = ?', id);
      this.db.run('DELETE FROM image WHERE id = ?', id);
      this.content.release(holderOf(id));
    });
    for (const name of this.namesOf(id)) this.forget(name);
    this.images.delete(id);
  }

  /** Its configuration, layers and manifest, and what its names by digest stand for: the index that it was chosen from. */
  private holdBlobs(record: ImageRecord, names: readonly string[]): void {
    const named = names.flatMap((name) => parseReference(name).digest ?? []);
    const own = [record.id, ...record.layers.map((layer) => layer.blob), ...(record.manifest ? [record.manifest.digest] : [])];
    this.content.release(holderOf(record.id));
    this.content.hold(holderOf(record.id), [...new Set([...own, ...named])]);
  }

  private writeName(name: string, id: Digest): void {
    this.db.run('INSERT INTO image_name VALUES (?, ?) ON CONFLICT DO UPDATE SET image = excluded.image', name, id);
  }

  private remember(name: string, id: Digest): void {
    this.forget(name);
    this.ids.set(name, id);
    const names = this.names.get(id) ?? new Set();
    this.names.set(id, names.add(name));
  }

  private forget(name: string): void {
    const id = this.ids.get(name);
    if (id === undefined) return;
    this.ids.delete(name);
    const names = this.names.get(id);
    names?.delete(name);
    if (names?.size === 0) this.names.delete(id);
  }
}
