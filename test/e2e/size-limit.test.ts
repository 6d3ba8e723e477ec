import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type LoopVolume, openLoopVolume } from '../fakes/loop-volume.js';
import { Engine, whyNoEngine } from './engine.js';

const BUSYBOX = '/usr/bin/busybox';
const volume: LoopVolume | string =
  whyNoEngine() ?? (existsSync(BUSYBOX) ? openLoopVolume('btrfs', 1024) : 'needs /usr/bin/busybox (busybox-static)');
const why = typeof volume === 'string' ? volume : undefined;
if (why) console.log(`skipped: a container with a size limit: ${why}`);

describe.skipIf(why)(`a container with a size limit${why ? ` (skipped: ${why})` : ''}`, () => {
  if (typeof volume === 'string') return;
  let engine: Engine;
  const ok = (...args: string[]): string => {
    const { code, stdout, stderr } = engine.docker(args, { timeout: 120_000 });
    expect(code, `docker ${args.join(' ')}: ${stderr}\n${engine.log.slice(-2000)}`).toBe(0);
    return stdout.trim();
  };

  beforeAll(async () => {
    engine = await Engine.start(['--bridge', 'none', '--data-root', join(volume.path, 'data'), '--storage-driver', 'btrfs']);
    const tree = join(engine.folder, 'tree');
    execFileSync('sh', [
      '-c',
      `mkdir -p ${tree}/bin && cp ${BUSYBOX} ${tree}/bin/ && for n in sh dd sleep echo cat sync; do ln -s busybox ${tree}/bin/$n; done`,
    ]);
    const archive = join(engine.folder, 'image.tar');
    execFileSync('tar', ['-C', tree, '-cf', archive, '.']);
    ok('import', archive, 'bb');
  });
  afterAll(async () => {
    const { mounts = [], processes = [] } = await engine.stop();
    execFileSync('rm', ['-rf', join(volume.path, 'data')]);
    volume.close();
    expect([mounts, processes]).toEqual([[], []]);
  });

  it('gets the error itself when it reaches it, and nobody else does', () => {
    ok('run', '-d', '--name', 'other', '--network', 'none', 'bb', 'sleep', '1000');
    const limited = engine.docker(
      [
        'run',
        '--name',
        'limited',
        '--network',
        'none',
        '--storage-opt',
        'size=16m',
        'bb',
        'sh',
        '-c',
        'dd if=/dev/urandom of=/large bs=1M count=64 conv=fsync',
      ],
      { timeout: 120_000 },
    );
    expect(limited.code).not.toBe(0);
    expect(limited.stderr).toMatch(/Disk quota exceeded|No space left on device/);
    expect(ok('exec', 'other', 'sh', '-c', 'dd if=/dev/urandom of=/large bs=1M count=64 conv=fsync 2>/dev/null && echo written')).toBe(
      'written',
    );
    expect(JSON.parse(ok('inspect', '-s', '-f', '{{json .SizeRw}}', 'limited')) as number).toBeLessThan(20 << 20);
    ok('rm', 'limited');
  });

  it('keeps its limit when it moves, and stays where no driver can keep it', () => {
    ok('create', '--name', 'mover', '--network', 'none', '--storage-opt', 'size=16m', 'bb', 'true');
    const moved = engine.gantry(['storage', 'migrate', '--from', 'btrfs', '--to', 'overlay2'], { timeout: 120_000 });
    expect(moved.stdout).toMatch(/^(failed|skipped) +container mover: .*limit|size/m);
    expect(ok('inspect', '-f', '{{.GraphDriver.Name}}', 'mover')).toBe('btrfs');
    ok('rm', 'mover');
    ok('rm', '-f', 'other');
  });
});
