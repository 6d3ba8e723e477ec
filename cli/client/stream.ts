import type { Writable } from 'node:stream';
import { parseJson } from '../render/template-value.js';

const headerLength = 8;
/** What no engine sends in one frame; a longer length means that the stream is not framed. */
const frameLimit = 64 * 1024 * 1024;

/**
 * Parts a framed stream into stdout and stderr. Frames come in any cutting; a frame of the fourth kind is an error that
 * the engine met after it had started to answer.
 */
export const demultiplex = async (source: AsyncIterable<Buffer>, stdout: Writable, stderr: Writable): Promise<void> => {
  let pending: Buffer = Buffer.alloc(0);
  let left = 0;
  let kind = 0;
  const failure: Buffer[] = [];

  const deliver = async (data: Buffer): Promise<void> => {
    if (kind === 3) failure.push(data);
    else if (kind === 2) await put(stderr, data);
    else if (kind === 1 || kind === 0) await put(stdout, data);
    else throw new Error(`Unrecognized input header: ${kind}`);
  };

  for await (const piece of source) {
    let data: Buffer = pending.length === 0 ? piece : Buffer.concat([pending, piece]);
    pending = Buffer.alloc(0);
    while (data.length > 0) {
      if (left > 0) {
        const part = data.subarray(0, left);
        await deliver(part);
        left -= part.length;
        data = data.subarray(part.length);
        if (left === 0 && kind === 3) throw new Error(`error from daemon in stream: ${Buffer.concat(failure).toString('utf8')}`);
        continue;
      }
      if (data.length < headerLength) {
        pending = data;
        break;
      }
      kind = data[0] as number;
      left = data.readUInt32BE(4);
      if (left > frameLimit) throw new Error('the stream of the engine is garbled');
      data = data.subarray(headerLength);
    }
  }
};

/** Everything to one place, for streams without frames. */
export const copyTo = async (source: AsyncIterable<Uint8Array>, target: Writable): Promise<void> => {
  for await (const piece of source) await put(target, piece);
};

/** Writes and waits while the target is full, so that a slow reader slows its source instead of filling memory. */
export const put = async (target: Writable, data: Uint8Array): Promise<void> => {
  if (target.write(data)) return;
  await new Promise<void>((resolve) => {
    const done = (): void => {
      target.off('drain', done).off('close', done).off('error', done);
      resolve();
    };
    target.once('drain', done).once('close', done).once('error', done);
  });
};

/** The JSON documents of a stream, one after another, however they are separated and cut. */
export const documents = async function* <T>(source: AsyncIterable<Uint8Array>): AsyncGenerator<T, void, void> {
  const decoder = new TextDecoder();
  let text = '';
  for await (const piece of source) {
    text += decoder.decode(piece, { stream: true });
    let from = 0;
    for (let end = text.indexOf('\n', from); end >= 0; end = text.indexOf('\n', from)) {
      const line = text.slice(from, end).replace('\u001e', '').trim();
      from = end + 1;
      if (line !== '') yield parseJson(line) as T;
    }
    text = text.slice(from);
  }
  const last = (text + decoder.decode()).replace('\u001e', '').trim();
  if (last !== '') yield parseJson(last) as T;
};
