import { lstat, stat } from 'node:fs/promises';
import { basename, dirname, posix, resolve } from 'node:path';
import type { Readable } from 'node:stream';
import { isDirectory, isSymlink, type PathStat, statPath } from '../client/archive.js';
import { ApiError, type Client, path } from '../client/client.js';
import { humanSize } from '../render/units.js';
import type { CopyOptions } from './copy-out.js';

/** Copies from this machine into a container, by the rules of `cp -r`. */
export const copyIn = async (client: Client, source: string, container: string, target: string, options: CopyOptions): Promise<void> => {
  const there = await statTarget(client, container, target === '' ? '/' : target);
  if (source === '-') {
    if (!there.stat || !isDirectory(there.stat)) throw new Error(`destination "${container}:${target}" must be a directory`);
    await put(client, container, there.path, process.stdin, options);
    return;
  }
  const here = options.followLink || /\/\.?$/.test(source) ? stat : lstat;
  const what = await here(source).catch((error: NodeJS.ErrnoException) => {
    throw new Error(error.code === 'ENOENT' ? `lstat ${resolve(source)}: no such file or directory` : error.message);
  });
  const contents = /(^|\/)\.$/.test(source);
  const name = basename(resolve(source));
  let folder = there.path;
  let entry = name;
  if (there.stat && isDirectory(there.stat)) {
    if (contents && what.isDirectory()) entry = '';
  } else {
    if (there.stat && what.isDirectory()) throw new Error('cannot copy directory');
    if (!there.stat && !what.isDirectory() && target.endsWith('/')) throw new Error('no such directory');
    folder = posix.dirname(there.path.replace(/\/+$/, ''));
    entry = posix.basename(there.path);
  }
  const archive = what.isDirectory() ? await packFolder(source, entry) : await packFile(source, entry, options.followLink);
  const bytes = await put(client, container, folder, archive, options);
  if (!options.quiet) process.stderr.write(`Successfully copied ${humanSize(bytes, 3)} to ${container}:${target}\n`);
};

/** What is at the target, seen through one symbolic link; `stat` is undefined where there is nothing. */
const statTarget = async (client: Client, container: string, target: string): Promise<{ path: string; stat: PathStat | undefined }> => {
  const look = async (at: string): Promise<PathStat | undefined> =>
    statPath(client, container, at).catch((error: unknown) => {
      // A container that is not there is 404 too; the upload will say so in the engine's words.
      if (error instanceof ApiError && error.status === 404) return undefined;
      throw error;
    });
  const found = await look(target);
  if (!found || !isSymlink(found)) return { path: target, stat: found };
  const through = posix.isAbsolute(found.linkTarget) ? found.linkTarget : posix.join(posix.dirname(target), found.linkTarget);
  return { path: through, stat: await look(through) };
};

const put = async (
  client: Client,
  container: string,
  folder: string,
  archive: AsyncIterable<Uint8Array>,
  options: CopyOptions,
): Promise<number> => {
  let bytes = 0;
  const counted = (async function* () {
    for await (const piece of archive) {
      bytes += piece.length;
      yield piece;
    }
  })();
  await client.text('PUT', path`/containers/${container}/archive`, {
    query: { path: folder, noOverwriteDirNonDir: true, copyUIDGID: options.archive || undefined },
    headers: { 'Content-Type': 'application/x-tar' },
    body: counted,
  });
  return bytes;
};

const packFolder = async (source: string, name: string): Promise<AsyncIterable<Uint8Array>> => {
  const { create } = await import('tar');
  return create({ cwd: resolve(source), ...(name === '' ? {} : { prefix: name }), portable: false }, ['.']) as unknown as Readable;
};

const packFile = async (source: string, name: string, follow: boolean): Promise<AsyncIterable<Uint8Array>> => {
  const { create } = await import('tar');
  const file = resolve(source);
  const rename = (entry: { path: string }): void => {
    entry.path = name;
  };
  return create({ cwd: dirname(file), follow, onWriteEntry: rename }, [basename(file)]) as unknown as Readable;
};
