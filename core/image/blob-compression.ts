import { open } from 'node:fs/promises';
import { invalid } from '../contracts/errors.js';
import type { Compression } from '../contracts/host-files.js';
import { mediaTypes } from '../content/media-types.js';

const MAGIC: readonly (readonly [string, Compression | 'bzip2' | 'xz'])[] = [
  ['1f8b', 'gzip'],
  ['28b52ffd', 'zstd'],
  ['425a68', 'bzip2'],
  ['fd377a585a00', 'xz'],
];

/** What the first bytes of a file or stream say of it. Compressions that are known and not read are refused by name. */
export function sniffCompression(head: Uint8Array): Compression {
  const hex = Buffer.from(head.subarray(0, 6)).toString('hex');
  const found = MAGIC.find(([magic]) => hex.startsWith(magic))?.[1] ?? 'none';
  if (found === 'bzip2' || found === 'xz') throw invalid(`${found} compression is not supported: use gzip, zstd or none`);
  return found;
}

async function compressionOf(path: string): Promise<Compression> {
  const file = await open(path);
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(6), 0, 6, 0);
    return sniffCompression(buffer.subarray(0, bytesRead));
  } finally {
    await file.close();
  }
}

/** What a layer's blob is, by its first bytes. */
export async function layerTypeOf(path: string): Promise<string> {
  return { none: mediaTypes.ociLayer, gzip: mediaTypes.ociLayerGzip, zstd: mediaTypes.ociLayerZstd }[await compressionOf(path)];
}
