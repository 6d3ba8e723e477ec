import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, statfsSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { HostDevices } from '@gantry/core/contracts/host-devices.js';
import { host } from './index.js';

let devices: HostDevices | undefined;
let reason = '';
try {
  devices = host.devices?.();
} catch (error) {
  reason = `this build has no part for device-mapper, or libdevmapper is missing: ${String(error)}`;
  console.log(`skipped: ${reason}`);
}

describe.skipIf(!devices)(`the addon for device-mapper${reason && ` (skipped: ${reason})`}`, () => {
  it('answers on any kernel: with a version, or with why there is none', async () => {
    const answer = await devices?.version().catch((error: unknown) => error as NodeJS.ErrnoException);
    if (answer instanceof Error) expect(answer.code).toMatch(/^E[A-Z]+$/);
    else expect(answer).toMatch(/^\d+\.\d+/);
  });

  describe('lets a mounted file system have all of its device', () => {
    let folder: string;
    beforeEach(() => {
      folder = mkdtempSync('/var/tmp/gantry-grow-');
      mkdirSync(join(folder, 'tree'));
      execFileSync('truncate', ['-s', '600M', join(folder, 'disk')]);
    });
    afterEach(async () => {
      await host.files.unmount(join(folder, 'tree'), true);
      rmSync(folder, { recursive: true });
    });

    const megabytes = (): number => {
      const { blocks, bsize } = statfsSync(join(folder, 'tree'));
      return (blocks * bsize) / 2 ** 20;
    };

    for (const [type, make] of [
      ['xfs', ['mkfs.xfs', '-q', '-d', 'size=320m']],
      ['ext4', ['mkfs.ext4', '-q', '-E', 'lazy_itable_init=1']],
    ] as const)
      it(`with ${type}`, async (context) => {
        const [command, ...flags] = make;
        const disk = join(folder, 'disk');
        try {
          execFileSync(command, [...flags, disk, ...(type === 'ext4' ? ['128m'] : [])]);
          execFileSync('mount', ['-o', 'loop', disk, join(folder, 'tree')], { stdio: 'pipe' });
        } catch (error) {
          return context.skip(`no ${type} in a loop file here: ${String(error)}`);
        }
        const before = megabytes();
        const grown = devices?.growFileSystem(join(folder, 'tree'), 600 * 2 ** 20);
        const failure = await grown?.then(
          () => undefined,
          (error: unknown) => error as NodeJS.ErrnoException,
        );
        if (type === 'ext4' && failure?.code === 'EPERM') return context.skip('needs CAP_SYS_RESOURCE');
        expect(failure).toBeUndefined();
        expect(megabytes()).toBeGreaterThan(before + 250);
        await devices?.growFileSystem(join(folder, 'tree'), 600 * 2 ** 20);
      });

    it('and says so of one that it does not know', async () => {
      await expect(devices?.growFileSystem('/proc', 1 << 30)).rejects.toMatchObject({ code: 'EOPNOTSUPP' });
    });
  });
});
