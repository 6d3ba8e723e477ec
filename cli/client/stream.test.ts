import { PassThrough } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { demultiplex, documents } from './stream.js';

const frame = (kind: number, text: string): Buffer => {
  const header = Buffer.alloc(8);
  header[0] = kind;
  header.writeUInt32BE(Buffer.byteLength(text), 4);
  return Buffer.concat([header, Buffer.from(text)]);
};

const cut = async function* (data: Buffer, size: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < data.length; at += size) yield data.subarray(at, at + size);
};

const part = async (source: AsyncIterable<Buffer>): Promise<[string, string]> => {
  const [out, err] = [new PassThrough(), new PassThrough()];
  await demultiplex(source, out, err);
  out.end();
  err.end();
  return [Buffer.concat(await out.toArray()).toString(), Buffer.concat(await err.toArray()).toString()];
};

describe('a framed stream', () => {
  const data = Buffer.concat([frame(1, 'one '), frame(2, 'bad'), frame(1, ''), frame(1, 'two')]);

  it.each([1, 3, 7, 8, 9, 1000])('is parted the same when it comes in pieces of %d', async (size) => {
    expect(await part(cut(data, size))).toEqual(['one two', 'bad']);
  });

  it('tells of an error that the engine met on the way', async () => {
    await expect(part(cut(Buffer.concat([frame(1, 'a'), frame(3, 'log is gone')]), 5))).rejects.toThrow(
      'error from daemon in stream: log is gone',
    );
  });

  it('is refused when it has no frames', async () => {
    await expect(part(cut(Buffer.from('plain text, no frames'), 100))).rejects.toThrow();
  });

  it('waits for a slow reader', async () => {
    const out = new PassThrough({ highWaterMark: 4 });
    let pulled = 0;
    const source = (async function* () {
      for (; pulled < 20; pulled++) yield frame(1, 'xxxxxxxx');
    })();
    const done = demultiplex(source, out, new PassThrough());
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(pulled).toBeLessThan(5);
    out.resume();
    await done;
    expect(pulled).toBe(20);
  });
});

describe('a stream of documents', () => {
  it.each([1, 2, 5, 100])('is read in pieces of %d bytes', async (size) => {
    const text = Buffer.from('{"a":"é"}\r\n\n{"b":2}\n\u001e{"c":3}');
    const found: unknown[] = [];
    for await (const document of documents(cut(text, size))) found.push(document);
    expect(found).toEqual([{ a: 'é' }, { b: 2 }, { c: 3 }]);
  });
});
