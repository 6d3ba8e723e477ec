import { execFileSync } from 'node:child_process';
import { closeSync, existsSync, openSync, rmSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type LoopVolume, openLoopVolume } from '../fakes/loop-volume.js';
import { Engine, whyNoEngine } from './engine.js';

const BUSYBOX = '/usr/bin/busybox';
const volume: LoopVolume | string =
  whyNoEngine() ?? (existsSync(BUSYBOX) ? openLoopVolume('ext4', 192) : 'needs /usr/bin/busybox (busybox-static)');
const why = typeof volume === 'string' ? volume : undefined;
if (why) console.log(`skipped: a full disk: ${why}`);

/** Takes the last byte, in a file that a removal may give back. */
function fill(path: string): void {
  const file = openSync(path, 'w');
  const block = Buffer.alloc(1 << 20, 1);
  try {
    for (let size = block.length; size > 0;) {
      try {
        writeSync(file, block, 0, size);
      } catch {
        size >>= 1;
      }
    }
  } finally {
    closeSync(file);
  }
}

describe.skipIf(why)(`a disk that is full${why ? ` (skipped: ${why})` : ''}`, () => {
  if (typeof volume === 'string') return;
  let engine: Engine;
  const ok = (...args: string[]): string => {
    const { code, stdout, stderr } = engine.docker(args, { timeout: 120_000 });
    expect(code, `docker ${args.join(' ')}: ${stderr}\n${engine.log.slice(-2000)}`).toBe(0);
    return stdout.trim();
  };
  const reserve = join(volume.path, 'data/reserve');
  const filler = join(volume.path, 'filler');

  beforeAll(async () => {
    engine = await Engine.start(['--bridge', 'none', '--data-root', join(volume.path, 'data')]);
    const archive = join(engine.folder, 'image.tar');
    const tree = join(engine.folder, 'tree');
    execFileSync('sh', [
      '-c',
      `mkdir -p ${tree}/bin && cp ${BUSYBOX} ${tree}/bin/ && for n in sh dd sleep echo cat; do ln -s busybox ${tree}/bin/$n; done`,
    ]);
    execFileSync('tar', ['-C', tree, '-cf', archive, '.']);
    ok('import', archive, 'bb');
  });
  afterAll(async () => {
    rmSync(filler, { force: true });
    const { mounts = [], processes = [] } = await engine.stop();
    rmSync(join(volume.path, 'data'), { recursive: true, force: true });
    volume.close();
    expect([mounts, processes]).toEqual([[], []]);
  });

  it('is the writing container’s error, and no reason not to stop and remove it', () => {
    expect(statSync(reserve).size).toBe(8 << 20);
    ok(
      'run',
      '-d',
      '--name',
      'writes',
      '--network',
      'none',
      'bb',
      'sh',
      '-c',
      'dd if=/dev/zero of=/large bs=64k 2>/said; echo full; sleep 1000',
    );
    expect(ok('exec', 'writes', 'sh', '-c', 'while ! cat /said | busybox grep "No space left"; do sleep 0.1; done')).toContain(
      'No space left',
    );
    expect(ok('ps', '-q')).not.toBe('');
    fill(filler);
    expect(engine.docker(['run', '--rm', '--network', 'none', 'bb', 'echo', 'new']).code).not.toBe(0);
    ok('stop', '-t', '0', 'writes');
    expect(ok('inspect', '-f', '{{.State.Status}}', 'writes')).toBe('exited');
    ok('rm', 'writes');
    expect(ok('run', '--rm', '--network', 'none', 'bb', 'echo', 'again')).toBe('again');
  });

  it('does not keep a daemon from starting, and what fills it from being removed', async () => {
    ok('create', '--name', 'one', '--network', 'none', 'bb', 'sleep', '1000');
    ok('volume', 'create', 'unused');
    await engine.down('SIGKILL');
    await engine.up();
    expect(existsSync(reserve)).toBe(true);
    fill(filler);
    await engine.down('SIGKILL');
    await engine.up();
    expect(existsSync(reserve)).toBe(false);
    expect(ok('info', '-f', '{{.Driver}}')).toBe('overlay2');
    ok('rm', 'one');
    ok('volume', 'prune', '-af');
    ok('rmi', 'bb');
    expect(ok('images', '-q')).toBe('');
    expect([ok('ps', '-aq'), ok('volume', 'ls', '-q')]).toEqual(['', '']);
  });

  it('has its space in reserve again when there is room', async () => {
    rmSync(filler);
    await engine.down();
    await engine.up();
    expect(statSync(reserve).size).toBe(8 << 20);
  });
});
