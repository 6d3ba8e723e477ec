import { createReadStream } from 'node:fs';
import { Readable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { host } from '@gantry/native/index.js';
import { feed } from './feed.js';

const readAll = async (fd: number): Promise<number> => {
  let size = 0;
  for await (const chunk of createReadStream('', { fd, autoClose: false }) as AsyncIterable<Buffer>) size += chunk.length;
  return size;
};

describe('feeding a pipe', () => {
  it('brings all of a source, whatever its size', async () => {
    const source = Readable.from(Array.from({ length: 50 }, () => Buffer.alloc(100_000)));
    expect(await feed(host, source, readAll)).toBe(5_000_000);
  });

  it('tells why the reader gave up, and leaves the source as it is', async () => {
    const source = Readable.from(Array.from({ length: 50 }, () => Buffer.alloc(100_000)));
    await expect(feed(host, source, () => Promise.reject(new Error('not an archive')))).rejects.toThrow('not an archive');
    expect(source.destroyed).toBe(false);
  });

  it('tells of a source that broke off rather than of what the reader made of it', async () => {
    async function* broken(): AsyncGenerator<Buffer> {
      yield Buffer.alloc(10);
      throw new Error('the client left');
    }
    await expect(feed(host, Readable.from(broken()), readAll)).rejects.toThrow('the client left');
  });
});
