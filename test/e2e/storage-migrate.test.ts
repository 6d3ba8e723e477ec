import { createHash } from 'node:crypto';
import { execFileSync } from 'node:child_process';
import { chmodSync, copyFileSync, existsSync, mkdirSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openLoopVolume } from '../fakes/loop-volume.js';
import { Engine, whyNoEngine } from './engine.js';

const BUSYBOX = '/usr/bin/busybox';
const why = whyNoEngine() ?? (existsSync(BUSYBOX) ? undefined : 'needs /usr/bin/busybox (busybox-static)');
if (why) console.log(`skipped: storage that moves between drivers: ${why}`);

interface DriverJson {
  readonly UnpackedLayers: unknown[];
  readonly ContainerFiles: { Id: string; Status: string }[];
  readonly OrphanSnapshots: unknown[];
}

// All four ways need one file system that serves each driver: btrfs, where the kernel has it.
const volume = why ? why : openLoopVolume('btrfs', 2048);
const hasBtrfs = typeof volume !== 'string';
if (!hasBtrfs) console.log(`skipped: btrfs among the drivers: ${volume}`);
const ROUTE = hasBtrfs ? ['overlay2', 'btrfs', 'vfs', 'overlay2'] : ['overlay2', 'vfs', 'overlay2'];

const IMAGES = 10;
const CONTAINERS = 5;

