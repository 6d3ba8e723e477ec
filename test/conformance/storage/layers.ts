import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, lstatSync, readdirSync, readFileSync, type Stats } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { archive, type ArchiveEntry } from '../archive.js';
import { BASE, id, type StorageTrial } from './trial.js';

/** What a layer archive becomes. */
export function storageLayers(trial: StorageTrial): void {
  it('applies everything that an archive says of a file', async () => {
    const entries: ArchiveEntry[] = [
      ...BASE,
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
    await trial.driver.create(id('image'), { writable: false });
    const applied = await trial.apply(id('image'), undefined, bytes);
    expect(applied.diffId).toBe(`sha256:${createHash('sha256').update(bytes).digest('hex')}`);
    expect(applied.size).toBe('root:x:0:0\n'.length + 1 + 2 + 2 + 4 + 3 + 4 + 1);
    await trial.seen(id('image'), (path) => {
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
    const bytes = archive(BASE);
    const wanted = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
    for (const program of ['gzip', 'zstd']) {
      await trial.driver.create(id(program), { writable: false });
      const applied = await trial.apply(id(program), undefined, execFileSync(program, ['-c'], { input: bytes }));
      expect(applied.diffId).toBe(wanted);
    }
    expect(await trial.tree(id('gzip'))).toEqual(await trial.tree(id('zstd')));
  });

  it('hides what a whiteout names', async () => {
    const image = await trial.layer('image', undefined, BASE);
    const top = await trial.layer('top', image, [
      { path: 'etc/.wh.passwd', content: '' },
      { path: 'bin/.wh.su', content: '' },
      { path: '.wh.data', content: '' },
      { path: '.wh..wh.plnk', content: '' },
      { path: '.wh.never-was', content: '' },
    ]);
    await trial.seen(top, (path) => {
      expect(readdirSync(path).toSorted()).toEqual(['bin', 'etc', 'lib']);
      expect(readdirSync(join(path, 'bin'))).toEqual(['sudo']);
      expect(readdirSync(join(path, 'etc'))).toEqual(['opt']);
    });
  });

  it('hides what an opaque folder had below, wherever the mark stands in the archive', async () => {
    const image = await trial.layer('image', undefined, BASE);
    const mark = { path: 'etc/opt/.wh..wh..opq', content: '' };
    const folder = { path: 'etc/opt/' };
    const file = { path: 'etc/opt/three', content: '333' };
    for (const [index, entries] of [
      [folder, mark, file],
      [folder, file, mark],
      [folder, mark, file, mark],
    ].entries()) {
      const top = await trial.layer(`top${index}`, image, entries);
      await trial.seen(top, (path) => expect(readdirSync(join(path, 'etc/opt'))).toEqual(['three']));
    }
  });

  it('hides only what is below with a whiteout beside the same name', async () => {
    const image = await trial.layer('image', undefined, BASE);
    const whiteout = { path: 'etc/.wh.opt', content: '' };
    const again: ArchiveEntry[] = [{ path: 'etc/opt/' }, { path: 'etc/opt/new', content: 'n' }];
    for (const [index, entries] of [
      [whiteout, ...again],
      [...again, whiteout],
    ].entries()) {
      const top = await trial.layer(`top${index}`, image, entries);
      await trial.seen(top, (path) => expect(readdirSync(join(path, 'etc/opt'))).toEqual(['new']));
    }
  });

  it('replaces a kind by another', async () => {
    const image = await trial.layer('image', undefined, BASE);
    const top = await trial.layer('top', image, [
      { path: 'etc/opt', content: 'now a file' },
      { path: 'bin/su/' },
      { path: 'bin/su/x', content: 'x' },
      { path: 'lib/' },
      { path: 'lib/y', content: 'y' },
      { path: 'data', type: '2', link: 'etc' },
    ]);
    await trial.seen(top, (path) => {
      expect(readFileSync(join(path, 'etc/opt'), 'utf8')).toBe('now a file');
      expect(readdirSync(join(path, 'bin/su'))).toEqual(['x']);
      expect(readdirSync(join(path, 'lib'))).toEqual(['y']);
      expect(lstatSync(join(path, 'data')).isSymbolicLink()).toBe(true);
    });
  });

  it('is as it was created after a layer that could not be applied', async () => {
    const image = await trial.layer('image', undefined, BASE);
    await trial.driver.create(id('top'), { parent: image, writable: false });
    const good = archive([{ path: 'etc/new', content: 'new' }, { path: 'etc/.wh.passwd' }]);
    const bad = archive([{ path: 'etc/new', content: 'bad' }, { path: '.wh.etc' }, { path: '../escape', content: 'x' }]);
    await expect(trial.apply(id('top'), image, bad)).rejects.toMatchObject({
      kind: 'invalid-parameter',
      message: expect.stringContaining('../escape') as string,
    });
    await expect(trial.apply(id('top'), image, good.subarray(0, 700))).rejects.toMatchObject({ kind: 'invalid-parameter' });
    await trial.apply(id('top'), image, good);
    await trial.seen(id('top'), (path) => expect(readdirSync(join(path, 'etc')).toSorted()).toEqual(['new', 'opt']));
    expect(existsSync(join(trial.root, 'escape'))).toBe(false);
  });
}
