import { open } from 'node:fs/promises';
import type { Compression } from '../contracts/host-files.js';
import { mediaTypes } from '../content/media-types.js';

/** Two more than the engine writes. */
export type FoundCompression = Compression | 'bzip2' | 'xz';

const MAGIC: readonly (readonly [string, FoundCompression])[] = [
  ['1f8b', 'gzip'],
  ['28b52ffd', 'zstd'],
  ['425a68', 'bzip2'],
  ['fd377a585a00', 'xz'],
];

/** What the first bytes of a file or stream say of it. */
export function sniffCompression(head: Uint8Array): FoundCompression {
  const hex = Buffer.from(head.subarray(0, 6)).toString('hex');
  return MAGIC.find(([magic]) => hex.startsWith(magic))?.[1] ?? 'none';
}

/** What the first bytes of a blob say of it. */
export async function compressionOf(path: string): Promise<FoundCompression> {
  const file = await open(path);
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(6), 0, 6, 0);
    return sniffCompression(buffer.subarray(0, bytesRead));
  } finally {
    await file.close();
  }
}

/** The media type of a layer's blob, by its first bytes. One whose compression has no type must have been stored without it. */
export async function layerTypeOf(path: string): Promise<string> {
  const compression = await compressionOf(path);
  if (compression === 'bzip2' || compression === 'xz') throw new Error(`a blob with ${compression} has no media type: ${path}`);
  return { none: mediaTypes.ociLayer, gzip: mediaTypes.ociLayerGzip, zstd: mediaTypes.ociLayerZstd }[compression];
}