describe.skipIf(why)('storage that moves between drivers', () => {
  let engine: Engine;

  const ok = (program: 'docker' | 'gantry', ...args: string[]): string => {
    const { code, stdout, stderr } = engine[program](args, { timeout: 120_000 });
    expect(code, `${program} ${args.join(' ')}: ${stderr}\n${engine.log.slice(-3000)}`).toBe(0);
    return stdout.trim();
  };
  const dataRoot = (): string => join(hasBtrfs ? volume.path : engine.folder, 'data');
  const inspect = (driver: string): DriverJson => (JSON.parse(ok('gantry', 'storage', 'inspect', driver)) as DriverJson[])[0] as DriverJson;

  /** Digest of all files of a container, seen through the API: properties, contents, and nothing that depends on a driver. */
  const contentOf = (container: string): string => {
    const archive = join(engine.folder, 'export.tar');
    ok('docker', 'export', '-o', archive, container);
    const listing = execFileSync('tar', ['--numeric-owner', '--full-time', '-tvf', archive], { encoding: 'utf8', maxBuffer: 64 << 20 });
    const files = execFileSync('tar', ['-xOf', archive], { maxBuffer: 256 << 20 });
    // Times that nobody chose: of folders, and of the places that the engine makes for each driver anew.
    const timeless = /^d|\.dockerenv$|dev\/console$|etc\/(hostname|hosts|resolv\.conf|mtab -> \/proc\/mounts)$/;
    const lines = listing
      .split('\n')
      .map((line) => (timeless.test(line) ? line.replace(/\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?/, '') : line));
    return createHash('sha256').update(lines.toSorted().join('\n')).update(files).digest('hex');
  };
  const contents = (): string[] => names.map(contentOf);
  const names = Array.from({ length: CONTAINERS }, (_, index) => `stays-${index}`);

  beforeAll(async () => {
    const onVolume = hasBtrfs ? ['--data-root', join(volume.path, 'data')] : [];
    engine = await Engine.start(['--bridge', 'none', '--storage-driver', 'overlay2', ...onVolume]);
    const tree = join(engine.folder, 'tree');
    mkdirSync(join(tree, 'bin'), { recursive: true });
    mkdirSync(join(tree, 'etc'));
    copyFileSync(BUSYBOX, join(tree, 'bin/busybox'));
    chmodSync(join(tree, 'bin/busybox'), 0o755);
    for (const name of ['sh', 'sleep', 'true', 'ln', 'rm', 'mv', 'mkdir', 'chown', 'touch', 'cat', 'dd'])
      symlinkSync('busybox', join(tree, 'bin', name));
    const archive = join(engine.folder, 'image.tar');
    execFileSync('tar', ['-C', tree, '-cf', archive, '.']);
    ok('docker', 'import', archive, 'image-0');
    for (let index = 1; index < IMAGES; index++) {
      const below = `image-${Math.floor(index / 2)}`;
      const script = `echo ${index} > /file-${index}; mkdir -p /d/${index}; ln /file-${index} /d/${index}/hard; rm -f /bin/dd; touch -d @1000000${index} /file-${index}`;
      ok('docker', 'run', '--name', 'maker', '--network', 'none', below, 'sh', '-c', script);
      ok('docker', 'commit', 'maker', `image-${index}`);
      ok('docker', 'rm', 'maker');
    }
    for (const [index, name] of names.entries()) {
      const script = `echo own > /own; mv /own /d/own; rm -rf /d/1; mkdir -p /d/1; echo again > /d/1/again; chown 12:34 /bin/sh; ln -s /own /link; exit ${index}`;
      engine.docker(['run', '--name', name, '--network', 'none', `image-${IMAGES - 1 - index}`, 'sh', '-c', script]);
    }
  });

  afterAll(async () => {
    const { mounts = [], processes = [] } = await engine.stop();
    if (hasBtrfs) {
      execFileSync('rm', ['-rf', join(volume.path, 'data')]);
      volume.close();
    }
    expect([mounts, processes]).toEqual([[], []]);
  });

  it('moves ten images and five stopped containers there and back with equal contents', () => {
    const before = contents();
    expect(new Set(before).size).toBe(CONTAINERS);
    for (const [leg, to] of ROUTE.slice(1).entries()) {
      const from = ROUTE[leg] as string;
      const told = ok('gantry', 'storage', 'migrate', '--from', from, '--to', to);
      expect(told.split('\n').at(-1)).toBe(`Moved ${IMAGES + CONTAINERS}, skipped 0, failed 0.`);
      expect(inspect(from)).toMatchObject({ UnpackedLayers: [], ContainerFiles: [], OrphanSnapshots: [] });
      expect(inspect(to).ContainerFiles).toHaveLength(CONTAINERS);
      expect(contents()).toEqual(before);
      for (const name of names) expect(ok('docker', 'inspect', '-f', '{{.GraphDriver.Name}}', name)).toBe(to);
      expect(ok('gantry', 'system', 'check')).toBe('Everything is as it should be.');
    }
    expect(ok('docker', 'start', '-a', names[0] as string)).toBe('');
  });

  it('leaves running containers where they are, and what they stand on', () => {
    ok('docker', 'run', '-d', '--name', 'runs', '--network', 'none', 'image-1', 'sleep', '1000');
    const { code, stdout } = engine.gantry(['storage', 'migrate', '--from', 'overlay2', '--to', 'vfs'], { timeout: 120_000 });
    expect([code, stdout.trim().split('\n').at(-1)]).toEqual([1, `Moved ${IMAGES + CONTAINERS}, skipped 1, failed 0.`]);
    expect(stdout).toMatch(/^skipped container runs: container \w+ is running/m);
    expect(inspect('overlay2').ContainerFiles).toMatchObject([{ Status: 'running' }]);
    expect(ok('docker', 'exec', 'runs', 'cat', '/file-1')).toBe('1');
    ok('docker', 'rm', '-f', 'runs');
    expect(inspect('overlay2').UnpackedLayers).toEqual([]);
    ok('gantry', 'storage', 'migrate', '--from', 'vfs', '--to', 'overlay2');
  });

  it('counts what each driver keeps, logs and leftovers', () => {
    const layers = (): number => JSON.parse(ok('gantry', 'storage', 'inspect', 'vfs', '--format', '{{json .LayersSize}}')) as number;
    expect(layers()).toBe(0);
    ok(
      'docker',
      'run',
      '--name',
      'talks',
      '--network',
      'none',
      '--storage-opt',
      'driver=vfs',
      'image-1',
      'sh',
      '-c',
      'echo 12345 > /five; cat /bin/busybox > /dev/null; echo said',
    );
    expect(layers()).toBeGreaterThan(1_000_000);
    const written = JSON.parse(ok('docker', 'inspect', '-s', '-f', '{{json .SizeRw}}', 'talks')) as number;
    expect(written).toBe(6);
    expect(ok('docker', 'ps', '-as', '--filter', 'name=talks', '--format', '{{.Size}}')).toMatch(/^6B \(virtual 1\.98MB\)$/);
    expect(ok('docker', 'diff', 'talks')).toBe('A /five');
    const df = ok('gantry', 'system', 'df', '-v');
    expect(df).toMatch(/^vfs +1\.98\d*MB +6B +0B$/m);
    expect(df).toMatch(/^Container logs: (?!0B)/m);
    ok('docker', 'rm', 'talks');
    // Kept for the image, which may be wanted with this driver again.
    expect(layers()).toBeGreaterThan(0);
    ok('gantry', 'storage', 'prune', '-f');
    expect(layers()).toBe(0);
  });

  it('says where the layers of an image are', () => {
    ok('docker', 'create', '--name', 'other', '--storage-opt', 'driver=vfs', 'image-1', 'true');
    const table = ok('gantry', 'image', 'layers', 'image-1');
    expect(table).toMatch(/overlay2 .*image image-\d+:latest/);
    expect(table).toMatch(/vfs .*container other/);
    ok('docker', 'rm', 'other');
    ok('gantry', 'storage', 'prune', '-f');
    expect(ok('gantry', 'image', 'layers', 'image-1')).not.toContain('vfs');
    expect(ok('gantry', 'storage', 'ls')).toMatch(/^overlay2 +\* +\d+ .*\n?/m);
  });

  it('is gone on with after the daemon was killed anywhere', async () => {
    const before = contents();
    const migrate = (from: string, to: string) => engine.gantry(['storage', 'migrate', '--from', from, '--to', to], { timeout: 120_000 });
    let [from, to] = ['overlay2', 'vfs'];
    for (const point of ['image.migrate.1', 'layer.move.1', 'layer.move.2', 'layer.move.3', 'layer.move.4', 'layer.move.5']) {
      await engine.down();
      await engine.up({ GANTRY_FAILPOINT: point });
      expect(migrate(from, to).code, point).not.toBe(0);
      await engine.down();
      expect(await engine.ping()).toBe(false);
      await engine.up();
      expect(ok('gantry', 'storage', 'check'), point).toBe('Everything is as it should be.');
      expect(contents(), point).toEqual(before);
      expect(migrate(from, to), point).toMatchObject({ code: 0 });
      expect(inspect(from), point).toMatchObject({ UnpackedLayers: [], ContainerFiles: [], OrphanSnapshots: [] });
      expect(contents(), point).toEqual(before);
      [from, to] = [to, from];
    }
  }, 300_000);

  it('refuses what cannot be done, before anything is moved', () => {
    const refused = (...args: string[]): string => {
      const { code, stderr } = engine.gantry(['storage', 'migrate', ...args]);
      expect(code).not.toBe(0);
      return stderr;
    };
    expect(refused('--from', 'overlay2')).toContain('both --from and --to are required');
    expect(refused('--from', 'overlay2', '--to', 'overlay2')).toContain('cannot be migrated to itself');
    expect(refused('--from', 'overlay2', '--to', 'nonsense')).toContain('nonsense');
    expect(engine.gantry(['storage', 'inspect', 'nonsense']).stderr).toContain('no such storage driver: nonsense');
  });

  it('finds what somebody did by hand, mends it when told to, and starts no container on wrong data', () => {
    const [victim] = inspect('overlay2').UnpackedLayers as { Snapshot: string; ChainId: string }[];
    const folder = join(dataRoot(), 'storage/overlay2');
    mkdirSync(join(folder, 'd'.repeat(64)));
    writeFileSync(join(folder, 'd'.repeat(64), 'rest'), 'of a crash');
    rmSync(join(folder, victim?.Snapshot ?? ''), { recursive: true });
    const look = engine.gantry(['system', 'check']);
    expect(look.code).toBe(1);
    expect(look.stdout).toContain(`found     layer ${victim?.ChainId}: a layer is gone from storage driver overlay2`);
    expect(look.stdout).toContain(`found     snapshot ${'d'.repeat(64)}`);
    expect(ok('gantry', 'system', 'check', '--repair').split('\n')).toHaveLength(2);
    expect(ok('gantry', 'system', 'check')).toBe('Everything is as it should be.');
    const id = ok('docker', 'inspect', '-f', '{{.Id}}', names[1] as string);
    rmSync(join(folder, id), { recursive: true });
    const start = engine.docker(['start', names[1] as string]);
    expect(start.stderr).toContain(`the files of container ${id} are gone from storage driver overlay2`);
    expect(engine.gantry(['system', 'check', '--repair']).stdout).toContain('all that is left to do is to remove it');
    ok('docker', 'rm', names[1] as string);
    expect(ok('gantry', 'system', 'check')).toBe('Everything is as it should be.');
  });

  it('finds a blob that is gone or is not what it was', () => {
    const blobs = join(dataRoot(), 'content');
    const blob = (
      JSON.parse(ok('gantry', 'image', 'layers', '--no-trunc', '--format', 'json', 'image-3').split('\n')[0] ?? '') as { Blob: string }
    ).Blob;
    const file = execFileSync('find', [blobs, '-name', blob.slice(7)], { encoding: 'utf8' }).trim();
    expect(file).not.toBe('');
    writeFileSync(file, 'something else');
    expect(ok('gantry', 'system', 'check')).toBe('Everything is as it should be.');
    expect(engine.gantry(['system', 'check', '--deep']).stdout).toContain(`blob ${blob}`);
    // An archive, but another one: no reason to take a good layer away.
    writeFileSync(file, Buffer.alloc(1024));
    const repaired = engine.gantry(['system', 'check', '--deep', '--repair']).stdout;
    expect(repaired).toContain(`blob ${blob}`);
    expect(repaired).not.toContain('is not what its blob holds');
    rmSync(file);
    expect(engine.gantry(['system', 'check']).stdout).toContain('is gone; pull or load it again');
  });

  it('prunes what only images keep, and keeps what containers stand on', () => {
    const before = inspect('overlay2').UnpackedLayers.length;
    ok('gantry', 'storage', 'prune', '-f');
    expect(inspect('overlay2').UnpackedLayers).toHaveLength(before);
    ok('gantry', 'storage', 'prune', '-f', '--all');
    const left = inspect('overlay2').UnpackedLayers.length;
    expect(left).toBeLessThan(before);
    expect(left).toBeGreaterThan(0);
    ok('docker', 'start', names[2] as string);
    expect(ok('docker', 'wait', names[2] as string)).toBe('2');
    expect(readdirSync(join(engine.folder, 'run/layer'))).toEqual([]);
  });
});
