import { randomBytes } from 'node:crypto';
import { closeSync, fsyncSync, openSync, readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import type { Capability } from '@gantry/core/contracts/manifest.js';
import { BASE, id, type StorageTrial } from './trial.js';

const EDQUOT = 122;

/** Limits on what a container writes. */
export function storageQuotas(trial: StorageTrial, capabilities: readonly Capability[]): void {
  it.skipIf(capabilities.includes('quota'))('refuses a quota that it cannot keep', async () => {
    await expect(trial.driver.create(id('a'), { writable: true, quota: 1 << 20 })).rejects.toMatchObject({ kind: 'invalid-parameter' });
    expect(await trial.driver.exists(id('a'))).toBe(false);
  });

  /** Whether that many mebibytes can be written into a file. */
  const fits = (path: string, megabytes: number): boolean => {
    let fd: number | undefined;
    try {
      fd = openSync(path, 'w');
      for (let i = 0; i < megabytes; i++) writeSync(fd, randomBytes(1 << 20));
      fsyncSync(fd);
      return true;
    } catch (error) {
      const { code, errno } = error as NodeJS.ErrnoException;
      // Node has no name for EDQUOT.
      if (code === 'ENOSPC' || code === 'EDQUOT' || errno === -EDQUOT) return false;
      throw error;
    } finally {
      if (fd !== undefined) closeSync(fd);
    }
  };

  it.skipIf(!capabilities.includes('quota'))('lets a container write its quota and not more, and nobody else notices', async () => {
    const image = await trial.layer('image', undefined, [...BASE, { path: 'large', content: randomBytes(20 << 20) }]);
    const small = await trial.writable('small', image, 8 << 20);
    const free = await trial.writable('free', image);
    await trial.seen(small, (path) => {
      expect(fits(join(path, 'first'), 4)).toBe(true);
      expect(fits(join(path, 'second'), 16)).toBe(false);
    });
    await trial.restart();
    await trial.seen(small, (path) => {
      expect(readFileSync(join(path, 'first')).length).toBe(4 << 20);
      expect(fits(join(path, 'third'), 16)).toBe(false);
    });
    await trial.seen(free, (path) => expect(fits(join(path, 'first'), 40)).toBe(true));
  });

  it.skipIf(!capabilities.includes('quota'))('forgets a quota with the snapshot that had it', async () => {
    await trial.writable('a', undefined, 4 << 20);
    await trial.driver.remove(id('a'));
    const again = await trial.writable('a');
    await trial.seen(again, (path) => expect(fits(join(path, 'file'), 20)).toBe(true));
    const other = await trial.writable('b', undefined, 30 << 20);
    await trial.seen(other, (path) => expect(fits(join(path, 'file'), 20)).toBe(true));
  });
}
