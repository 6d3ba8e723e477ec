import { execFileSync } from 'node:child_process';
import {
  closeSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { expect, it } from 'vitest';
import { type ArchiveEntry } from '../archive.js';
import type { SnapshotId } from '@gantry/core/contracts/ids.js';
import { BASE, id, type StorageTrial } from './trial.js';

/** Applies a container's difference to its parent and expects the container's tree; gives back the new layer. */
async function expectSame(trial: StorageTrial, container: SnapshotId, parent: SnapshotId, label = 'top'): Promise<SnapshotId> {
  const difference = await buffer(await trial.driver.diff(container, parent));
  await trial.driver.create(id(label), { parent, writable: false });
  await trial.apply(id(label), parent, difference);
  expect(await trial.tree(id(label), { times: true })).toEqual(await trial.tree(container, { times: true }));
  return id(label);
}

/** What containers do to files of their image, and how it survives. */
export function storageContainers(trial: StorageTrial): void {
  it('moves a folder of the image', async () => {
    const image = await trial.layer('image', undefined, BASE);
    const container = await trial.writable('container', image);
    // Where the file system does not, mv(1) copies.
    await trial.seen(container, (path) => execFileSync('mv', [join(path, 'etc'), join(path, 'moved')]));
    await trial.restart();
    await trial.seen(container, (path) => {
      expect(existsSync(join(path, 'etc'))).toBe(false);
      expect(readFileSync(join(path, 'moved/opt/two'), 'utf8')).toBe('22');
    });
    expect(await trial.driver.changes(container, image)).toEqual([
      { path: '/etc', kind: 'deleted' },
      { path: '/moved', kind: 'added' },
      { path: '/moved/opt', kind: 'added' },
      { path: '/moved/opt/one', kind: 'added' },
      { path: '/moved/opt/two', kind: 'added' },
      { path: '/moved/passwd', kind: 'added' },
    ]);
    await expectSame(trial, container, image);
  });

  it('lets two folders of the image change places', async () => {
    const image = await trial.layer('image', undefined, BASE);
    const container = await trial.writable('container', image);
    await trial.seen(container, (path) => {
      for (const [from, to] of [
        ['etc', 'between'],
        ['data', 'etc'],
        ['between', 'data'],
      ] as const)
        execFileSync('mv', [join(path, from), join(path, to)]);
    });
    await trial.seen(container, (path) => {
      expect(readdirSync(join(path, 'etc'))).toEqual(['file']);
      expect(readdirSync(join(path, 'data')).toSorted()).toEqual(['opt', 'passwd']);
    });
    await expectSame(trial, container, image);
  });

  it('hides what was there when a folder is made again', async () => {
    const image = await trial.layer('image', undefined, BASE);
    const container = await trial.writable('container', image);
    await trial.seen(container, (path) => {
      rmSync(join(path, 'etc'), { recursive: true });
      mkdirSync(join(path, 'etc/opt'), { recursive: true });
      writeFileSync(join(path, 'etc/opt/three'), '333');
    });
    const top = await expectSame(trial, container, image);
    await trial.seen(top, (path) => {
      expect(readdirSync(join(path, 'etc'))).toEqual(['opt']);
      expect(readdirSync(join(path, 'etc/opt'))).toEqual(['three']);
    });
    // And once more on top of what hides it.
    const again = await trial.writable('again', top);
    await trial.seen(again, (path) => writeFileSync(join(path, 'etc/passwd'), 'new'));
    expect(await trial.driver.changes(again, top)).toEqual([
      { path: '/etc', kind: 'modified' },
      { path: '/etc/passwd', kind: 'added' },
    ]);
    await expectSame(trial, again, top, 'second');
  });

  it('brings back what a layer took away', async () => {
    const image = await trial.layer('image', undefined, BASE);
    const without = await trial.layer('without', image, [{ path: '.wh.etc', content: '' }]);
    const container = await trial.writable('container', without);
    await trial.seen(container, (path) => {
      mkdirSync(join(path, 'etc'));
      writeFileSync(join(path, 'etc/hosts'), 'localhost');
    });
    await trial.seen(container, (path) => expect(readdirSync(join(path, 'etc'))).toEqual(['hosts']));
    const top = await expectSame(trial, container, without);
    await trial.seen(top, (path) => expect(readdirSync(join(path, 'etc'))).toEqual(['hosts']));
  });

  it('keeps hard links together', async () => {
    const image = await trial.layer('image', undefined, BASE);
    const container = await trial.writable('container', image);
    await trial.seen(container, (path) => {
      linkSync(join(path, 'etc/passwd'), join(path, 'etc/users'));
      writeFileSync(join(path, 'etc/passwd'), 'changed');
      expect(readFileSync(join(path, 'etc/users'), 'utf8')).toBe('changed');
      for (const name of ['a', 'b/c', 'b/d/e']) mkdirSync(join(path, name, '..'), { recursive: true });
      writeFileSync(join(path, 'a'), 'one file');
      linkSync(join(path, 'a'), join(path, 'b/c'));
      linkSync(join(path, 'a'), join(path, 'b/d/e'));
    });
    const top = await expectSame(trial, container, image);
    await trial.seen(top, (path) => {
      expect(lstatSync(join(path, 'b/d/e')).ino).toBe(lstatSync(join(path, 'a')).ino);
      expect(readFileSync(join(path, 'etc/users'), 'utf8')).toBe('changed');
    });
  });

  it('tells of each name of a file that changed', async () => {
    const links: ArchiveEntry[] = [
      { path: 'one/' },
      { path: 'two/' },
      { path: 'one/file', content: 'content' },
      { path: 'two/name', type: '1', link: 'one/file' },
    ];
    const image = await trial.layer('image', undefined, links);
    const container = await trial.writable('container', image);
    await trial.seen(container, (path) => {
      // Both names, whether or not writing to one parts them.
      writeFileSync(join(path, 'one/file'), 'changed one');
      writeFileSync(join(path, 'two/name'), 'changed two');
    });
    expect(await trial.driver.changes(container, image)).toEqual([
      { path: '/one', kind: 'modified' },
      { path: '/one/file', kind: 'modified' },
      { path: '/two', kind: 'modified' },
      { path: '/two/name', kind: 'modified' },
    ]);
    await expectSame(trial, container, image);
  });

  it('keeps attributes and file capabilities, and takes their change for a change', async () => {
    const capability = Buffer.from('0100000200200000000000000000000000000000', 'hex');
    const image = await trial.layer('image', undefined, BASE);
    const container = await trial.writable('container', image);
    await trial.seen(container, async (path) => {
      await trial.files.setXattr(join(path, 'bin/su'), 'security.capability', capability);
      await trial.files.setXattr(join(path, 'etc/opt'), 'user.note', Buffer.from('a\0b'));
    });
    expect(await trial.driver.changes(container, image)).toEqual(
      expect.arrayContaining([
        { path: '/bin/su', kind: 'modified' },
        { path: '/etc/opt', kind: 'modified' },
      ]),
    );
    const top = await expectSame(trial, container, image);
    await trial.seen(top, async (path) => {
      expect(await trial.files.getXattr(join(path, 'bin/su'), 'security.capability')).toEqual(capability);
      expect(await trial.files.getXattr(join(path, 'etc/opt'), 'user.note')).toEqual(Buffer.from('a\0b'));
    });
  });

  it('keeps holes in files', async () => {
    const size = 64 << 20;
    const sparse: ArchiveEntry = {
      path: 'sparse',
      content: 'end',
      pax: { 'GNU.sparse.size': `${size}`, 'GNU.sparse.map': `${size - 3},3` },
    };
    const image = await trial.layer('image', undefined, [sparse]);
    const container = await trial.writable('container', image);
    await trial.seen(container, (path) => {
      const st = lstatSync(join(path, 'sparse'));
      expect([st.size, st.blocks * 512 < size / 4]).toEqual([size, true]);
      const fd = openSync(join(path, 'sparse'), 'r');
      const tail = Buffer.alloc(4);
      readSync(fd, tail, 0, 4, size - 4);
      closeSync(fd);
      expect(tail.toString('latin1')).toBe('\0end');
    });
    expect(await trial.driver.changes(container, image)).toEqual([]);
  });
}
