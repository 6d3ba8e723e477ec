const BLOCK = 512;
/** What the size field of a ustar header holds in octal digits. */
const OCTAL_SIZE = 0o77777777777;

/** Header of a regular file or folder in a plain ustar archive, with fixed owner, mode and time: the same content gives the same bytes. */
export function tarHeader(path: string, size: number, type: 'file' | 'folder' = 'file'): Buffer {
  const header = Buffer.alloc(BLOCK);
  if (Buffer.byteLength(path) > 100) throw new Error(`the path ${path} is too long for an archive of images`);
  header.write(path, 0);
  header.write(type === 'file' ? '0000644\0' : '0000755\0', 100);
  header.write('0000000\0', 108);
  header.write('0000000\0', 116);
  if (size <= OCTAL_SIZE) header.write(`${size.toString(8).padStart(11, '0')}\0`, 124);
  else {
    // Base 256: the first bit says so.
    header[124] = 0x80;
    header.writeBigUInt64BE(BigInt(size), 128);
  }
  header.write('00000000000\0', 136);
  header.write('        ', 148);
  header.write(type === 'file' ? '0' : '5', 156);
  header.write('ustar\x0000', 257);
  header.write(
    `${header
      .reduce((sum, byte) => sum + byte, 0)
      .toString(8)
      .padStart(6, '0')}\0 `,
    148,
  );
  return header;
}

/** Fills the last block of a file up. */
export const tarPadding = (size: number): Buffer => Buffer.alloc((BLOCK - (size % BLOCK)) % BLOCK);

export const tarEnd = (): Buffer => Buffer.alloc(2 * BLOCK);
