import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { ContentStore } from '@gantry/core/content/content-store.js';
import { isDigest } from '@gantry/core/contracts/ids.js';
import { Database } from '@gantry/core/state/database.js';
import { silentLog, testSettings } from '@gantry/test/fakes/settings.js';

const repository = fileURLToPath(new URL('../..', import.meta.url));
const dist = join(repository, 'core', 'dist');
const isCompiled = existsSync(join(dist, 'content', 'content-store.js'));
if (!isCompiled) console.log('skipped: killing a process that writes blobs needs the compiled core');

/** Writes, holds, lets go and collects for ever; says each digest once its commit with a hold came back. */
const program = `
import ${JSON.stringify(join(repository, 'node_modules/reflect-metadata/Reflect.js'))};
import { randomBytes } from 'node:crypto';
import { writeSync } from 'node:fs';
const { ContentStore } = await import(${JSON.stringify(join(dist, 'content/content-store.js'))});
const { Database } = await import(${JSON.stringify(join(dist, 'state/database.js'))});
const root = process.argv[1];
const db = Database.open(root + '/state.db');
const store = new ContentStore({ dataRoot: root }, db, { warn() {} });
await store.open();
async function write(kept) {
  for (let turn = 0; ; turn++) {
    const writer = await store.writer();
    for (let part = 0; part < 4; part++) await writer.write(randomBytes(10_000));
    const { digest } = await writer.commit({ owner: kept ? 'kept' : 'passing' });
    if (kept) writeSync(1, digest + '\\n');
    else if (turn % 3 === 0) { store.release('passing'); await store.collect(); }
  }
}
await Promise.all([write(true), write(true), write(false)]);
`;

async function killedAfter(root: string, milliseconds: number): Promise<string[]> {
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', '--input-type=module', '-e', program, root], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let told = '';
  child.stdout.on('data', (chunk: Buffer) => {
    if (told === '') setTimeout(() => child.kill('SIGKILL'), milliseconds);
    told += chunk.toString();
  });
  await new Promise((resolve) => child.once('close', resolve));
  return told.split('\n').filter(isDigest);
}

describe.skipIf(!isCompiled)('a content store whose process is killed', () => {
  it('has every blob that it said it has, whole, and nothing half-written', { timeout: 120_000 }, async () => {
    const root = await mkdtemp(join(tmpdir(), 'gantry-kill-'));
    const promised = new Set<string>();
    try {
      for (let round = 0; round < 12; round++) {
        for (const digest of await killedAfter(root, 5 + 17 * round)) promised.add(digest);
        const db = Database.open(join(root, 'state.db'));
        const store = new ContentStore(testSettings({ dataRoot: root }), db, silentLog);
        await store.open();
        expect(await readdir(join(root, 'content', 'ingest'))).toEqual([]);
        store.release('passing');
        await store.collect();
        const visible = await readdir(join(root, 'content', 'blobs', 'sha256'));
        for (const hex of visible) {
          const bytes = await readFile(join(root, 'content', 'blobs', 'sha256', hex));
          expect(createHash('sha256').update(bytes).digest('hex')).toBe(hex);
        }
        const there = new Set(visible.map((hex) => `sha256:${hex}`));
        expect([...promised].filter((digest) => !there.has(digest))).toEqual([]);
        db.close();
      }
      expect(promised.size).toBeGreaterThan(12);
    } finally {
      await rm(root, { recursive: true });
    }
  });
});
