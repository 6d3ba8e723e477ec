import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  closeSync,
  ftruncateSync,
  linkSync,
  lutimesSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { expect, it } from 'vitest';
import { BASE, id, type StorageTrial } from './trial.js';

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

/** What a snapshot has beyond its parent. */
export function storageDifferences(trial: StorageTrial): void {
  it('gives a difference that makes the same tree again', async () => {
    const image = await trial.layer('image', undefined, BASE);
    const container = await trial.writable('container', image);
    await trial.seen(container, scribble);
    const first = await buffer(await trial.driver.diff(container, image));
    const second = await buffer(await trial.driver.diff(container, image));
    expect(first.equals(second)).toBe(true);
    await trial.driver.create(id('copy'), { parent: image, writable: false });
    await trial.apply(id('copy'), image, first);
    expect(await trial.tree(id('copy'), { times: true })).toEqual(await trial.tree(container, { times: true }));
  });

  it('gives a difference that GNU tar reads', async () => {
    const image = await trial.layer('image', undefined, BASE);
    const container = await trial.writable('container', image);
    await trial.seen(container, scribble);
    const names = execFileSync('tar', ['-tf', '-'], { input: await buffer(await trial.driver.diff(container, image)) }).toString();
    for (const name of ['etc/passwd', 'etc/opt/.wh.one', 'data/fresh', 'lib/deep/er/file', 'bin/.wh.sudo', 'fifo', 'zero'])
      expect(names.split('\n')).toContain(name);
  });

  it('gives the whole tree without a parent', async () => {
    const image = await trial.layer('image', undefined, BASE);
    const container = await trial.writable('container', image);
    await trial.seen(container, scribble);
    const whole = await buffer(await trial.driver.diff(container, undefined));
    await trial.driver.create(id('flat'), { writable: false });
    await trial.apply(id('flat'), undefined, whole);
    expect(await trial.tree(id('flat'), { times: true })).toEqual(await trial.tree(container, { times: true }));
  });

  it('lists changes in order with the folders on the way', async () => {
    const image = await trial.layer('image', undefined, BASE);
    const container = await trial.writable('container', image);
    expect(await trial.driver.changes(container, image)).toEqual([]);
    await trial.seen(container, (path) => {
      writeFileSync(join(path, 'etc/opt/one'), 'changed');
      writeFileSync(join(path, 'etc/opt/new'), '');
      unlinkSync(join(path, 'bin/su'));
      mkdirSync(join(path, 'added/below'), { recursive: true });
      rmSync(join(path, 'data'), { recursive: true });
      mkdirSync(join(path, 'data'), { mode: 0o700 });
    });
    expect(await trial.driver.changes(container, image)).toEqual([
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
    const image = await trial.layer('image', undefined, BASE);
    const container = await trial.writable('container', image);
    expect(await trial.driver.usage(container)).toBe(0);
    await trial.seen(container, (path) => {
      writeFileSync(join(path, 'a'), 'x'.repeat(1000));
      linkSync(join(path, 'a'), join(path, 'b'));
      unlinkSync(join(path, 'etc/passwd'));
    });
    expect(await trial.driver.usage(container)).toBe(1000);
  });

  it('lets a reader of a difference leave early', async () => {
    const container = await trial.writable('container');
    await trial.seen(container, (path) => writeFileSync(join(path, 'large'), Buffer.alloc(4 << 20, 7)));
    const stream = await trial.driver.diff(container, undefined);
    await new Promise((resolve) => stream.once('data', resolve));
    stream.destroy();
    expect(await trial.driver.usage(container)).toBe(4 << 20);
    await trial.driver.remove(container);
  });
}
