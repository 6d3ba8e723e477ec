/** Archives made entry by entry, so that a test can say what no tar program would write. */
export interface ArchiveEntry {
  readonly path: string;
  /** tar's type letter; `0` file by default, `5` for a path that ends in a slash. */
  readonly type?: string;
  readonly content?: string | Buffer;
  readonly link?: string;
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  /** Seconds. */
  readonly mtime?: number;
  readonly device?: readonly [major: number, minor: number];
  /** PAX records as they are. */
  readonly pax?: Readonly<Record<string, string>>;
  /** Instead of the content's length. */
  readonly size?: number;
  /** Changes the header before its checksum is made. */
  readonly patch?: (header: Buffer) => void;
}

const BLOCK = 512;
const padded = (bytes: Buffer): Buffer => Buffer.concat([bytes, Buffer.alloc((BLOCK - (bytes.length % BLOCK)) % BLOCK)]);
const octal = (value: number, length: number): string => `${value.toString(8).padStart(length - 1, '0')}\0`;

function header(entry: ArchiveEntry, type: string, size: number): Buffer {
  const block = Buffer.alloc(BLOCK);
  Buffer.from(entry.path).copy(block, 0, 0, 100);
  block.write(octal(entry.mode ?? (type === '5' ? 0o755 : 0o644), 8), 100);
  block.write(octal(entry.uid ?? 0, 8), 108);
  block.write(octal(entry.gid ?? 0, 8), 116);
  block.write(octal(size, 12), 124);
  block.write(octal(entry.mtime ?? 1_600_000_000, 12), 136);
  block.write(type, 156);
  Buffer.from(entry.link ?? '').copy(block, 157, 0, 100);
  block.write('ustar\x0000', 257, 'latin1');
  block.write(octal(entry.device?.[0] ?? 0, 8), 329);
  block.write(octal(entry.device?.[1] ?? 0, 8), 337);
  entry.patch?.(block);
  block.fill(' ', 148, 156);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return block;
}

export function paxRecord(key: string, value: string): string {
  const rest = ` ${key}=${value}\n`;
  const bytes = Buffer.byteLength(rest);
  let length = bytes;
  while (`${length}`.length + bytes !== length) length = `${length}`.length + bytes;
  return `${length}${rest}`;
}

export function archiveEntry(entry: ArchiveEntry): Buffer {
  const content = Buffer.from(entry.content ?? '');
  const type = entry.type ?? (entry.path.endsWith('/') ? '5' : '0');
  const pax: Record<string, string> = { ...entry.pax };
  if (Buffer.byteLength(entry.path) > 100 && !('path' in pax)) pax['path'] = entry.path;
  if (Buffer.byteLength(entry.link ?? '') > 100 && !('linkpath' in pax)) pax['linkpath'] = entry.link ?? '';
  const parts: Buffer[] = [];
  if (Object.keys(pax).length > 0) {
    const body = Buffer.from(
      Object.entries(pax)
        .map(([key, value]) => paxRecord(key, value))
        .join(''),
    );
    parts.push(header({ path: 'pax' }, 'x', body.length), padded(body));
  }
  parts.push(header(entry, type, entry.size ?? content.length), padded(content));
  return Buffer.concat(parts);
}

export const archive = (entries: readonly ArchiveEntry[]): Buffer => Buffer.concat([...entries.map(archiveEntry), Buffer.alloc(2 * BLOCK)]);
