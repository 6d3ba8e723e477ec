import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { expect, it } from 'vitest';
import { type ArchiveEntry } from '../archive.js';
import { BASE, id, type StorageTrial } from './trial.js';

/** How many times slower this machine is than a usual one. */
const SLOW = Number(process.env['GANTRY_SLOW'] ?? 1);

/** Snapshots come, are used, and go. */
export function storageLife(trial: StorageTrial): void {
  it('knows what exists', async () => {
    expect(await trial.driver.exists(id('a'))).toBe(false);
    await trial.driver.create(id('a'), { writable: true });
    await trial.driver.create(id('b'), { writable: false });
    expect(await trial.driver.exists(id('a'))).toBe(true);
    expect((await trial.driver.list()).toSorted()).toEqual([id('a'), id('b')].toSorted());
  });

  it('refuses a second snapshot of one id, and a parent that is not there', async () => {
    await trial.driver.create(id('a'), { writable: true });
    await expect(trial.driver.create(id('a'), { writable: true })).rejects.toMatchObject({ kind: 'conflict' });
    await expect(trial.driver.create(id('b'), { parent: id('ghost'), writable: true })).rejects.toMatchObject({ kind: 'not-found' });
    expect(await trial.driver.exists(id('b'))).toBe(false);
    for (const call of [
      () => trial.driver.acquire(id('ghost')),
      () => trial.driver.usage(id('ghost')),
      () => trial.driver.changes(id('ghost'), undefined),
    ])
      await expect(call()).rejects.toMatchObject({ kind: 'not-found' });
  });

  it('forgives the removal of a snapshot that is gone', async () => {
    await expect(trial.driver.remove(id('ghost'))).resolves.toBeUndefined();
    await trial.driver.create(id('a'), { writable: true });
    await trial.driver.remove(id('a'));
    await trial.driver.remove(id('a'));
    expect(await trial.driver.list()).toEqual([]);
    await trial.driver.create(id('a'), { writable: true });
  });

  it('counts nested acquires and refuses removal until the last release', async () => {
    const one = await trial.writable('a');
    await trial.driver.acquire(one);
    await trial.driver.acquire(one);
    await trial.driver.release(one);
    await expect(trial.driver.remove(one)).rejects.toMatchObject({ kind: 'conflict' });
    await trial.driver.release(one);
    await trial.driver.release(one);
    await trial.driver.remove(one);
  });

  it('keeps what was written, and shows it to nobody else', async () => {
    const image = await trial.layer('image', undefined, BASE);
    const one = await trial.writable('one', image);
    const two = await trial.writable('two', image);
    await trial.seen(one, (path) => {
      writeFileSync(join(path, 'etc/passwd'), 'changed');
      writeFileSync(join(path, 'fresh'), 'fresh');
      rmSync(join(path, 'etc/opt'), { recursive: true });
    });
    await trial.restart();
    await trial.seen(one, (path) => {
      expect(readFileSync(join(path, 'etc/passwd'), 'utf8')).toBe('changed');
      expect(readdirSync(join(path, 'etc'))).toEqual(['passwd']);
    });
    expect(await trial.tree(two)).toEqual(await trial.tree(image));
  });

  it('shows an image layer read-only', async () => {
    const image = await trial.layer('image', undefined, BASE);
    const top = await trial.layer('top', image, [{ path: 'x', content: '' }]);
    for (const one of [image, top]) await trial.seen(one, (path) => expect(() => writeFileSync(join(path, 'new'), '')).toThrow(/EROFS/));
  });

  it('stacks 125 layers', async () => {
    let top = await trial.layer('0', undefined, [
      { path: 'bottom', content: 'b' },
      { path: 'all', content: '0' },
      { path: 'gone', content: '' },
    ]);
    for (let depth = 1; depth < 125; depth++) {
      const entries: ArchiveEntry[] = [{ path: 'all', content: `${depth}` }];
      if (depth === 60) entries.push({ path: '.wh.gone', content: '' });
      top = await trial.layer(`${depth}`, top, entries);
    }
    const container = await trial.writable('container', top);
    await trial.seen(container, (path) => {
      expect(readdirSync(path).toSorted()).toEqual(['all', 'bottom']);
      expect(readFileSync(join(path, 'all'), 'utf8')).toBe('124');
      writeFileSync(join(path, 'bottom'), 'changed');
    });
    expect(await trial.driver.changes(container, top)).toEqual([{ path: '/bottom', kind: 'modified' }]);
  });

  it(
    'serves 64 callers at once',
    async () => {
      const image = await trial.layer('image', undefined, BASE);
      await Promise.all(
        Array.from({ length: 64 }, async (_, index) => {
          const container = await trial.writable(`container ${index}`, image);
          await trial.seen(container, (path) => writeFileSync(join(path, 'who'), `${index}`));
          await trial.seen(container, (path) => expect(readFileSync(join(path, 'who'), 'utf8')).toBe(`${index}`));
          expect(await trial.driver.changes(container, image)).toEqual([{ path: '/who', kind: 'added' }]);
          const difference = await buffer(await trial.driver.diff(container, image));
          await trial.driver.create(id(`copy ${index}`), { writable: false, parent: image });
          await trial.apply(id(`copy ${index}`), image, difference);
          await trial.seen(id(`copy ${index}`), (path) => expect(readFileSync(join(path, 'who'), 'utf8')).toBe(`${index}`));
          await trial.driver.remove(id(`copy ${index}`));
          await trial.driver.remove(container);
        }),
      );
      expect(await trial.driver.list()).toEqual([image]);
      expect(trial.files.mountsBelow(trial.root)).toEqual([]);
    },
    120_000 * SLOW,
  );

  it('says something of itself', async () => {
    for (const [key, value] of await trial.driver.status()) expect([typeof key, typeof value]).toEqual(['string', 'string']);
    const container = await trial.writable('container');
    for (const value of Object.values(await trial.driver.metadata(container))) expect(typeof value).toBe('string');
  });

  it('gives what was in use when its daemon died to the next one', async () => {
    const image = await trial.layer('image', undefined, BASE);
    const container = await trial.writable('container', image);
    const place = join(trial.root, 'running');
    mkdirSync(place);
    const before = await trial.driver.acquire(container);
    for (const mount of before) await trial.files.mount(mount, place);
    writeFileSync(join(place, 'early'), 'early');
    await trial.restart();
    expect(await trial.driver.acquire(container)).toEqual(before);
    writeFileSync(join(place, 'late'), 'late');
    await expect(trial.driver.remove(container)).rejects.toMatchObject({ kind: 'conflict' });
    await trial.files.unmount(place);
    await trial.driver.release(container);
    await trial.seen(container, (path) => expect(readdirSync(path)).toEqual(expect.arrayContaining(['early', 'late'])));
    await trial.driver.remove(container);
    expect(await trial.driver.list()).toEqual([image]);
  });

  it('knows after a restart all that it knew before', async () => {
    const image = await trial.layer('image', undefined, BASE);
    const top = await trial.layer('top', image, [{ path: 'etc/.wh.passwd', content: '' }]);
    const container = await trial.writable('container', top);
    await trial.seen(container, (path) => writeFileSync(join(path, 'new'), 'new'));
    const known = async () => [
      (await trial.driver.list()).toSorted(),
      await trial.driver.usage(container),
      await trial.driver.changes(container, top),
      await trial.driver.metadata(container),
      await trial.tree(container, { times: true }),
    ];
    const before = await known();
    await trial.driver.close();
    await trial.restart();
    expect(await known()).toEqual(before);
  });
}
