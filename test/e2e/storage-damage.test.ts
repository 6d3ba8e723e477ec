import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type LoopVolume, openLoopVolume } from '../fakes/loop-volume.js';
import { whyNoEngine } from './engine.js';
import { openTrial, type Trial } from './trial.js';

const noEngine = whyNoEngine();

for (const driver of ['overlay2', 'vfs', 'btrfs']) {
  const volume: LoopVolume | string | undefined = driver === 'btrfs' && !noEngine ? openLoopVolume('btrfs', 2048) : undefined;
  const reason = noEngine ?? (typeof volume === 'string' ? volume : undefined);

  describe.skipIf(reason)(`damage to what ${driver} keeps${reason ? ` (skipped: ${reason})` : ''}`, { timeout: 180_000 }, () => {
    let trial: Trial;
    let dataRoot: string;
    beforeAll(async () => {
      const place = typeof volume === 'object' ? ['--data-root', join(volume.path, 'data')] : [];
      trial = await openTrial(['--storage-driver', driver, '--bridge', 'none', ...place]);
      dataRoot = place[1] ?? join(trial.engine.folder, 'data');
    }, 180_000);
    afterAll(async () => {
      if (trial) expect(await trial.close()).toEqual({});
      if (typeof volume === 'object') volume.close();
    });

    const ok = (...args: string[]): string => {
      const result = trial.engine.docker(args, { timeout: 120_000 });
      expect(result, `docker ${args.join(' ')}\n${trial.engine.log.slice(-3000)}`).toMatchObject({ code: 0 });
      return result.stdout.trim();
    };
    const check = (...args: string[]): string => trial.engine.gantry(['system', 'check', ...args], { timeout: 120_000 }).stdout.trim();
    /** The daemon's log comes through a pipe, some time after the answer. */
    const said = (words: string): Promise<void> => expect.poll(() => trial.engine.log, { timeout: 60_000 }).toContain(words);
    const storage = (...path: string[]): string => join(dataRoot, 'storage', driver, ...path);
    /** As somebody would who has never heard of this engine. */
    const removeByHand = (snapshot: string): void => {
      spawnSync('btrfs', ['subvolume', 'delete', storage(snapshot, 'tree')]);
      rmSync(storage(snapshot), { recursive: true });
    };
    const layerOf = (): string => {
      const report = JSON.parse(trial.engine.gantry(['storage', 'inspect', driver]).stdout) as { UnpackedLayers: { Snapshot: string }[] }[];
      return report[0]?.UnpackedLayers[0]?.Snapshot ?? '';
    };

    it('is mended when a container starts whose image was removed by hand, and said so', async () => {
      ok('create', '--name', 'one', '--network', 'none', trial.image, 'sh', '-c', 'cat /var/www/index.html');
      const layer = layerOf();
      expect(existsSync(storage(layer))).toBe(true);
      removeByHand(layer);
      expect(ok('start', '-a', 'one')).toBe('served by gantry');
      expect(existsSync(storage(layer))).toBe(true);
      await said('a layer is gone from its storage driver and is unpacked again');
      ok('rm', 'one');
    });

    it('is mended by a check, when told to', () => {
      removeByHand(layerOf());
      expect(check()).toContain(`a layer is gone from storage driver ${driver}`);
      expect(check('--repair')).toContain('repaired');
      expect(check()).toBe('Everything is as it should be.');
    });

    it('is refused where nobody can mend it: the files of a container', () => {
      const id = ok('create', '--name', 'lost', '--network', 'none', trial.image, 'true');
      removeByHand(id);
      expect(trial.engine.docker(['start', 'lost']).stderr).toContain(
        `the files of container ${id} are gone from storage driver ${driver}`,
      );
      expect(check('--repair')).toContain('all that is left to do is to remove it');
      ok('rm', 'lost');
      expect(check()).toBe('Everything is as it should be.');
    });

    it('is mended at the next start when a crash left mounts and half of a snapshot, and said so', async () => {
      const { engine } = trial;
      ok('create', '--name', 'kept', '--network', 'none', trial.image, 'sh', '-c', 'cat /var/www/index.html');
      await engine.down('SIGKILL');
      const [view, own] = [
        join(engine.folder, 'run/layer/view-0123456789ab'),
        join(engine.folder, 'run/storage', driver, 'view-0123456789ab'),
      ];
      const half = ['d'.repeat(64), ...(driver === 'overlay2' ? [] : [`new-${'e'.repeat(64)}`])].map((name) => storage(name));
      for (const place of driver === 'overlay2' ? [view, own] : [view]) {
        mkdirSync(place, { recursive: true });
        execFileSync('mount', ['-t', 'tmpfs', 'left', place]);
        writeFileSync(join(place, 'file'), 'of a snapshot');
      }
      for (const folder of half) {
        mkdirSync(folder);
        writeFileSync(join(folder, 'rest'), 'of a crash');
      }
      engine.log = '';
      await engine.up();
      expect(existsSync(view)).toBe(false);
      await said('repaired: a snapshot is mounted and nobody looks at it');
      expect(existsSync(own)).toBe(false);
      if (driver === 'overlay2') await said('a view of a snapshot that nobody looks at any more is taken down');
      for (const folder of half) expect(existsSync(folder), folder).toBe(false);
      await said(`repaired: a snapshot of storage driver ${driver} has no record`);
      expect(readFileSync('/proc/self/mountinfo', 'utf8')).not.toContain(view);
      expect(check()).toBe('Everything is as it should be.');
      expect(ok('start', '-a', 'kept')).toBe('served by gantry');
      ok('rm', 'kept');
    });

    it('leaves nothing behind', () => {
      ok('rmi', '-f', trial.image);
      ok('image', 'prune', '-af');
      expect(readdirSync(storage()).filter((name) => /[0-9a-f]{64}|view-|new-|old-/.test(name))).toEqual([]);
    });
  });
}
