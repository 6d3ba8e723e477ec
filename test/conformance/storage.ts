import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  closeSync,
  existsSync,
  ftruncateSync,
  linkSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
  writeSync,
  type Stats,
} from 'node:fs';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Host } from '@gantry/core/contracts/host.js';
import { snapshotId, type SnapshotId } from '@gantry/core/contracts/ids.js';
import type { Capability } from '@gantry/core/contracts/manifest.js';
import type { AppliedLayer, StorageDriver } from '@gantry/core/contracts/storage.js';
import { archive, type ArchiveEntry } from './archive.js';
import { describeTree } from './tree.js';

/** A driver under test: each `open` on the same folder is another start of the daemon. */
export interface StorageUnderTest {
  readonly capabilities: readonly Capability[];
  readonly host: Host;
  /** Where the drivers' folders are made, on the file system to be tested; it is left as it was. */
  readonly folder: string;
  open(root: string): Promise<StorageDriver>;
}

const id = (word: string): SnapshotId => snapshotId(createHash('sha256').update(word).digest('hex'));

/** What every storage driver promises, over a real kernel. Needs root. */
export function storageConformance(driverName: string, under: StorageUnderTest): void {
  describe(`${driverName} keeps the storage contract`, () => {
    const { files } = under.host;
    let root: string;
    let driver: StorageDriver;

    beforeEach(async () => {
      root = mkdtempSync(join(under.folder, `storage-${driverName}-`));
      mkdirSync(join(root, 'driver'));
      driver = await under.open(join(root, 'driver'));
    });
    afterEach(async () => {
      await driver.close();
      for (const { target } of files.mountsBelow(root)) await files.unmount(target, true);
      for (const snapshot of await driver.list()) await driver.remove(snapshot);
      rmSync(root, { recursive: true, force: true });
    });

    const apply = async (snapshot: SnapshotId, parent: SnapshotId | undefined, bytes: Buffer): Promise<AppliedLayer> => {
      const path = join(root, `layer-${snapshot}`);
      writeFileSync(path, bytes);
      const fd = openSync(path, 'r');
      try {
        return await driver.applyDiff(snapshot, parent, { fd });
      } finally {
        closeSync(fd);
        rmSync(path);
      }
    };

    /** An image layer. */
    const layer = async (label: string, parent: SnapshotId | undefined, entries: readonly ArchiveEntry[]): Promise<SnapshotId> => {
      const snapshot = id(label);
      await driver.create(snapshot, { writable: false, ...(parent === undefined ? {} : { parent }) });
      await apply(snapshot, parent, archive(entries));
      return snapshot;
    };

    const writable = async (label: string, parent?: SnapshotId): Promise<SnapshotId> => {
      const snapshot = id(label);
      await driver.create(snapshot, { writable: true, ...(parent === undefined ? {} : { parent }) });
      return snapshot;
    };

    const seen = async <T>(snapshot: SnapshotId, look: (path: string) => T): Promise<T> => {
      const place = mkdtempSync(join(root, 'view-'));
      for (const mount of await driver.acquire(snapshot)) await files.mount(mount, place);
      try {
        return look(place);
      } finally {
        await files.unmount(place);
        await driver.release(snapshot);
      }
    };

    const tree = (snapshot: SnapshotId, options?: { times: boolean }): Promise<Record<string, string>> =>
      seen(snapshot, (path) => describeTree(path, options));

    const base: ArchiveEntry[] = [
      { path: 'etc/' },
      { path: 'etc/passwd', content: 'root:x:0:0\n' },
      { path: 'etc/opt/' },
      { path: 'etc/opt/one', content: '1' },
      { path: 'etc/opt/two', content: '22' },
      { path: 'bin/', mode: 0o755 },
      { path: 'bin/su', content: 'su', mode: 0o4755 },
      { path: 'bin/sudo', type: '1', link: 'bin/su' },
      { path: 'lib', type: '2', link: 'usr/lib' },
      { path: 'data/', uid: 1000, gid: 100, mode: 0o2770 },
      { path: 'data/file', content: 'data', uid: 1000, gid: 100 },
    ];

    it('knows what exists', async () => {
      expect(await driver.exists(id('a'))).toBe(false);
      await driver.create(id('a'), { writable: true });
      await driver.create(id('b'), { writable: false });
      expect(await driver.exists(id('a'))).toBe(true);
      expect((await driver.list()).toSorted()).toEqual([id('a'), id('b')].toSorted());
    });

    it('refuses a second snapshot of one id, and a parent that is not there', async () => {
      await driver.create(id('a'), { writable: true });
      await expect(driver.create(id('a'), { writable: true })).rejects.toMatchObject({ kind: 'conflict' });
      await expect(driver.create(id('b'), { parent: id('ghost'), writable: true })).rejects.toMatchObject({ kind: 'not-found' });
      expect(await driver.exists(id('b'))).toBe(false);
      for (const call of [() => driver.acquire(id('ghost')), () => driver.usage(id('ghost')), () => driver.changes(id('ghost'), undefined)])
        await expect(call()).rejects.toMatchObject({ kind: 'not-found' });
    });

    it('forgives the removal of a snapshot that is gone', async () => {
      await expect(driver.remove(id('ghost'))).resolves.toBeUndefined();
      await driver.create(id('a'), { writable: true });
      await driver.remove(id('a'));
      await driver.remove(id('a'));
      expect(await driver.list()).toEqual([]);
      await driver.create(id('a'), { writable: true });
    });

    it('counts nested acquires and refuses removal until the last release', async () => {
      const one = await writable('a');
      await driver.acquire(one);
      await driver.acquire(one);
      await driver.release(one);
      await expect(driver.remove(one)).rejects.toMatchObject({ kind: 'conflict' });
      await driver.release(one);
      await driver.release(one);
      await driver.remove(one);
    });

    it('keeps what was written, and shows it to nobody else', async () => {
      const image = await layer('image', undefined, base);
      const one = await writable('one', image);
      const two = await writable('two', image);
      await seen(one, (path) => {
        writeFileSync(join(path, 'etc/passwd'), 'changed');
        writeFileSync(join(path, 'fresh'), 'fresh');
        rmSync(join(path, 'etc/opt'), { recursive: true });
      });
      driver = await under.open(join(root, 'driver'));
      await seen(one, (path) => {
        expect(readFileSync(join(path, 'etc/passwd'), 'utf8')).toBe('changed');
        expect(readdirSync(join(path, 'etc'))).toEqual(['passwd']);
      });
      expect(await tree(two)).toEqual(await tree(image));
    });

    it('shows an image layer read-only', async () => {
      const image = await layer('image', undefined, base);
      const top = await layer('top', image, [{ path: 'x', content: '' }]);
      for (const one of [image, top]) await seen(one, (path) => expect(() => writeFileSync(join(path, 'new'), '')).toThrow(/EROFS/));
    });

    it('applies everything that an archive says of a file', async () => {
      const entries: ArchiveEntry[] = [
        ...base,
        { path: 'dev/' },
        { path: 'dev/null', type: '3', device: [1, 3], mode: 0o666 },
        { path: 'dev/loop', type: '4', device: [7, 0], mode: 0o660, gid: 6 },
        { path: 'fifo', type: '6', mode: 0o600 },
        { path: 'old', content: 'old', mtime: 86_400 },
        { path: 'before', content: '', pax: { mtime: '-86400.5' } },
        { path: 'big-id', content: '', pax: { uid: '3000000000', gid: '2500000000' } },
        { path: `${'long/'.repeat(40)}name`, content: 'deep' },
        { path: 'ünïcode', content: 'u' },
      ];
      const bytes = archive(entries);
      await driver.create(id('image'), { writable: false });
      const applied = await apply(id('image'), undefined, bytes);
      expect(applied.diffId).toBe(`sha256:${createHash('sha256').update(bytes).digest('hex')}`);
      expect(applied.size).toBe('root:x:0:0\n'.length + 1 + 2 + 2 + 4 + 3 + 4 + 1);
      await seen(id('image'), (path) => {
        const st = (file: string): Stats => lstatSync(join(path, file));
        expect(st('bin/su').mode & 0o7777).toBe(0o4755);
        expect(st('bin/su').ino).toBe(st('bin/sudo').ino);
        expect(st('data').mode & 0o7777).toBe(0o2770);
        expect([st('data/file').uid, st('data/file').gid]).toEqual([1000, 100]);
        expect(st('etc/passwd').gid).toBe(0);
        expect(st('dev/null').isCharacterDevice()).toBe(true);
        expect(st('dev/null').rdev).toBe(0x103);
        expect(st('dev/loop').isBlockDevice()).toBe(true);
        expect(st('fifo').isFIFO()).toBe(true);
        expect(st('old').mtimeMs).toBe(86_400_000);
        expect(st('etc').mtimeMs).toBe(1_600_000_000_000);
        expect(lstatSync(join(path, 'before'), { bigint: true }).mtimeNs).toBe(-86_400_500_000_000n);
        expect([st('big-id').uid, st('big-id').gid]).toEqual([3_000_000_000, 2_500_000_000]);
        expect(readFileSync(join(path, 'long/'.repeat(40), 'name'), 'utf8')).toBe('deep');
        expect(st('ünïcode').size).toBe(1);
      });
    });

    it('applies gzip and zstd layers as their content', async () => {
      const bytes = archive(base);
      const wanted = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
      for (const program of ['gzip', 'zstd']) {
        await driver.create(id(program), { writable: false });
        const applied = await apply(id(program), undefined, execFileSync(program, ['-c'], { input: bytes }));
        expect(applied.diffId).toBe(wanted);
      }
      expect(await tree(id('gzip'))).toEqual(await tree(id('zstd')));
    });

    it('hides what a whiteout names', async () => {
      const image = await layer('image', undefined, base);
      const top = await layer('top', image, [
        { path: 'etc/.wh.passwd', content: '' },
        { path: 'bin/.wh.su', content: '' },
        { path: '.wh.data', content: '' },
        { path: '.wh..wh.plnk', content: '' },
        { path: '.wh.never-was', content: '' },
      ]);
      await seen(top, (path) => {
        expect(readdirSync(path).toSorted()).toEqual(['bin', 'etc', 'lib']);
        expect(readdirSync(join(path, 'bin'))).toEqual(['sudo']);
        expect(readdirSync(join(path, 'etc'))).toEqual(['opt']);
      });
    });

    it('hides what an opaque folder had below, wherever the mark stands in the archive', async () => {
      const image = await layer('image', undefined, base);
      const mark = { path: 'etc/opt/.wh..wh..opq', content: '' };
      const folder = { path: 'etc/opt/' };
      const file = { path: 'etc/opt/three', content: '333' };
      for (const [index, entries] of [
        [folder, mark, file],
        [folder, file, mark],
        [folder, mark, file, mark],
      ].entries()) {
        const top = await layer(`top${index}`, image, entries);
        await seen(top, (path) => expect(readdirSync(join(path, 'etc/opt'))).toEqual(['three']));
      }
    });

    it('hides only what is below with a whiteout beside the same name', async () => {
      const image = await layer('image', undefined, base);
      const whiteout = { path: 'etc/.wh.opt', content: '' };
      const again: ArchiveEntry[] = [{ path: 'etc/opt/' }, { path: 'etc/opt/new', content: 'n' }];
      for (const [index, entries] of [
        [whiteout, ...again],
        [...again, whiteout],
      ].entries()) {
        const top = await layer(`top${index}`, image, entries);
        await seen(top, (path) => expect(readdirSync(join(path, 'etc/opt'))).toEqual(['new']));
      }
    });

    it('replaces a kind by another', async () => {
      const image = await layer('image', undefined, base);
      const top = await layer('top', image, [
        { path: 'etc/opt', content: 'now a file' },
        { path: 'bin/su/' },
        { path: 'bin/su/x', content: 'x' },
        { path: 'lib/' },
        { path: 'lib/y', content: 'y' },
        { path: 'data', type: '2', link: 'etc' },
      ]);
      await seen(top, (path) => {
        expect(readFileSync(join(path, 'etc/opt'), 'utf8')).toBe('now a file');
        expect(readdirSync(join(path, 'bin/su'))).toEqual(['x']);
        expect(readdirSync(join(path, 'lib'))).toEqual(['y']);
        expect(lstatSync(join(path, 'data')).isSymbolicLink()).toBe(true);
      });
    });

    it('is as it was created after a layer that could not be applied', async () => {
      const image = await layer('image', undefined, base);
      await driver.create(id('top'), { parent: image, writable: false });
      const good = archive([{ path: 'etc/new', content: 'new' }, { path: 'etc/.wh.passwd' }]);
      const bad = archive([{ path: 'etc/new', content: 'bad' }, { path: '.wh.etc' }, { path: '../escape', content: 'x' }]);
      await expect(apply(id('top'), image, bad)).rejects.toMatchObject({
        kind: 'invalid-parameter',
        message: expect.stringContaining('../escape') as string,
      });
      await expect(apply(id('top'), image, good.subarray(0, 700))).rejects.toMatchObject({ kind: 'invalid-parameter' });
      await apply(id('top'), image, good);
      await seen(id('top'), (path) => expect(readdirSync(join(path, 'etc')).toSorted()).toEqual(['new', 'opt']));
      expect(existsSync(join(root, 'escape'))).toBe(false);
    });

    it('stacks 125 layers', async () => {
      let top = await layer('0', undefined, [
        { path: 'bottom', content: 'b' },
        { path: 'all', content: '0' },
        { path: 'gone', content: '' },
      ]);
      for (let depth = 1; depth < 125; depth++) {
        const entries: ArchiveEntry[] = [{ path: 'all', content: `${depth}` }];
        if (depth === 60) entries.push({ path: '.wh.gone', content: '' });
        top = await layer(`${depth}`, top, entries);
      }
      const container = await writable('container', top);
      await seen(container, (path) => {
        expect(readdirSync(path).toSorted()).toEqual(['all', 'bottom']);
        expect(readFileSync(join(path, 'all'), 'utf8')).toBe('124');
        writeFileSync(join(path, 'bottom'), 'changed');
      });
      expect(await driver.changes(container, top)).toEqual([{ path: '/bottom', kind: 'modified' }]);
    });

    /** Every kind of change that a container can make. */
    const scribble = (path: string): void => {
      writeFileSync(join(path, 'etc/passwd'), 'other');
      unlinkSync(join(path, 'etc/opt/one'));
      rmSync(join(path, 'data'), { recursive: true });
      mkdirSync(join(path, 'data'));
      writeFileSync(join(path, 'data/fresh'), 'fresh');
      chmodSync(join(path, 'bin'), 0o700);
      chownSync(join(path, 'etc/opt'), 5, 6);
      rmSync(join(path, 'lib'));
      mkdirSync(join(path, 'lib/deep/er'), { recursive: true });
      writeFileSync(join(path, 'lib/deep/er/file'), 'f');
      unlinkSync(join(path, 'bin/sudo'));
      renameSync(join(path, 'etc/opt/two'), join(path, 'etc/opt/deux'));
      linkSync(join(path, 'data/fresh'), join(path, 'data/again'));
      symlinkSync('/etc/passwd', join(path, 'absolute'));
      execFileSync('mkfifo', [join(path, 'fifo')]);
      execFileSync('mknod', [join(path, 'zero'), 'c', '1', '5']);
      const sparse = openSync(join(path, 'sparse'), 'w');
      ftruncateSync(sparse, 1 << 20);
      writeSync(sparse, 'end', (1 << 20) - 3);
      closeSync(sparse);
      writeFileSync(join(path, `${'n'.repeat(200)}`), 'long name');
      writeFileSync(join(path, 'old'), '');
      utimesSync(join(path, 'old'), 1000, 1000);
      lutimesSync(join(path, 'absolute'), 2000, 2000);
    };

    it('gives a difference that makes the same tree again', async () => {
      const image = await layer('image', undefined, base);
      const container = await writable('container', image);
      await seen(container, scribble);
      const first = await buffer(await driver.diff(container, image));
      const second = await buffer(await driver.diff(container, image));
      expect(first.equals(second)).toBe(true);
      await driver.create(id('copy'), { parent: image, writable: false });
      await apply(id('copy'), image, first);
      expect(await tree(id('copy'), { times: true })).toEqual(await tree(container, { times: true }));
    });

    it('gives a difference that GNU tar reads', async () => {
      const image = await layer('image', undefined, base);
      const container = await writable('container', image);
      await seen(container, scribble);
      const names = execFileSync('tar', ['-tf', '-'], { input: await buffer(await driver.diff(container, image)) }).toString();
      for (const name of ['etc/passwd', 'etc/opt/.wh.one', 'data/fresh', 'lib/deep/er/file', 'bin/.wh.sudo', 'fifo', 'zero'])
        expect(names.split('\n')).toContain(name);
    });

    it('gives the whole tree without a parent', async () => {
      const image = await layer('image', undefined, base);
      const container = await writable('container', image);
      await seen(container, scribble);
      const whole = await buffer(await driver.diff(container, undefined));
      await driver.create(id('flat'), { writable: false });
      await apply(id('flat'), undefined, whole);
      expect(await tree(id('flat'), { times: true })).toEqual(await tree(container, { times: true }));
    });

    it('lists changes in order with the folders on the way', async () => {
      const image = await layer('image', undefined, base);
      const container = await writable('container', image);
      expect(await driver.changes(container, image)).toEqual([]);
      await seen(container, (path) => {
        writeFileSync(join(path, 'etc/opt/one'), 'changed');
        writeFileSync(join(path, 'etc/opt/new'), '');
        unlinkSync(join(path, 'bin/su'));
        mkdirSync(join(path, 'added/below'), { recursive: true });
        rmSync(join(path, 'data'), { recursive: true });
        mkdirSync(join(path, 'data'), { mode: 0o700 });
      });
      expect(await driver.changes(container, image)).toEqual([
        { path: '/added', kind: 'added' },
        { path: '/added/below', kind: 'added' },
        { path: '/bin', kind: 'modified' },
        { path: '/bin/su', kind: 'deleted' },
        { path: '/data', kind: 'modified' },
        { path: '/data/file', kind: 'deleted' },
        { path: '/etc', kind: 'modified' },
        { path: '/etc/opt', kind: 'modified' },
        { path: '/etc/opt/new', kind: 'added' },
        { path: '/etc/opt/one', kind: 'modified' },
      ]);
    });

    it('measures what a snapshot adds', async () => {
      const image = await layer('image', undefined, base);
      const container = await writable('container', image);
      expect(await driver.usage(container)).toBe(0);
      await seen(container, (path) => {
        writeFileSync(join(path, 'a'), 'x'.repeat(1000));
        linkSync(join(path, 'a'), join(path, 'b'));
        unlinkSync(join(path, 'etc/passwd'));
      });
      expect(await driver.usage(container)).toBe(1000);
    });

    it('lets a reader of a difference leave early', async () => {
      const container = await writable('container');
      await seen(container, (path) => writeFileSync(join(path, 'large'), Buffer.alloc(4 << 20, 7)));
      const stream = await driver.diff(container, undefined);
      await new Promise((resolve) => stream.once('data', resolve));
      stream.destroy();
      expect(await driver.usage(container)).toBe(4 << 20);
      await driver.remove(container);
    });

    it('serves many callers at once', async () => {
      const image = await layer('image', undefined, base);
      await Promise.all(
        Array.from({ length: 32 }, async (_, index) => {
          const container = await writable(`container ${index}`, image);
          await seen(container, (path) => writeFileSync(join(path, 'who'), `${index}`));
          await seen(container, (path) => expect(readFileSync(join(path, 'who'), 'utf8')).toBe(`${index}`));
          expect(await driver.changes(container, image)).toEqual([{ path: '/who', kind: 'added' }]);
          await driver.remove(container);
        }),
      );
      expect(await driver.list()).toEqual([image]);
      expect(files.mountsBelow(root)).toEqual([]);
    });

    it.skipIf(under.capabilities.includes('quota'))('refuses a quota that it cannot keep', async () => {
      await expect(driver.create(id('a'), { writable: true, quota: 1 << 20 })).rejects.toMatchObject({ kind: 'invalid-parameter' });
      expect(await driver.exists(id('a'))).toBe(false);
    });

    it('says something of itself', async () => {
      for (const [key, value] of await driver.status()) expect([typeof key, typeof value]).toEqual(['string', 'string']);
      const container = await writable('container');
      for (const value of Object.values(await driver.metadata(container))) expect(typeof value).toBe('string');
    });
  });
}
