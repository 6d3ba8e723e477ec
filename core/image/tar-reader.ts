import { invalid } from '../contracts/errors.js';

const BLOCK = 512;
/** Bytes of one entry that only describes the next one. */
const META = 1024 * 1024;

export interface TarEntry {
  /** As it is written there: for comparison with other names in the archive, never for opening a file. */
  readonly path: string;
  readonly type: 'file' | 'folder' | 'link' | 'symlink' | 'other';
  readonly size: number;
  readonly linkTarget: string;
  /** Read to its end, or not at all, before the next entry is asked for. */
  readonly content: AsyncIterable<Buffer>;
}

const TYPES: Readonly<Record<string, TarEntry['type']>> = {
  '0': 'file',
  '\0': 'file',
  '7': 'file',
  '1': 'link',
  '2': 'symlink',
  '5': 'folder',
};

/** Gives pieces of a stream of given length. */
class Blocks {
  private readonly source: AsyncIterator<Buffer>;
  private rest: Buffer = Buffer.alloc(0);
  constructor(source: AsyncIterable<Buffer>) {
    this.source = source[Symbol.asyncIterator]();
  }

  /** Some bytes, `most` at most; `undefined` at the end. */
  async some(most: number): Promise<Buffer | undefined> {
    while (this.rest.length === 0) {
      const { done, value } = await this.source.next();
      if (done) return undefined;
      this.rest = value;
    }
    const piece = this.rest.subarray(0, most);
    this.rest = this.rest.subarray(piece.length);
    return piece;
  }

  async exactly(size: number): Promise<Buffer | undefined> {
    const pieces: Buffer[] = [];
    let missing = size;
    while (missing > 0) {
      const piece = await this.some(missing);
      if (!piece) {
        if (pieces.length === 0) return undefined;
        throw invalid('the archive ends in the middle of an entry');
      }
      pieces.push(piece);
      missing -= piece.length;
    }
    return pieces.length === 1 ? pieces[0] : Buffer.concat(pieces);
  }

  async end(): Promise<void> {
    await this.source.return?.();
  }
}

function text(header: Buffer, at: number, length: number): string {
  const field = header.subarray(at, at + length);
  const end = field.indexOf(0);
  return field.subarray(0, end === -1 ? length : end).toString('utf8');
}

function number(header: Buffer, at: number, length: number): number {
  const first = header[at] ?? 0;
  if (first & 0x80) {
    const value = header.subarray(at + 1, at + length).reduce((sum, byte) => sum * 256n + BigInt(byte), BigInt(first & 0x7f));
    if (first & 0x40 || value > BigInt(Number.MAX_SAFE_INTEGER)) throw invalid('the archive has an entry with an impossible size');
    return Number(value);
  }
  const digits = text(header, at, length).trim();
  if (!/^[0-7]*$/.test(digits)) throw invalid('the archive has a header that is no number where one must be');
  return digits === '' ? 0 : Number.parseInt(digits, 8);
}

function checkSum(header: Buffer): void {
  const sum = header.reduce((total, byte, at) => total + (at >= 148 && at < 156 ? 32 : byte), 0);
  const stored = text(header, 148, 8).trim();
  if (!/^[0-7]+$/.test(stored) || sum !== Number.parseInt(stored, 8))
    throw invalid('this is no tar archive: a header has a wrong checksum');
}

/** Records of a pax header: `length key=value\n`. */
function paxRecords(bytes: Buffer): Map<string, string> {
  const records = new Map<string, string>();
  let at = 0;
  while (at < bytes.length) {
    const space = bytes.indexOf(0x20, at);
    const length = Number(bytes.subarray(at, space).toString());
    const record = bytes.subarray(space + 1, at + length - 1).toString('utf8');
    const equals = record.indexOf('=');
    if (space === -1 || !Number.isSafeInteger(length) || at + length > bytes.length || length <= space - at || equals === -1)
      throw invalid('the archive has a malformed pax header');
    records.set(record.slice(0, equals), record.slice(equals + 1));
    at += length;
  }
  return records;
}

/** What earlier headers say of the next entry. */
interface Next {
  path?: string;
  linkTarget?: string;
  size?: number;
}

/** The entries of a tar archive (ustar, pax, GNU long names), one after the other, in bounded memory. Fails when it ends too early. */
export async function* readTar(source: AsyncIterable<Buffer>, maxEntries: number): AsyncGenerator<TarEntry> {
  const blocks = new Blocks(source);
  let next: Next = {};
  try {
    for (let entries = 0; ;) {
      const header = await blocks.exactly(BLOCK);
      // Archives without their end marker are common enough; what is cut inside an entry is found by its length.
      if (!header || header.every((byte) => byte === 0)) return;
      checkSum(header);
      const size = next.size ?? number(header, 124, 12);
      const flag = String.fromCharCode(header[156] ?? 0);
      if (flag === 'x' || flag === 'g' || flag === 'L' || flag === 'K') {
        next = describe(flag, next, await meta(blocks, number(header, 124, 12)));
        continue;
      }
      if (++entries > maxEntries) throw invalid(`the archive has more than ${maxEntries} entries`);
      const prefix = text(header, 257, 5) === 'ustar' ? text(header, 345, 155) : '';
      const name = text(header, 0, 100);
      const type = TYPES[flag] ?? 'other';
      const hasContent = type === 'file' || type === 'other';
      let unread = hasContent ? size : 0;
      const padding = (BLOCK - (unread % BLOCK)) % BLOCK;
      const content = async function* (): AsyncGenerator<Buffer> {
        while (unread > 0) {
          const piece = await blocks.some(unread);
          if (!piece) throw invalid('the archive ends in the middle of an entry');
          unread -= piece.length;
          yield piece;
        }
      };
      yield {
        path: next.path ?? (prefix === '' ? name : `${prefix}/${name}`),
        type,
        size: unread,
        linkTarget: next.linkTarget ?? text(header, 157, 100),
        content: { [Symbol.asyncIterator]: content },
      };
      next = {};
      for await (const piece of content()) void piece;
      if (padding > 0) await blocks.exactly(padding);
    }
  } finally {
    await blocks.end();
  }
}

async function meta(blocks: Blocks, size: number): Promise<Buffer> {
  if (size > META) throw invalid(`the archive has a header of more than ${META} bytes`);
  const bytes = size === 0 ? Buffer.alloc(0) : await blocks.exactly(size + ((BLOCK - (size % BLOCK)) % BLOCK));
  if (!bytes) throw invalid('the archive ends in the middle of an entry');
  return bytes.subarray(0, size);
}

function describe(flag: string, before: Next, bytes: Buffer): Next {
  const long = bytes.toString('utf8').replace(/\0.*$/s, '');
  if (flag === 'L') return { ...before, path: long };
  if (flag === 'K') return { ...before, linkTarget: long };
  // Global records name no entry.
  if (flag === 'g') return before;
  const records = paxRecords(bytes);
  const path = records.get('path');
  const linkTarget = records.get('linkpath');
  const size = records.get('size');
  if (size !== undefined && !/^\d{1,15}$/.test(size)) throw invalid('the archive has an entry with an impossible size');
  return {
    ...before,
    ...(path === undefined ? {} : { path }),
    ...(linkTarget === undefined ? {} : { linkTarget }),
    ...(size === undefined ? {} : { size: Number(size) }),
  };
}
