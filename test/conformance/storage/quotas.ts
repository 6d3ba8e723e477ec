import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import type { Capability } from '@gantry/core/contracts/manifest.js';
import { BASE, id, type StorageTrial } from './trial.js';

const MIB = 1 << 20;

/** Limits on what a container writes. */
export function storageQuotas(trial: StorageTrial, capabilities: readonly Capability[]): void {
  const least = Math.ceil((trial.under.leastQuota ?? 0) / MIB);

  it.skipIf(capabilities.includes('quota'))('refuses a quota that it cannot keep', async () => {
    await expect(trial.driver.create(id('a'), { writable: true, quota: 1 << 20 })).rejects.toMatchObject({ kind: 'invalid-parameter' });
    expect(await trial.driver.exists(id('a'))).toBe(false);
  });

  /**
   * Whether that many mebibytes can be written into a file by one who, as in a container, lacks CAP_SYS_RESOURCE: with it ext4 limits
   * nobody.
   */
  const fits = (path: string, megabytes: number): boolean => {
    const writer = ['--inh-caps=-sys_resource', '--bounding-set=-sys_resource', 'dd', 'if=/dev/zero', `of=${path}`, 'bs=1M'];
    const { status, stderr } = spawnSync('setpriv', [...writer, `count=${megabytes}`, 'conv=fsync'], { encoding: 'utf8' });
    if (status === 0) return true;
    expect(stderr).toMatch(/No space left on device|Disk quota exceeded/);
    return false;
  };

  /** Beyond the smallest that there is. */
  const quotaOf = (megabytes: number): number => least * MIB + megabytes * MIB;

  it.skipIf(!capabilities.includes('quota'))('lets a container write its quota and not more, and nobody else notices', async () => {
    const image = await trial.layer('image', undefined, [...BASE, { path: 'large', content: randomBytes(20 << 20) }]);
    const small = await trial.writable('small', image, quotaOf(8));
    const free = await trial.writable('free', image);
    await trial.seen(small, (path) => {
      expect(fits(join(path, 'first'), 4)).toBe(true);
      expect(fits(join(path, 'second'), least + 16)).toBe(false);
    });
    await trial.restart();
    await trial.seen(small, (path) => {
      expect(readFileSync(join(path, 'first')).length).toBe(4 << 20);
      expect(fits(join(path, 'third'), least + 16)).toBe(false);
    });
    await trial.seen(free, (path) => expect(fits(join(path, 'first'), 40)).toBe(true));
  });

  it.skipIf(!capabilities.includes('quota'))('forgets a quota with the snapshot that had it', async () => {
    await trial.writable('a', undefined, quotaOf(4));
    await trial.driver.remove(id('a'));
    const again = await trial.writable('a');
    await trial.seen(again, (path) => expect(fits(join(path, 'file'), 20)).toBe(true));
    const other = await trial.writable('b', undefined, quotaOf(30));
    await trial.seen(other, (path) => expect(fits(join(path, 'file'), 20)).toBe(true));
  });
}
