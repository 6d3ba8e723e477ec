import { execFileSync } from 'node:child_process';
import { chmodSync, copyFileSync, existsSync, mkdirSync, readdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Engine, whyNoEngine } from './engine.js';

const BUSYBOX = '/usr/bin/busybox';
const why = whyNoEngine() ?? (existsSync(BUSYBOX) ? undefined : 'needs /usr/bin/busybox (busybox-static)');
if (why) console.log(`skipped: a daemon that dies between two steps: ${why}`);

/**
 * The daemon kills itself at a named point between two steps. The daemon that finds what it left is armed with the next point
 * already, so that each crash is also the start of the next one's story.
 */
describe.skipIf(why)('a daemon that dies between two steps', () => {
  let engine: Engine;

  const run = (...args: string[]) => engine.docker(args, { timeout: 120_000 });
  const ok = (...args: string[]): string => {
    const { code, stdout, stderr } = run(...args);
    expect(stderr === '' || code === 0 ? '' : stderr).toBe('');
    expect(code).toBe(0);
    return stdout.trim();
  };
  const state = (): string => ok('container', 'inspect', '-f', '{{.State.Status}} {{.State.ExitCode}}', 'xx');
  const folders = (): string[] => {
    const path = join(engine.folder, 'data/containers');
    return existsSync(path) ? readdirSync(path) : [];
  };
  const create = (): string => ok('create', '--name', 'xx', '-v', 'named:/n', '-v', '/anonymous', 'bb', 'sleep', '1000');
  /** The next daemon, armed with `point`. */
  const up = (point = ''): Promise<void> => engine.up(point === '' ? {} : { GANTRY_FAILPOINT: point });
  const dies = async (...args: string[]): Promise<void> => {
    expect(run(...args).code).not.toBe(0);
    await engine.down();
    expect(await engine.ping()).toBe(false);
  };

  beforeAll(async () => {
    engine = await Engine.start(['--bridge', 'none']);
    const tree = join(engine.folder, 'tree');
    mkdirSync(join(tree, 'bin'), { recursive: true });
    copyFileSync(BUSYBOX, join(tree, 'bin/busybox'));
    chmodSync(join(tree, 'bin/busybox'), 0o755);
    for (const name of ['sh', 'sleep', 'true']) symlinkSync('busybox', join(tree, 'bin', name));
    const archive = join(engine.folder, 'image.tar');
    execFileSync('tar', ['-C', tree, '-cf', archive, '.']);
    ok('import', archive, 'bb');
    ok('volume', 'create', 'named');
    await engine.down();
  });

  afterAll(async () => {
    const { mounts = [], namespaces = [], processes = [] } = await engine.stop();
    expect([mounts, namespaces, processes]).toEqual([[], [], []]);
  });

  it('leaves no half container behind a cut-off create', async () => {
    await up('container.create.1');
    for (const next of ['container.create.2', 'container.create.3', 'container.create.4']) {
      await dies('create', '--name', 'xx', '-v', 'named:/n', '-v', '/anonymous', 'bb', 'sleep', '1000');
      await up(next);
      expect([ok('ps', '-aq'), ok('volume', 'ls', '-q'), folders()]).toEqual(['', 'named', []]);
    }
    await dies('create', '--name', 'xx', '-v', 'named:/n', '-v', '/anonymous', 'bb', 'sleep', '1000');
    await up('container.start.1');
    expect(state()).toBe('created 0');
  });

  it('takes a cut-off start back, so that it can be made again at once', async () => {
    for (const next of ['2', '3', '4', '5', '6']) {
      await dies('start', 'xx');
      await up(`container.start.${next}`);
      expect(state()).toBe('created 0');
    }
    await dies('start', 'xx');
    await up('container.exit.1');
    expect(state()).toBe('running 0');
  });

  it('records an exit that was cut off', async () => {
    for (const next of ['container.exit.2', 'container.exit.3', 'container.remove.1']) {
      await dies('kill', 'xx');
      await up(next);
      expect(state()).toBe('exited 137');
      if (next !== 'container.remove.1') ok('start', 'xx');
    }
  });

  it('finishes a cut-off removal', async () => {
    for (const next of ['2', '3', '4', '']) {
      await dies('rm', '-v', 'xx');
      // Unarmed: what finishes the removal passes the same points.
      await up();
      expect([ok('ps', '-aq'), folders()]).toEqual(['', []]);
      if (next === '') break;
      create();
      await engine.down();
      await up(`container.remove.${next}`);
    }
    await engine.down();
    await up('volume.create.1');
    ok('volume', 'prune', '-f');
    expect(ok('volume', 'ls', '-q')).toBe('named');
  });

  it('makes volumes whole or not at all', async () => {
    await dies('volume', 'create', 'vv');
    await up('volume.create.2');
    expect(ok('volume', 'ls', '-q')).toBe('named');
    await dies('volume', 'create', 'vv');
    await up('volume.remove.1');
    expect(readdirSync(join(engine.folder, 'data/volume/local'))).toEqual(['named']);
    ok('volume', 'create', 'vv');
    await dies('volume', 'rm', 'vv');
    await up('volume.remove.2');
    expect(ok('volume', 'ls', '-q')).toBe('named');
    ok('volume', 'create', 'vv');
    await dies('volume', 'rm', 'vv');
    await up();
    expect(readdirSync(join(engine.folder, 'data/volume/local'))).toEqual(['named']);
  });
});
