import { execFileSync, spawnSync } from 'node:child_process';
import {
  closeSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { ArchiveLimits, WhiteoutStyle } from '@gantry/core/contracts/host-files.js';
import { archiveStream } from '@gantry/drivers/storage/archive-stream.js';
import { host } from '@gantry/native/index.js';
import { archive, type ArchiveEntry } from '../conformance/archive.js';
import { hostileArchives, hostileLayers } from '../conformance/hostile-archives.js';
import { describeTree } from '../conformance/tree.js';

const { files } = host;
const isRoot = process.getuid?.() === 0;
if (!isRoot) console.log('skipped: archives with owners and devices need root');

describe.skipIf(!isRoot)('archives on a real kernel', () => {
  let root: string;
  let target: string;

  beforeEach(() => {
    root = mkdtempSync('/tmp/gantry-storage-archives-');
    target = join(root, 'target');
    for (const name of ['target', 'victim', 'target-evil']) mkdirSync(join(root, name));
    writeFileSync(join(root, 'victim/secret'), 'secret', { mode: 0o600 });
  });
  afterEach(() => rmSync(root, { recursive: true, force: true }));

  const withFd = async <T>(bytes: Buffer, work: (fd: number) => Promise<T>): Promise<T> => {
    writeFileSync(join(root, 'archive'), bytes);
    const fd = openSync(join(root, 'archive'), 'r');
    try {
      return await work(fd);
    } finally {
      closeSync(fd);
    }
  };
  const unpack = (bytes: Buffer, whiteouts: WhiteoutStyle, limits?: ArchiveLimits) =>
    withFd(bytes, (fd) => files.unpack({ target, fd, whiteouts, ...(limits === undefined ? {} : { limits }) }));
  const into = async (
    bytes: Buffer,
    path = '/',
    options: { noOverwriteDirNonDir?: boolean; owner?: { uid: number; gid: number } } = {},
  ) => {
    const rootFd = openSync(target, 'r');
    try {
      await withFd(bytes, (fd) => files.unpackInto({ rootFd, path, fd, noOverwriteDirNonDir: false, ...options }));
    } finally {
      closeSync(rootFd);
    }
  };
  const outside = (): Record<string, string> => ({
    ...describeTree(join(root, 'victim'), { times: true }),
    ...describeTree(join(root, 'target-evil'), { times: true }),
  });
  const paths = (): string[] => Object.keys(describeTree(target)).filter((path) => path !== '/');

  const readers: [string, (bytes: Buffer) => Promise<unknown>][] = [
    ['a layer for overlay', (bytes) => unpack(bytes, 'overlay')],
    ['a layer over its parent', (bytes) => unpack(bytes, 'delete')],
    ['an upload', (bytes) => into(bytes)],
  ];
  for (const [reader, read] of readers) {
    describe(`hostile archives as ${reader}`, () => {
      for (const one of reader === 'an upload' ? hostileArchives : [...hostileArchives, ...hostileLayers]) {
        it(`${typeof one.outcome === 'string' ? 'refuses' : 'confines'} ${one.name}`, async () => {
          const before = outside();
          const beside = readdirSync('/tmp').includes('gantry-hostile');
          if (one.outcome === 'refused') {
            const failure = await read(one.bytes).then(
              () => undefined,
              (error: unknown) => error as Error,
            );
            expect(failure).toMatchObject({ kind: 'invalid-parameter' });
            if (one.says !== undefined) expect(failure?.message).toContain(one.says);
          } else {
            await read(one.bytes);
            // A whiteout mark of overlay's is no path of the layer.
            const found = paths().filter(
              (path) => !(lstatSync(join(target, path)).isCharacterDevice() && lstatSync(join(target, path)).rdev === 0),
            );
            expect(found).toEqual([...one.outcome].toSorted());
          }
          expect(outside()).toEqual(before);
          expect(readdirSync('/tmp').includes('gantry-hostile')).toBe(beside);
        });
      }
    });
  }

  describe('compressed input', () => {
    const bytes = archive([
      { path: 'a', content: 'a'.repeat(100_000) },
      { path: 'b', content: 'b' },
    ]);

    it('reads a gzip file of several members', async () => {
      await unpack(
        Buffer.concat([gzipSync(bytes.subarray(0, 1000)), gzipSync(Buffer.alloc(0)), gzipSync(bytes.subarray(1000))]),
        'overlay',
      );
      expect(paths()).toEqual(['a', 'b']);
    });

    it('reads a zstd file of several frames', async () => {
      const zstd = (part: Buffer): Buffer => execFileSync('zstd', ['-qc'], { input: part });
      await unpack(Buffer.concat([zstd(bytes.subarray(0, 1000)), zstd(bytes.subarray(1000))]), 'overlay');
      expect(paths()).toEqual(['a', 'b']);
    });

    it('refuses data that ends too early, wherever it does', async () => {
      for (const packed of [gzipSync(bytes), ...['zstd', 'bzip2', 'xz'].map((name) => execFileSync(name, ['-qc'], { input: bytes }))])
        for (const length of [10, 20, packed.length >> 1, packed.length - 9, packed.length - 4, packed.length - 1])
          await expect(unpack(packed.subarray(0, length), 'overlay'), `${length} of ${packed.length}`).rejects.toMatchObject({
            kind: 'invalid-parameter',
          });
    });

    it('refuses an archive that is cut, wherever it is', async () => {
      const ten = archive([
        ...Array.from({ length: 8 }, (_, index) => ({ path: `f${index}`, content: 'x'.repeat(index * 300) })),
        { path: 'long'.repeat(40), content: 'l' },
        { path: 'd/' },
      ]);
      const entries = ten.length - 1024;
      for (let length = 1; length < entries; length += 97)
        // An end between two entries is one without its mark, which tar programs take.
        await unpack(ten.subarray(0, length), 'overlay').then(
          () => expect(length % 512, `${length}`).toBe(0),
          (error: unknown) => expect(error).toMatchObject({ kind: 'invalid-parameter' }),
        );
    });

    it('refuses a changed byte', async () => {
      for (const packed of [gzipSync(bytes), ...['bzip2', 'xz'].map((name) => execFileSync(name, ['-qc'], { input: bytes }))])
        for (const at of [12, packed.length >> 1, packed.length - 6]) {
          const broken = Buffer.from(packed);
          broken[at] = (broken[at] ?? 0) ^ 0x55;
          await expect(unpack(broken, 'overlay'), `${at} of ${packed.length}`).rejects.toMatchObject({ kind: 'invalid-parameter' });
        }
    });

    for (const program of ['bzip2', 'xz'])
      it(`reads ${program} of several streams`, async () => {
        const pack = (part: Buffer): Buffer => execFileSync(program, ['-c'], { input: part });
        await unpack(Buffer.concat([pack(bytes.subarray(0, 1000)), pack(bytes.subarray(1000))]), 'overlay');
        expect(paths()).toEqual(['a', 'b']);
      });

    it('refuses xz that asks for a dictionary beyond any use', async () => {
      const packed = execFileSync('xz', ['-c', '--lzma2=preset=9,dict=512MiB'], { input: bytes });
      await expect(unpack(packed, 'overlay')).rejects.toMatchObject({
        kind: 'invalid-parameter',
        message: expect.stringContaining('128 MiB') as string,
      });
    });

    it('hashes what comes after the end mark too', async () => {
      const more = Buffer.concat([bytes, Buffer.alloc(10_240), Buffer.from('trailing')]);
      const { diffId } = await unpack(gzipSync(more), 'overlay');
      expect(diffId).toBe(`sha256:${execFileSync('sha256sum', { input: more }).toString().slice(0, 64)}`);
    });

    it('stops a bomb at its limits', async () => {
      const bomb = gzipSync(archive([{ path: 'zeros', content: Buffer.alloc(8 << 20) }]));
      await expect(unpack(bomb, 'overlay', { bytes: 1 << 20 })).rejects.toMatchObject({ kind: 'invalid-parameter' });
      const many = archive(Array.from({ length: 50 }, (_, index) => ({ path: `f${index}` })));
      await expect(unpack(many, 'overlay', { entries: 49 })).rejects.toThrow(/49 entries/);
    });

    it('does not wait for a silent pipe once the archive is refused', async () => {
      const [readEnd, writeEnd] = host.process.pipe();
      try {
        writeFileSync(writeEnd, archive([{ path: '../x' }]).subarray(0, 512));
        // The other end stays open and silent: a reader that waits for it would wait for ever.
        const pending = files.unpack({ target, fd: readEnd, whiteouts: 'overlay' });
        writeFileSync(writeEnd, Buffer.alloc(256 * 1024));
        await expect(pending).rejects.toMatchObject({ kind: 'invalid-parameter' });
      } finally {
        host.process.closeFd(readEnd);
        host.process.closeFd(writeEnd);
      }
    });
  });

  describe('against GNU tar', () => {
    const make = (path: string): void => {
      mkdirSync(join(path, 'd', 'x'.repeat(120), 'y'.repeat(120)), { recursive: true });
      writeFileSync(join(path, 'd', 'x'.repeat(120), 'y'.repeat(120), 'z'.repeat(120)), 'long');
      symlinkSync('t'.repeat(300), join(path, 'long-link'));
      execFileSync('sh', [
        '-c',
        `cd "$0"
         truncate -s 3M sparse; printf x | dd of=sparse bs=1 seek=1000000 conv=notrunc 2>/dev/null; printf y | dd of=sparse bs=1 seek=2500000 conv=notrunc 2>/dev/null
         truncate -s 2M hole; echo one >file; ln file second; mkfifo fifo; mknod null c 1 3; mknod loop b 7 0; : >empty
         chown 3000000:70000 file; chmod 6711 file; chmod 1777 d; touch -d @1000000000.123456789 d/${'x'.repeat(120)} empty
         i=0; while [ $i -lt 40 ]; do printf z | dd of=many-holes bs=1 seek=$((i * 20000)) conv=notrunc 2>/dev/null; i=$((i + 1)); done`,
        path,
      ]);
    };

    for (const format of [
      'gnu',
      'posix',
      'ustar',
      'v7',
      'oldgnu',
      'posix --sparse-version=0.0',
      'posix --sparse-version=0.1',
      'posix --sparse-version=1.0',
    ])
      it(`reads format ${format}`, async () => {
        const source = join(root, 'source');
        mkdirSync(source);
        make(source);
        const [name, ...rest] = format.split(' ');
        const sparse = name === 'ustar' || name === 'v7' ? [] : ['--sparse'];
        const made = (() => {
          try {
            return execFileSync('tar', ['-C', source, `--format=${name}`, ...rest, ...sparse, '-cf', '-', '.'], {
              stdio: ['ignore', 'pipe', 'ignore'],
              maxBuffer: 1 << 28,
            });
          } catch (error) {
            // Old formats have no room for some of it; what they wrote is an archive all the same.
            return (error as { stdout: Buffer }).stdout;
          }
        })();
        const reference = join(root, 'reference');
        mkdirSync(reference);
        execFileSync('tar', ['-C', reference, '--numeric-owner', '-xpf', '-'], { input: made });
        await unpack(made, 'overlay');
        expect(describeTree(target, { times: true })).toEqual(describeTree(reference, { times: true }));
        if (sparse.length > 0) expect(statSync(join(target, 'sparse')).blocks).toBeLessThan(200);
      });

    it('writes what GNU tar reads to the same tree', async () => {
      const source = join(root, 'source');
      mkdirSync(source);
      make(source);
      const bytes = await buffer(archiveStream(host, (fd) => files.packDiff({ tree: source, fd })));
      execFileSync('tar', ['-C', target, '--numeric-owner', '-xpf', '-'], { input: bytes });
      expect(describeTree(target)).toEqual(describeTree(source));
    });

    it('writes holes and exact times that GNU tar reads to the same tree', async () => {
      const source = join(root, 'source');
      mkdirSync(source);
      make(source);
      const long = join(source, 's'.repeat(200));
      execFileSync('sh', ['-c', 'truncate -s 9G "$0"; printf end >>"$0"; touch -d @-5.25 "$0"', long]);
      const bytes = await buffer(archiveStream(host, (fd) => files.packDiff({ tree: source, fd, holes: true, exactTimes: true })));
      expect(bytes.length).toBeLessThan(2 << 20);
      execFileSync('tar', ['-C', target, '--numeric-owner', '-xpf', '-'], { input: bytes });
      const own = join(root, 'own');
      mkdirSync(own);
      await withFd(bytes, (fd) => files.unpack({ target: own, fd, whiteouts: 'delete' }));
      // Nobody reads 9 GB for a test: its end and its size say enough.
      for (const tree of [target, own]) {
        const copy = join(tree, 's'.repeat(200));
        expect(statSync(copy)).toMatchObject({ size: 9 * 2 ** 30 + 3, mtimeMs: -5250 });
        expect(execFileSync('tail', ['-c', '5', copy]).toString()).toBe('\0\0end');
        rmSync(copy);
      }
      rmSync(long);
      for (const tree of [target, own]) {
        expect(describeTree(tree, { times: 'exact' })).toEqual(describeTree(source, { times: 'exact' }));
        for (const name of ['sparse', 'hole']) expect(statSync(join(tree, name)).blocks, name).toBeLessThan(200);
      }
    });

    it('keeps two names of a file one file when only one of them is new', async () => {
      const before = join(root, 'before');
      mkdirSync(join(before, 'a'), { recursive: true });
      mkdirSync(join(before, 'c'), { mode: 0o711 });
      for (const name of ['a/first', 'a/other', 'c/last']) writeFileSync(join(before, name), name);
      linkSync(join(before, 'a/first'), join(before, 'c/twin'));
      const after = join(root, 'after');
      mkdirSync(after);
      await files.copyTree(before, after);
      linkSync(join(after, 'a/other'), join(after, 'c/new'));
      linkSync(join(after, 'c/last'), join(after, 'a/early'));
      rmSync(join(after, 'c/twin'));
      linkSync(join(after, 'a/first'), join(after, 'c/third'));
      expect(await files.changesDiff({ tree: after, parent: before })).toEqual(
        [
          ['/a', 'modified'],
          ['/a/early', 'added'],
          ['/a/first', 'modified'],
          ['/a/other', 'modified'],
          ['/c', 'modified'],
          ['/c/last', 'modified'],
          ['/c/new', 'added'],
          ['/c/third', 'added'],
          ['/c/twin', 'deleted'],
        ].map(([path, kind]) => ({ path, kind })),
      );
      const bytes = await buffer(archiveStream(host, (fd) => files.packDiff({ tree: after, parent: before, fd })));
      await withFd(bytes, (fd) => files.unpack({ target: before, fd, whiteouts: 'delete' }));
      expect(describeTree(before)).toEqual(describeTree(after));
      // An overlay has the folder's properties from its own copy of it.
      await unpack(bytes, 'overlay');
      expect(statSync(join(target, 'c')).mode & 0o777).toBe(0o711);
      expect(statSync(join(target, 'a/first')).ino).toBe(statSync(join(target, 'c/third')).ino);
    });

    it('keeps attributes and file capabilities', async () => {
      const source = join(root, 'source');
      mkdirSync(source);
      writeFileSync(join(source, 'ping'), '');
      const capability = Buffer.from('0100000200200000000000000000000000000000', 'hex');
      await files.setXattr(join(source, 'ping'), 'security.capability', capability);
      await files.setXattr(source, 'user.note', Buffer.from('n\0t'));
      const bytes = await buffer(archiveStream(host, (fd) => files.packDiff({ tree: source, fd })));
      await unpack(bytes, 'overlay');
      expect(await files.getXattr(join(target, 'ping'), 'security.capability')).toEqual(capability);
    });
  });

  it('marks folders for an overlay in a user namespace, where it is mounted and hides what it should', async () => {
    mkdirSync(join(root, 'lower/folder'), { recursive: true });
    writeFileSync(join(root, 'lower/folder/old'), 'old');
    await unpack(
      archive([{ path: 'folder/' }, { path: 'folder/.wh..wh..opq', content: '' }, { path: 'folder/new', content: 'new' }]),
      'overlay-user',
    );
    expect(await files.getXattr(join(target, 'folder'), 'user.overlay.opaque')).toEqual(Buffer.from('y'));
    expect(await files.getXattr(join(target, 'folder'), 'trusted.overlay.opaque')).toBeUndefined();
    const upper = { upper: target, lowers: [join(root, 'lower')] };
    const names = async (userXattr: boolean): Promise<string> =>
      execFileSync('tar', ['-tf', '-'], {
        input: await buffer(archiveStream(host, (fd) => files.packUpper({ ...upper, fd, userXattr }))),
      }).toString();
    expect(await names(true)).toContain('folder/.wh..wh..opq');
    expect(await names(false)).not.toContain('.wh.');
    mkdirSync(join(root, 'merged'));
    const look = `mount -t overlay overlay -o userxattr,lowerdir=${target}:${join(root, 'lower')} ${join(root, 'merged')} && ls ${join(root, 'merged/folder')}`;
    const seen = spawnSync('unshare', ['--user', '--map-root-user', '--mount', 'sh', '-c', look], { encoding: 'utf8' });
    // Some kernels have no overlays in user namespaces, and say so; the marks were looked at above.
    if (seen.status === 0) expect(seen.stdout.trim()).toBe('new');
    else console.log(`skipped: an overlay in a user namespace does not mount here (${seen.stderr.trim()})`);
  });

  describe('copies in and out of a root', () => {
    const small = (entries: readonly ArchiveEntry[] = [{ path: 'x', content: 'x', uid: 7, gid: 8 }]): Buffer => archive(entries);

    it('extracts through a link that stays inside', async () => {
      mkdirSync(join(target, 'run'));
      mkdirSync(join(target, 'var'));
      symlinkSync('/run', join(target, 'var/run'));
      await into(small(), '/var/run');
      expect(readFileSync(join(target, 'run/x'), 'utf8')).toBe('x');
      expect([statSync(join(target, 'run/x')).uid, statSync(join(target, 'run/x')).gid]).toEqual([7, 8]);
    });

    it('gives everything to one owner when told to', async () => {
      await into(small(), '/', { owner: { uid: 1000, gid: 1001 } });
      expect([statSync(join(target, 'x')).uid, statSync(join(target, 'x')).gid]).toEqual([1000, 1001]);
    });

    it('refuses a target that is absent or no folder', async () => {
      writeFileSync(join(target, 'file'), '');
      await expect(into(small(), '/absent')).rejects.toMatchObject({ code: 'ENOENT' });
      await expect(into(small(), '/file')).rejects.toMatchObject({ code: 'ENOTDIR' });
    });

    it('keeps folders and files apart when told to', async () => {
      mkdirSync(join(target, 'x'));
      writeFileSync(join(target, 'y'), '');
      await expect(into(small(), '/', { noOverwriteDirNonDir: true })).rejects.toThrow(
        'cannot overwrite directory "/x" with non-directory "x"',
      );
      await expect(into(small([{ path: 'y/' }]), '/', { noOverwriteDirNonDir: true })).rejects.toThrow(/cannot overwrite non-directory/);
      await into(small());
      expect(statSync(join(target, 'x')).isFile()).toBe(true);
    });

    it('packs a folder under its own, another or no name', async () => {
      mkdirSync(join(target, 'a/b'), { recursive: true });
      writeFileSync(join(target, 'a/b/f'), 'f');
      const rootFd = await files.openRoot(target);
      const listed = async (path: string, rename?: string): Promise<string[]> => {
        const stream = archiveStream(host, (fd) => files.packPath({ rootFd, path, fd, ...(rename === undefined ? {} : { rename }) }));
        return execFileSync('tar', ['-tf', '-'], { input: await buffer(stream) })
          .toString()
          .trim()
          .split('\n');
      };
      expect(await listed('/a/b')).toEqual(['b/', 'b/f']);
      expect(await listed('/a/b/')).toEqual(['b/', 'b/f']);
      expect(await listed('/a/b/.')).toEqual(['./', './f']);
      expect(await listed('a', 'other')).toEqual(['other/', 'other/b/', 'other/b/f']);
      expect(await listed('/a/b/f')).toEqual(['f']);
      expect(await listed('/')).toEqual(['./', './a/', './a/b/', './a/b/f']);
      closeSync(rootFd);
    });

    it('archives a link itself and says where it leads', async () => {
      mkdirSync(join(target, 'real'));
      writeFileSync(join(target, 'real/f'), '');
      symlinkSync('../../../../real', join(target, 'l'));
      const rootFd = await files.openRoot(target);
      expect(await files.statIn(rootFd, '/l', { followLast: false })).toMatchObject({ name: 'l', linkTarget: '/real' });
      expect(await files.statIn(rootFd, '/l', { followLast: true })).toMatchObject({ name: 'l', linkTarget: '' });
      expect((await files.statIn(rootFd, '/l/f', { followLast: false })).size).toBe(0);
      await expect(files.statIn(rootFd, '/nope', { followLast: false })).rejects.toMatchObject({ code: 'ENOENT' });
      closeSync(rootFd);
    });

    it('never leaves the root while somebody swaps a folder for a link', async () => {
      mkdirSync(join(target, 'swapped'));
      symlinkSync('/../../../../../../../../../../../../tmp', join(target, 'link'));
      symlinkSync(join(root, 'victim'), join(target, 'absolute'));
      const rootFd = await files.openRoot(target);
      const secret = readFileSync(join(root, 'victim/secret'));
      const before = outside();
      let swapping = true;
      const swapper = (async () => {
        while (swapping) {
          for (const other of ['link', 'absolute']) {
            try {
              renameSync(join(target, 'swapped'), join(target, 'aside'));
              renameSync(join(target, other), join(target, 'swapped'));
              await new Promise((resolve) => setImmediate(resolve));
              renameSync(join(target, 'swapped'), join(target, other));
              renameSync(join(target, 'aside'), join(target, 'swapped'));
            } catch {
              // Something was made in between: start again from a folder.
              rmSync(join(target, 'aside'), { recursive: true, force: true });
              mkdirSync(join(target, 'swapped'), { recursive: true });
            }
            await new Promise((resolve) => setImmediate(resolve));
          }
        }
      })();
      try {
        for (let round = 0; round < 300; round++) {
          await into(
            archive([
              { path: 'swapped/gantry-swapped', content: 'evil' },
              { path: 'swapped/secret', content: 'evil' },
            ]),
          ).catch(() => {});
          const read = await files.readFileIn(rootFd, '/swapped/secret', 1000).catch(() => undefined);
          if (read) expect(read.equals(secret)).toBe(false);
          await files.makeFileIn(rootFd, '/swapped/gantry-swapped').catch(() => {});
        }
      } finally {
        swapping = false;
        await swapper;
        closeSync(rootFd);
      }
      expect(outside()).toEqual(before);
      expect(existsSync('/tmp/gantry-swapped')).toBe(false);
    });
  });

  it('removes a tree of any depth', async () => {
    execFileSync('sh', [
      '-c',
      'cd "$0"; i=0; while [ $i -lt 30 ]; do mkdir -p a/b/c/d/e/f/g/h/i/j; cd a/b/c/d/e/f/g/h/i/j; : >file; i=$((i + 1)); done',
      target,
    ]);
    await files.removeTree(target);
    expect(existsSync(target)).toBe(false);
    await files.removeTree(target);
  });

  it('removes nothing that is mounted below', async () => {
    mkdirSync(join(target, 'below'));
    await files.mount({ type: 'bind', source: join(root, 'victim'), options: ['bind'] }, join(target, 'below'));
    try {
      await expect(files.removeTree(target)).rejects.toMatchObject({ code: 'EBUSY' });
    } finally {
      await files.unmount(join(target, 'below'));
    }
    expect(readFileSync(join(root, 'victim/secret'), 'utf8')).toBe('secret');
  });
});
