import { createHash, randomBytes, type Hash } from 'node:crypto';
import { constants } from 'node:fs';
import { mkdir, open, readdir, rename, rm, stat, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { inject, injectable } from 'tsyringe';
import { EngineError, invalid, messageOf, notFound } from '../contracts/errors.js';
import { hexOf, isDigest, type Digest } from '../contracts/ids.js';
import type { Logger } from '../contracts/manifest.js';
import type { Database } from '../state/database.js';
import type { Settings } from '../system/settings.js';
import { Tokens } from '../tokens.js';
import type { BlobWriter, Content, ExpectedBlob, ReservedBlob } from './content.js';

const SCHEMA = [
  `CREATE TABLE content_hold (
     owner TEXT NOT NULL, digest TEXT NOT NULL, expires INTEGER, PRIMARY KEY (owner, digest)) STRICT, WITHOUT ROWID;
   CREATE INDEX content_hold_digest ON content_hold (digest)`,
];

const isAbsent = (error: unknown): boolean => (error as NodeJS.ErrnoException).code === 'ENOENT';

/**
 * Blobs in `content/blobs/sha256/HEX` below the data root. What is being written lies in `content/ingest`, on the same file
 * system, under a random name; it is renamed into place when length and digest are right and the data is synced. A crash
 * leaves files in `ingest` only, and the next `open` removes them: the database allows one daemon on a data root.
 */
@injectable()
export class ContentStore implements Content {
  private readonly blobs: string;
  private readonly ingest: string;
  /** Removals under way: who asks for such a blob waits, so that an answer stays true for a holder. */
  private readonly removing = new Map<Digest, Promise<void>>();

  constructor(
    @inject(Tokens.Settings) settings: Settings,
    @inject(Tokens.Database) private readonly db: Database,
    @inject(Tokens.Log) private readonly log: Logger,
  ) {
    this.blobs = join(settings.dataRoot, 'content', 'blobs', 'sha256');
    this.ingest = join(settings.dataRoot, 'content', 'ingest');
  }

  /** Makes the folders and tables, and removes what a crash left half-written. */
  async open(): Promise<void> {
    this.db.migrate('content', SCHEMA);
    await mkdir(this.blobs, { recursive: true, mode: 0o700 });
    await mkdir(this.ingest, { recursive: true, mode: 0o700 });
    for (const name of await readdir(this.ingest)) await rm(join(this.ingest, name), { recursive: true, force: true });
  }

  async has(digest: Digest): Promise<boolean> {
    return (await this.size(digest)) !== undefined;
  }

  async size(digest: Digest): Promise<number | undefined> {
    await this.removing.get(digest);
    try {
      return (await stat(this.fileOf(digest))).size;
    } catch (error) {
      if (isAbsent(error)) return undefined;
      throw error;
    }
  }

  async path(digest: Digest): Promise<string> {
    if (!(await this.has(digest))) throw notFound('blob', digest);
    return this.fileOf(digest);
  }

  async read(digest: Digest, limit: number): Promise<Buffer> {
    await this.removing.get(digest);
    const file = await open(this.fileOf(digest), constants.O_RDONLY).catch((error: unknown) => {
      throw isAbsent(error) ? notFound('blob', digest, error) : error;
    });
    try {
      const { size } = await file.stat();
      if (size > limit) throw invalid(`blob ${digest} has ${size} bytes, more than ${limit}`);
      return await file.readFile();
    } finally {
      await file.close();
    }
  }

  async writer(): Promise<BlobWriter> {
    const path = this.temporary();
    const file = await open(path, 'wx', 0o600);
    return new FileBlobWriter(file, path, (found, expected) => this.adopt(path, found, expected));
  }

  async reserve(): Promise<ReservedBlob> {
    const path = this.temporary();
    let unsettled = true;
    return {
      path,
      adopt: async (found, expected) => {
        unsettled = false;
        const written = await stat(path);
        if (written.size !== found.size) {
          await rm(path, { force: true });
          throw new EngineError('system', `a blob of ${found.size} bytes was announced and ${written.size} bytes were written`);
        }
        await this.adopt(path, found, expected);
      },
      abort: async () => {
        if (unsettled) await rm(path, { force: true });
        unsettled = false;
      },
    };
  }

  hold(owner: string, digests: readonly Digest[], expires?: number): void {
    this.db.transaction(() => {
      for (const digest of digests)
        this.db.run(
          'INSERT INTO content_hold VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET expires = excluded.expires',
          owner,
          digest,
          expires ?? null,
        );
    });
  }

  release(owner: string): void {
    this.db.run('DELETE FROM content_hold WHERE owner = ?', owner);
  }

  async collect(): Promise<{ removed: Digest[]; bytes: number }> {
    this.db.run('DELETE FROM content_hold WHERE expires <= ?', Date.now());
    const removed: Digest[] = [];
    let bytes = 0;
    for (const { digest, size } of await this.list()) {
      if (await this.removeUnheld(digest)) {
        removed.push(digest);
        bytes += size;
      }
    }
    if (removed.length > 0) await syncFolder(this.blobs);
    return { removed, bytes };
  }

  async usage(): Promise<number> {
    return (await this.list()).reduce((sum, blob) => sum + blob.size, 0);
  }

  private async list(): Promise<{ digest: Digest; size: number }[]> {
    const found: { digest: Digest; size: number }[] = [];
    for (const hex of await readdir(this.blobs)) {
      const digest = `sha256:${hex}`;
      if (!isDigest(digest)) continue;
      const size = await this.size(digest);
      if (size !== undefined) found.push({ digest, size });
    }
    return found;
  }

  private async removeUnheld(digest: Digest): Promise<boolean> {
    // Between this look and the entry in `removing` nothing else runs, so a hold either is seen here or its owner waits there.
    if (this.db.get('SELECT 1 FROM content_hold WHERE digest = ? LIMIT 1', digest)) return false;
    const removal = rm(this.fileOf(digest), { force: true }).catch((error: unknown) =>
      this.log.warn('removing a blob failed', { digest, error: messageOf(error) }),
    );
    this.removing.set(digest, removal);
    await removal;
    this.removing.delete(digest);
    return true;
  }

  private async adopt(path: string, found: { digest: Digest; size: number }, expected: ExpectedBlob): Promise<void> {
    try {
      if (expected.size !== undefined && expected.size !== found.size)
        throw new EngineError('system', `blob has ${found.size} bytes where ${expected.size} were expected`);
      if (expected.digest !== undefined && expected.digest !== found.digest)
        throw new EngineError(
          'system',
          `filesystem layer verification failed for digest ${expected.digest}: the bytes have ${found.digest}`,
        );
      if (expected.owner !== undefined) this.hold(expected.owner, [found.digest]);
      await this.removing.get(found.digest);
      await rename(path, this.fileOf(found.digest));
      await syncFolder(this.blobs);
    } catch (error) {
      await rm(path, { force: true });
      throw error;
    }
  }

  private fileOf(digest: Digest): string {
    return join(this.blobs, hexOf(digest));
  }

  private temporary(): string {
    return join(this.ingest, randomBytes(16).toString('hex'));
  }
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

/** Hashes on the event loop: for manifests, configurations and other small blobs. */
class FileBlobWriter implements BlobWriter {
  private readonly hash: Hash = createHash('sha256');
  private size = 0;
  private file: FileHandle | undefined;

  constructor(
    file: FileHandle,
    private readonly path: string,
    private readonly adopt: (found: { digest: Digest; size: number }, expected: ExpectedBlob) => Promise<void>,
  ) {
    this.file = file;
  }

  async write(chunk: Uint8Array): Promise<void> {
    if (!this.file) throw new EngineError('system', 'the blob is closed');
    this.hash.update(chunk);
    this.size += chunk.byteLength;
    await this.file.writeFile(chunk);
  }

  async commit(expected: ExpectedBlob): Promise<{ digest: Digest; size: number }> {
    const file = this.file;
    if (!file) throw new EngineError('system', 'the blob is closed');
    this.file = undefined;
    try {
      // After a failed fsync the pages may be marked clean and lost: the blob is given up, never synced again.
      await file.sync();
    } catch (error) {
      await file.close().catch(() => undefined);
      await rm(this.path, { force: true });
      throw error;
    }
    await file.close();
    const found = { digest: `sha256:${this.hash.digest('hex')}` as Digest, size: this.size };
    await this.adopt(found, expected);
    return found;
  }

  async abort(): Promise<void> {
    const file = this.file;
    if (!file) return;
    this.file = undefined;
    await file.close();
    await rm(this.path, { force: true });
  }
}
