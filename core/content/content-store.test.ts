import { mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { fakeBlobHost } from '@gantry/test/fakes/host-files.js';
import { silentLog, testSettings } from '@gantry/test/fakes/settings.js';
import { hexOf, sha256 } from '../contracts/ids.js';
import { Database } from '../state/database.js';
import { ContentStore } from './content-store.js';
import { ingestBytes, ingestStream } from './ingest.js';

let root: string;
let db: Database;
let content: ContentStore;
const hello = Buffer.from('hello');
const digest = sha256(hello);

const visible = (): Promise<string[]> => readdir(join(root, 'content', 'blobs', 'sha256'));
const temporary = (): Promise<string[]> => readdir(join(root, 'content', 'ingest'));
const reopen = async (): Promise<ContentStore> => {
  const store = new ContentStore(testSettings({ dataRoot: root }), db, silentLog);
  await store.open();
  return store;
};
async function* chunks(...parts: (Buffer | Error)[]): AsyncGenerator<Buffer> {
  for (const part of parts) {
    if (part instanceof Error) throw part;
    yield part;
  }
}

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'gantry-content-'));
  db = Database.open(':memory:');
  content = await reopen();
});
afterEach(async () => {
  db.close();
  await rm(root, { recursive: true });
});

describe('the content store', () => {
  it('shows a blob only after its commit, under its digest', async () => {
    const writer = await content.writer();
    await writer.write(hello.subarray(0, 2));
    expect(await content.has(digest)).toBe(false);
    await writer.write(hello.subarray(2));
    await writer.commit({ digest, size: 5 });
    expect(await content.read(digest, 10)).toEqual(hello);
    expect(await readFile(await content.path(digest))).toEqual(hello);
    expect((await stat(await content.path(digest))).mode & 0o777).toBe(0o600);
    expect(await temporary()).toEqual([]);
    await writer.abort();
    expect(await content.has(digest)).toBe(true);
  });

  it.each([
    ['another digest', { digest: sha256('other') }],
    ['another length', { digest, size: 4 }],
  ])('leaves nothing of a blob with %s', async (_, expected) => {
    await expect(ingestBytes(content, hello, expected)).rejects.toThrow();
    expect([await visible(), await temporary()]).toEqual([[], []]);
  });

  it('takes bytes that were hashed elsewhere, and counts them itself', async () => {
    const good = await content.reserve();
    await writeFile(good.path, hello);
    await good.adopt({ digest, size: 5 }, { digest });
    expect(await content.size(digest)).toBe(5);
    const short = await content.reserve();
    await writeFile(short.path, 'hell');
    await expect(short.adopt({ digest, size: 5 }, { digest })).rejects.toThrow('4 bytes were written');
    const left = await content.reserve();
    await writeFile(left.path, 'x');
    await left.abort();
    expect(await temporary()).toEqual([]);
  });

  it('removes half-written files of a daemon that was killed, and keeps whole blobs', async () => {
    await ingestBytes(content, hello, {});
    const writer = await content.writer();
    await writer.write(hello);
    await writeFile(join(root, 'content', 'ingest', 'torn'), 'x');
    const next = await reopen();
    expect(await temporary()).toEqual([]);
    expect(await next.has(digest)).toBe(true);
    await writer.abort();
  });

  it('collects what nobody holds, and nothing else', async () => {
    const other = await ingestBytes(content, Buffer.from('other'), { owner: 'b' });
    await ingestBytes(content, hello, {});
    content.hold('a', [digest]);
    content.hold('a', [digest]);
    expect(await content.collect()).toEqual({ removed: [], bytes: 0 });
    content.release('b');
    expect(await content.collect()).toEqual({ removed: [other], bytes: 5 });
    const next = await reopen();
    expect(await next.collect()).toEqual({ removed: [], bytes: 0 });
    next.release('a');
    expect((await next.collect()).removed).toEqual([digest]);
    expect(await visible()).toEqual([]);
  });

  it('lets a hold expire', async () => {
    await ingestBytes(content, hello, {});
    content.hold('pull', [digest], Date.now() + 60_000);
    expect((await content.collect()).removed).toEqual([]);
    content.hold('pull', [digest], Date.now() - 1);
    expect((await content.collect()).removed).toEqual([digest]);
  });

  it('never loses a blob to a collection that runs while it arrives or is asked for', async () => {
    for (let round = 0; round < 50; round++) {
      await ingestBytes(content, hello, {});
      const [, found] = await Promise.all([
        content.collect(),
        (async () => {
          for (let turns = 0; turns < round % 7; turns++) await Promise.resolve();
          content.hold('late', [digest]);
          return content.has(digest);
        })(),
      ]);
      expect(await content.has(digest)).toBe(found);
      content.release('late');
      await content.collect();
    }
  });

  it('refuses to read a blob that is too large, absent, or named badly', async () => {
    await ingestBytes(content, hello, {});
    await expect(content.read(digest, 4)).rejects.toThrow('more than 4');
    await expect(content.read(sha256('none'), 4)).rejects.toMatchObject({ kind: 'not-found' });
    await expect(content.path(sha256('none'))).rejects.toMatchObject({ kind: 'not-found' });
    await truncate(join(root, 'content', 'blobs', 'sha256', hexOf(digest)), 3);
    expect(await content.usage()).toBe(3);
  });
});

describe('a blob that comes through a pipe', () => {
  it('is stored whole, larger than the pipe', async () => {
    const big = Buffer.alloc(1_000_000, 'x');
    await ingestStream(fakeBlobHost(), content, chunks(big, hello), { digest: sha256(Buffer.concat([big, hello])) }, 2_000_000);
    expect(await visible()).toHaveLength(1);
  });

  it.each<[string, () => Promise<unknown>]>([
    ['its source fails', () => ingestStream(fakeBlobHost(), content, chunks(hello, new Error('reset')), {}, 100)],
    ['it is too long', () => ingestStream(fakeBlobHost(), content, chunks(hello, hello), {}, 9)],
    ['it has another digest', () => ingestStream(fakeBlobHost(), content, chunks(hello), { digest: sha256('x') }, 9)],
    [
      'the disk is full',
      () => {
        const full = fakeBlobHost({
          ingest: () => Promise.reject(Object.assign(new Error('no space left on device'), { code: 'ENOSPC' })),
        });
        return ingestStream(full, content, chunks(Buffer.alloc(500_000), Buffer.alloc(500_000)), {}, 2_000_000);
      },
    ],
  ])('leaves nothing when %s', async (_, store) => {
    await expect(store()).rejects.toThrow();
    expect([await visible(), await temporary()]).toEqual([[], []]);
  });

  it('tells the cause when the disk is full, not the broken pipe', async () => {
    const full = fakeBlobHost({ ingest: () => Promise.reject(new Error('no space left on device')) });
    await expect(ingestStream(full, content, chunks(Buffer.alloc(500_000), Buffer.alloc(500_000)), {}, 2_000_000)).rejects.toThrow(
      'no space left',
    );
  });
});
