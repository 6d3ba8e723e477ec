import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { expect, it } from 'vitest';
import { archive } from '../archive.js';
import { FailingHost } from './failing-host.js';
import { BASE, id, StorageTrial, type StorageUnderTest } from './trial.js';

/** One step after the other, as a container's life goes. What a step makes is there for those after it. */
const STEPS: readonly [name: string, step: (trial: StorageTrial) => Promise<unknown>][] = [
  ['create a layer', (trial) => trial.driver.create(id('image'), { writable: false })],
  ['apply it', (trial) => trial.apply(id('image'), undefined, archive(BASE))],
  ['create a container', (trial) => trial.driver.create(id('container'), { writable: true, parent: id('image') })],
  ['acquire', (trial) => trial.driver.acquire(id('container'))],
  ['list changes', (trial) => trial.driver.changes(id('container'), id('image'))],
  ['give the difference', async (trial) => buffer(await trial.driver.diff(id('container'), id('image')))],
  ['give the whole', async (trial) => buffer(await trial.driver.diff(id('container'), undefined))],
  ['measure', (trial) => trial.driver.usage(id('container'))],
  ['release', (trial) => trial.driver.release(id('container'))],
  ['remove the container', (trial) => trial.driver.remove(id('container'))],
  ['remove the layer', (trial) => trial.driver.remove(id('image'))],
];

/** A volume larger than this is nobody's test volume, and is not filled. */
const LARGEST_VOLUME = 4 * 2 ** 30;

/** Bytes that a volume has left when it is as good as full. */
const LEFT_FREE = 16 << 20;

/** What is left when something fails in the middle. */
export function storageFaults(name: string, under: StorageUnderTest): void {
  for (const [index, [title, step]] of STEPS.entries())
    it(`can ${title} once more after each call of it that failed`, async (context) => {
      for (let fail = 1; ; fail++) {
        const failing = new FailingHost(under.host);
        const trial = new StorageTrial(name, under);
        await trial.open(failing.host);
        try {
          for (const [, before] of STEPS.slice(0, index)) await before(trial);
          failing.failAt(fail);
          const failure = await step(trial).then(
            () => undefined,
            (error: unknown) => error,
          );
          const failed = failing.stop();
          if (failed && failure !== undefined) await step(trial);
          else expect(failure, `call ${fail}`).toBeUndefined();
          for (const [, after] of STEPS.slice(index + 1)) await after(trial);
          expect(await trial.driver.list()).toEqual([]);
          await trial.driver.close();
          expect(trial.files.mountsBelow(trial.root), `mounts after call ${fail}`).toEqual([]);
          if (failed) continue;
          if (fail === 1) context.skip('this step makes no call that could be failed');
          return;
        } finally {
          await trial.close();
        }
      }
    });

  it('keeps working when the disk is full, and after it was', async (context) => {
    const trial = new StorageTrial(name, under);
    await trial.open();
    const ballast = join(trial.root, 'ballast');
    try {
      const { total } = await trial.files.fileSystem(trial.root);
      if (under.folder === undefined || total > LARGEST_VOLUME) context.skip('needs a small volume of its own');
      const image = await trial.layer('image', undefined, BASE);
      const container = await trial.writable('container', image);
      await trial.seen(container, (path) => writeFileSync(join(path, 'file'), 'content'));
      const bytes = archive([{ path: 'large', content: randomBytes(32 << 20) }]);
      await trial.driver.create(id('large'), { writable: false });
      mkdirSync(ballast);
      let failure: unknown;
      for (let round = 0; failure === undefined && round < 20; round++) {
        // Leaves less than the layer and more than nothing. btrfs gives back what was removed before at times of its own, so that a layer
        // may find room after all.
        if (round > 0) {
          await trial.driver.remove(id('large'));
          await trial.driver.create(id('large'), { writable: false });
        }
        await trial.files.sync(trial.root);
        const { free } = await trial.files.fileSystem(trial.root);
        if (free > LEFT_FREE) execFileSync('fallocate', ['-l', String(free - LEFT_FREE), join(ballast, String(round))]);
        failure = await trial.applyFrom(id('large'), undefined, bytes, '/var/tmp').then(
          () => undefined,
          (error: unknown) => error,
        );
      }
      expect(failure).toMatchObject({ code: 'ENOSPC' });
      expect(await trial.driver.changes(container, image)).toEqual([{ path: '/file', kind: 'added' }]);
      await trial.driver.remove(container);
      rmSync(ballast, { recursive: true });
      // btrfs gives space back with its next transaction.
      await trial.files.sync(trial.root);
      await trial.applyFrom(id('large'), undefined, bytes, '/var/tmp');
      expect(Object.keys(await trial.tree(id('large')))).toEqual(['/', 'large']);
    } finally {
      rmSync(ballast, { recursive: true, force: true });
      await trial.close();
    }
  });
}
