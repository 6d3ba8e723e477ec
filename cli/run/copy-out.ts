import { constants, type Stats } from 'node:fs';
import { chmod, type FileHandle, mkdir, open, stat, symlink, unlink, utimes } from 'node:fs/promises';
import { basename, dirname, join, posix } from 'node:path';
import { once } from 'node:events';
import { isDirectory, isSymlink, type PathStat, statOf, statPath } from '../client/archive.js';
import { type Client, path } from '../client/client.js';
import { copyTo } from '../client/stream.js';
import { humanSize } from '../render/units.js';
import type { Parser } from 'tar';

export interface CopyOptions {
  archive: boolean;
  followLink: boolean;
  quiet: boolean;
}

/** Copies from a container to this machine, by the rules of `cp -r`. */
export const copyOut = async (client: Client, container: string, source: string, target: string, options: CopyOptions): Promise<void> => {
  let from = source === '' ? '/' : source;
  if (options.followLink) {
    const found = await statPath(client, container, from);
    if (isSymlink(found)) from = posix.isAbsolute(found.linkTarget) ? found.linkTarget : posix.join(posix.dirname(from), found.linkTarget);
  }
  const response = await client.open('GET', path`/containers/${container}/archive`, { query: { path: from } });
  if (target === '-') {
    if (process.stdout.isTTY) throw new Error('cowardly refusing to copy to a terminal; redirect the output');
    await copyTo(response.body, process.stdout);
    return;
  }
  const what = statOf(response);
  let bytes = 0;
  const counted = (async function* () {
    for await (const piece of response.body) {
      bytes += piece.length;
      yield piece;
    }
  })();
  try {
    await place(counted, what, from, target, options.archive);
  } finally {
    response.socket.destroy();
  }
  if (!options.quiet) process.stderr.write(`Successfully copied ${humanSize(bytes, 3)} to ${target}\n`);
};

/** Where the source goes depends on what is at the target already. */
const place = async (
  archive: AsyncIterable<Uint8Array>,
  what: PathStat,
  source: string,
  target: string,
  keepOwner: boolean,
): Promise<void> => {
  const current: Stats | undefined = await stat(target).catch(() => undefined);
  const contents = /(^|\/)\.$/.test(source);
  if (isDirectory(what)) {
    if (current && !current.isDirectory()) throw new Error('cannot copy directory');
    const parent = current ? target : dirname(target);
    if (!(await stat(parent).catch(() => undefined))?.isDirectory())
      throw new Error(`invalid output path: directory ${JSON.stringify(parent)} does not exist`);
    const folder = current && !contents ? join(target, what.name) : target;
    await unpack(archive, folder, what, keepOwner);
    return;
  }
  if (!current && target.endsWith('/')) throw new Error('destination directory must exist');
  const file = current?.isDirectory() ? join(target, what.name) : target;
  if (!(await stat(dirname(file)).catch(() => undefined))?.isDirectory())
    throw new Error(`invalid output path: directory ${JSON.stringify(dirname(file))} does not exist`);
  await unpackOne(archive, file, keepOwner);
};

const unpack = async (archive: AsyncIterable<Uint8Array>, folder: string, what: PathStat, keepOwner: boolean): Promise<void> => {
  const { extract } = await import('tar');
  const existed = (await stat(folder).catch(() => undefined))?.isDirectory() ?? false;
  if (!existed) await mkdir(folder, { mode: 0o700 });
  // Whatever the container put there stays below the folder: the extractor refuses paths and links that lead out of it.
  await feed(archive, extract({ cwd: folder, strip: 1, preserveOwner: keepOwner, processUmask: 0 }), 'close');
  if (!existed) await chmod(folder, what.mode & 0o777);
};

/** Gives the archive to a reader of tar archives, no faster than it takes it, until that says that all is done. */
const feed = async (archive: AsyncIterable<Uint8Array>, parser: Parser, done: 'end' | 'close'): Promise<void> => {
  let failure: Error | undefined;
  let finish: () => void = () => undefined;
  const finished = new Promise<void>((resolve) => {
    finish = resolve;
  });
  parser.once('error', (error: unknown) => {
    failure ??= error as Error;
    finish();
  });
  parser.once(done, finish);
  for await (const piece of archive) {
    if (failure) throw failure;
    if (!parser.write(Buffer.from(piece))) await Promise.race([once(parser, 'drain'), finished]);
  }
  parser.end();
  await finished;
  if (failure) throw failure;
};

/** The first entry of the archive, under another name. */
const unpackOne = async (archive: AsyncIterable<Uint8Array>, file: string, keepOwner: boolean): Promise<void> => {
  const { Parser: ArchiveReader } = await import('tar');
  let work: Promise<void> | undefined;
  const parser = new ArchiveReader({
    onReadEntry: (entry) => {
      if (work) {
        entry.resume();
        return;
      }
      work = writeEntry(entry, file, keepOwner);
      work.catch(() => entry.resume());
    },
  });
  await feed(archive, parser, 'end');
  if (!work) throw new Error('the engine sent an empty archive');
  await work;
};

type Entry = Parameters<NonNullable<NonNullable<ConstructorParameters<typeof import('tar').Parser>[0]>['onReadEntry']>>[0];

const writeEntry = async (entry: Entry, file: string, keepOwner: boolean): Promise<void> => {
  const mode = (entry.mode ?? 0o644) & 0o7777;
  if (entry.type === 'SymbolicLink') {
    entry.resume();
    await unlink(file).catch(() => undefined);
    await symlink(entry.linkpath ?? '', file);
    return;
  }
  if (entry.type !== 'File' && entry.type !== 'OldFile' && entry.type !== 'ContiguousFile') {
    entry.resume();
    throw new Error(`cannot copy ${basename(file)}: it is a ${entry.type ?? 'file of an unknown kind'}`);
  }
  // A link at the target was put there by the user of this machine and is followed, as cp does.
  const handle = await open(file, constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC, mode & 0o777);
  try {
    for await (const piece of entry as AsyncIterable<Uint8Array>) await writeAll(handle, piece);
    if (keepOwner && process.getuid?.() === 0 && entry.uid !== undefined && entry.gid !== undefined)
      await handle.chown(entry.uid, entry.gid);
    await handle.chmod(mode);
  } finally {
    await handle.close().catch(() => undefined);
  }
  if (entry.mtime) await utimes(file, entry.mtime, entry.mtime);
};

/** One write may take less than it was given. */
const writeAll = async (handle: FileHandle, data: Uint8Array): Promise<void> => {
  for (let at = 0; at < data.length;) at += (await handle.write(data, at)).bytesWritten;
};
