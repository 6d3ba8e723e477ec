import { constants } from 'node:fs';
import { open, readdir, type FileHandle } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

export interface LogFile {
  readonly path: string;
  /** 0 for the live file; larger is older. */
  readonly number: number;
  readonly compressed: boolean;
}

export interface OpenLogFile extends LogFile {
  readonly handle: FileHandle;
  readonly inode: number;
}

/** The live file and the rotated ones beside it, newest first. Empty when there is none. */
export async function listLogFiles(path: string): Promise<LogFile[]> {
  const folder = dirname(path);
  const name = basename(path);
  const entries = await readdir(folder).catch(() => []);
  const files: LogFile[] = [];
  for (const entry of entries) {
    if (entry === name) files.push({ path, number: 0, compressed: false });
    if (!entry.startsWith(`${name}.`)) continue;
    const match = /^(\d{1,6})(\.gz)?$/.exec(entry.slice(name.length + 1));
    if (match) files.push({ path: join(folder, entry), number: Number(match[1]), compressed: match[2] !== undefined });
  }
  return files.sort((a, b) => a.number - b.number);
}

/** `undefined` when it has been rotated away meanwhile. Never follows a link: the folder's files are the shim's. */
export async function openLogFile(file: LogFile): Promise<OpenLogFile | undefined> {
  let handle: FileHandle;
  try {
    handle = await open(file.path, constants.O_RDONLY | constants.O_NOFOLLOW);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  const stat = await handle.stat();
  if (!stat.isFile()) {
    await handle.close();
    return undefined;
  }
  return { ...file, handle, inode: stat.ino };
}

/**
 * All files, oldest first, each once. Opened from the newest upwards in number: a rotation meanwhile only moves files to
 * where they are yet to be looked for, and one that is seen again is told by its inode.
 */
export async function openLogFiles(path: string): Promise<OpenLogFile[]> {
  const opened: OpenLogFile[] = [];
  try {
    const highest = (await listLogFiles(path)).at(-1)?.number ?? 0;
    for (let number = 0, more = true; number <= highest || more; ++number) {
      more = false;
      for (const compressed of number === 0 ? [false] : [false, true]) {
        const name = number === 0 ? path : `${path}.${number}${compressed ? '.gz' : ''}`;
        const found = await openLogFile({ path: name, number, compressed });
        if (!found) continue;
        // While both forms exist the compressed one has just been finished and holds the same.
        const twice = opened.some((other) => other.inode === found.inode || (compressed && other.number === number));
        if (twice) await found.handle.close();
        else opened.push(found);
        more = true;
      }
    }
  } catch (error) {
    await closeAll(opened);
    throw error;
  }
  return opened.reverse();
}

export async function closeAll(files: readonly OpenLogFile[]): Promise<void> {
  for (const file of files) await file.handle.close().catch(() => undefined);
}
