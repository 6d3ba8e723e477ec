import { execFileSync, spawn } from 'node:child_process';
import { chmodSync, copyFileSync, existsSync, mkdirSync, readdirSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { host } from '@gantry/native/index.js';
import { archive } from '../conformance/archive.js';
import { describeTree } from '../conformance/tree.js';
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
/** Kills at random moments, an even number: the tests after it find everything where it was. GANTRY_KILL_ROUNDS for a longer run. */
const KILLS = 2 * Math.ceil(Number(process.env['GANTRY_KILL_ROUNDS'] ?? 4) / 2);

describe.skipIf(why)('storage that moves between drivers', () => {
  let engine: Engine;

  const ok = (program: 'docker' | 'gantry', ...args: string[]): string => {
    const { code, stdout, stderr } = engine[program](args, { timeout: 120_000 });
    expect(code, `${program} ${args.join(' ')}: ${stderr}\n${engine.log.slice(-3000)}`).toBe(0);
    return stdout.trim();
  };
  const dataRoot = (): string => join(hasBtrfs ? volume.path : engine.folder, 'data');
  const inspect = (driver: string): DriverJson => (JSON.parse(ok('gantry', 'storage', 'inspect', driver)) as DriverJson[])[0] as DriverJson;

  /** Gives `look` all files of a container that does not run, as they lie on disk with its driver. */
  const looking = async <T>(container: string, look: (tree: string) => Promise<T>): Promise<T> => {
    const [{ Id, GraphDriver }] = JSON.parse(ok('docker', 'inspect', container)) as [
      { Id: string; GraphDriver: { Name: string; Data: { UpperDir?: string; LowerDir?: string } | null } },
    ];
    const { UpperDir, LowerDir } = GraphDriver.Data ?? {};
    if (UpperDir === undefined) return look(join(dataRoot(), 'storage', GraphDriver.Name, Id, 'tree'));
    const place = join(engine.folder, 'look');
    mkdirSync(place, { recursive: true });
    await host.files.mount({ type: 'overlay', source: 'overlay', options: ['ro', `lowerdir=${UpperDir}:${LowerDir}`] }, place);
    try {
      return await look(place);
    } finally {
      await host.files.unmount(place);
    }
  };

  // Times that nobody chose: of folders, and of the places that the engine makes for each driver anew.
  const timeless = /^(\.dockerenv|dev\/console|etc\/(hostname|hosts|resolv\.conf|mtab))$/;
  /** What a container's files are: kinds, owners, times to the nanosecond, contents, links, holes and attributes. */
  const contentOf = (container: string): Promise<unknown> =>
    looking(container, async (tree) => {
      const entries = Object.entries(describeTree(tree, { times: 'exact' }));
      const attribute = async (path: string, name: string): Promise<string | undefined> =>
        (await host.files.getXattr(join(tree, path), name))?.toString('hex');
      return {
        files: entries.map(
          ([path, what]) => `${path}: ${what.startsWith('40000 ') || timeless.test(path) ? what.replace(/ @\d+/, '') : what}`,
        ),
        hasHoles: statSync(join(tree, 'sparse')).blocks < 100,
        note: await attribute('noted', 'user.note'),
        capability: await attribute('noted', 'security.capability'),
      };
    });
  const contents = async (): Promise<unknown[]> => {
    const found: unknown[] = [];
    for (const name of names) found.push(await contentOf(name));
    return found;
  };
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
    const image = join(engine.folder, 'image.tar');
    execFileSync('tar', ['-C', tree, '-cf', image, '.']);
    ok('docker', 'import', image, 'image-0');
    for (let index = 1; index < IMAGES; index++) {
      const below = `image-${Math.floor(index / 2)}`;
      const script = `echo ${index} > /file-${index}; mkdir -p /d/${index}; ln /file-${index} /d/${index}/hard; rm -f /bin/dd; touch -d @1000000${index} /file-${index}`;
      ok('docker', 'run', '--name', 'maker', '--network', 'none', below, 'sh', '-c', script);
      ok('docker', 'commit', 'maker', `image-${index}`);
      ok('docker', 'rm', 'maker');
    }
    for (const [index, name] of names.entries()) {
      const below = IMAGES - 1 - index;
      // Also a second name for a file of the image, which is one file from then on.
      const script = `
        echo own > /own; mv /own /d/own; rm -rf /d/1; mkdir -p /d/1; echo again > /d/1/again; chown 12:34 /bin/sh; ln -s /own /link
        ln /file-${below} /d/twin; busybox dd if=/dev/zero of=/sparse bs=1 count=1 seek=50000000; busybox mknod /null c 1 3; busybox mkfifo /fifo
        exit ${index}`;
      engine.docker(['run', '--name', name, '--network', 'none', `image-${below}`, 'sh', '-c', script]);
      const pax = { 'SCHILY.xattr.user.note': name, 'SCHILY.xattr.security.capability': '\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0' };
      const noted = archive([{ path: 'noted', content: name, mode: 0o755, pax: { ...pax, mtime: '1500000000.123456789' } }]);
      // No byte of it is more than 7 bits.
      const { code, stderr } = engine.docker(['cp', '-', `${name}:/`], { input: noted.toString('latin1') });
      expect(code, stderr).toBe(0);
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

  it('moves ten images and five stopped containers there and back with equal contents', async () => {
    const before = await contents();
    expect(new Set(before.map((one) => JSON.stringify(one))).size).toBe(CONTAINERS);
    const text = JSON.stringify(before[0]);
    for (const mark of ['d/twin', '= d/twin', '"hasHoles":true', '@1500000000123456789', '01000002', 'dev ', '10000 '])
      expect(text).toContain(mark);
    for (const [leg, to] of ROUTE.slice(1).entries()) {
      const from = ROUTE[leg] as string;
      const told = ok('gantry', 'storage', 'migrate', '--from', from, '--to', to);
      expect(told.split('\n').at(-1)).toBe(`Moved ${IMAGES + CONTAINERS}, skipped 0, failed 0.`);
      expect(inspect(from)).toMatchObject({ UnpackedLayers: [], ContainerFiles: [], OrphanSnapshots: [] });
      expect(inspect(to).ContainerFiles).toHaveLength(CONTAINERS);
      expect(await contents()).toEqual(before);
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
    const before = await contents();
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
      expect(await contents(), point).toEqual(before);
      expect(migrate(from, to), point).toMatchObject({ code: 0 });
      expect(inspect(from), point).toMatchObject({ UnpackedLayers: [], ContainerFiles: [], OrphanSnapshots: [] });
      expect(await contents(), point).toEqual(before);
      [from, to] = [to, from];
    }
  }, 300_000);

  it('is gone on with after the daemon was killed at any moment', async () => {
    const before = await contents();
    let [from, to] = ['overlay2', 'vfs'];
    // How long one takes here and now; a moment past its end is one as well.
    let span = 1000;
    for (let round = 0; round < KILLS; round++) {
      const client = spawn(join(import.meta.dirname, '../../cli/bin/gantry'), ['storage', 'migrate', '--from', from, '--to', to], {
        stdio: 'ignore',
        env: { ...process.env, GANTRY_HOST: `unix://${engine.socket}` },
      });
      const ended = new Promise<void>((done) => client.once('exit', () => done()));
      const moment = Math.random() * span;
      await delay(moment);
      await engine.down('SIGKILL');
      await ended;
      await engine.up();
      const told = `round ${round}, killed after ${Math.round(moment)} of ${Math.round(span)} ms`;
      expect(ok('gantry', 'storage', 'check'), told).toBe('Everything is as it should be.');
      expect(await contents(), told).toEqual(before);
      const began = performance.now();
      ok('gantry', 'storage', 'migrate', '--from', from, '--to', to);
      span = Math.max(span, performance.now() - began);
      expect(inspect(from), told).toMatchObject({ UnpackedLayers: [], ContainerFiles: [], OrphanSnapshots: [] });
      expect(await contents(), told).toEqual(before);
      [from, to] = [to, from];
    }
  }, 600_000);

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
