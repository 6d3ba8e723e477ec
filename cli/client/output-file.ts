import { createWriteStream } from 'node:fs';
import { rename, stat, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { copyTo } from './stream.js';

/**
 * Writes a stream to a file, or to stdout where no file is named. The file appears only when all of it is there; what was
 * there before stays when the stream breaks off.
 */
export const writeOutput = async (source: AsyncIterable<Uint8Array>, file: string, command: string): Promise<void> => {
  if (file === '') {
    if (process.stdout.isTTY) throw new Error(`cowardly refusing to save to a terminal. Use the -o flag or redirect`);
    await copyTo(source, process.stdout);
    return;
  }
  const current = await stat(file).catch(() => undefined);
  const parent = await stat(dirname(file)).catch(() => undefined);
  if (!parent?.isDirectory())
    throw new Error(`failed to ${command}: invalid output path: directory ${JSON.stringify(dirname(file))} does not exist`);
  if (current?.isDirectory()) throw new Error(`failed to ${command}: ${JSON.stringify(file)} is a directory`);
  // A device or a pipe cannot be replaced by a finished file.
  const direct = current !== undefined && !current.isFile();
  const target = direct ? file : join(dirname(file), `.gantry-${process.pid}-${Date.now()}`);
  const out = createWriteStream(target, direct ? {} : { flags: 'wx', mode: 0o600 });
  const failed = new Promise<never>((_, reject) => out.once('error', reject));
  failed.catch(() => undefined);
  try {
    await Promise.race([copyTo(source, out), failed]);
    await Promise.race([new Promise<void>((resolve) => out.end(resolve)), failed]);
    if (!direct) await rename(target, file);
  } catch (error) {
    out.destroy();
    if (!direct) await unlink(target).catch(() => undefined);
    throw error;
  }
};
