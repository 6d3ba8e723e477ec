import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { makeImage } from '../../cli/setup/trial-image.mjs';
import { whyNoEngine } from './engine.js';
import { openTrial, type Trial } from './trial.js';

const reason = whyNoEngine();

describe.skipIf(reason)(
  `volumes that an image asks for at odd places (CVE-2022-23648)${reason ? ` (skipped: ${reason})` : ''}`,
  { timeout: 180_000 },
  () => {
    let trial: Trial;
    let canary: string;
    beforeAll(async () => {
      canary = mkdtempSync('/var/tmp/gantry-e2e-canary-');
      mkdirSync(join(canary, 'below'));
      trial = await openTrial();
    });
    afterAll(async () => {
      rmSync(canary, { recursive: true, force: true });
      if (trial) expect(await trial.close()).toEqual({});
    });

    /** A container of an image with one volume, which shows its mounts and writes into the place as it sees it. */
    const run = async (volume: string, name: string): Promise<{ code: number; stdout: string; stderr: string }> => {
      const image = await makeImage({
        config: { Volumes: { [volume]: {} } },
        extend: (rootfs: string) => {
          symlinkSync(canary, join(rootfs, 'absolute'));
          symlinkSync(`../../../../../../..${canary}`, join(rootfs, 'climbing'));
          symlinkSync('ring', join(rootfs, 'ring'));
        },
      });
      const reference = await trial.registry.push(`volumes/${name}`, 'latest', image);
      expect(trial.engine.docker(['pull', '-q', reference])).toMatchObject({ code: 0 });
      const write = `awk '{print $5}' /proc/self/mountinfo; touch '${volume}/written' 2>/dev/null; true`;
      return trial.engine.docker(['run', '--rm', '--network', 'none', reference, 'sh', '-c', write], { timeout: 120_000 });
    };
    const untouched = (): void => {
      expect(readdirSync(canary)).toEqual(['below']);
      expect(readdirSync(join(canary, 'below'))).toEqual([]);
    };

    it.each([
      ['climbing', () => `/../../../..${canary}`],
      ['climbing-inside', () => `/tmp/../../..${canary}/below`],
      ['link', () => '/absolute'],
      ['link-below', () => '/absolute/below'],
      ['climbing-link', () => '/climbing/below'],
      ['relative', () => 'tmp/here'],
      ['relative-climbing', () => `../../../../../..${canary}`],
    ])('stay inside the container: %s', async (name, volume) => {
      const { code, stdout, stderr } = await run(volume(), name);
      untouched();
      // Either the image's wish is refused in words, or the place is one of the container's own, never one above it.
      if (code === 0) for (const place of stdout.split('\n')) expect(place).not.toMatch(/\.\./);
      else expect(stderr).not.toBe('');
      expect(existsSync(join(canary, 'written'))).toBe(false);
    });

    it.each([
      ['root', () => '/'],
      ['dots', () => '/tmp/..'],
      ['nothing', () => ''],
      ['ring', () => '/ring/x'],
    ])('are refused where nothing can be mounted: %s', async (name, volume) => {
      const { code, stderr } = await run(volume(), name);
      untouched();
      expect(code).not.toBe(0);
      expect(stderr).not.toBe('');
    });

    it('leave nothing behind, and the daemon goes on', () => {
      expect(trial.engine.docker(['ps', '-aq']).stdout.trim()).toBe('');
      expect(trial.engine.docker(['volume', 'ls', '-q']).stdout.trim()).toBe('');
    });
  },
);
