import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';

/** A file, or stdin for `-`, as a stream to send. @throws Error in Docker's words when the file cannot be read */
export const openInput = async (file: string): Promise<AsyncIterable<Uint8Array>> => {
  if (file === '-') return process.stdin;
  try {
    // Opened before the request, so that a missing file reaches no engine.
    const handle = await open(file, 'r');
    return createReadStream('', { fd: handle, highWaterMark: 1024 * 1024 });
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw new Error(
      code === 'ENOENT' ? `open ${file}: no such file or directory` : code === 'EACCES' ? `open ${file}: permission denied` : message,
    );
  }
};
