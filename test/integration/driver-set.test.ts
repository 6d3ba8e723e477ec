import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { allDrivers, driverSet, packagesOf } from '../../cli/setup/driver-set.mjs';
import { drivers } from '../../drivers/index.js';
import { Engine, whyNoEngine } from '../e2e/engine.js';
import { makeRootfs } from '../../cli/setup/trial-image.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));
const SMALLEST = ['storage/vfs', 'network/none', 'network/host', 'ipam/default', 'volume/local', 'log/json-file', 'runtime/runc'];

describe('a set of drivers', () => {
  let scratch: string;
  let smallest: string;

  beforeAll(() => {
    scratch = mkdtempSync('/tmp/gantry-set-');
    smallest = join(scratch, 'smallest.json');
    writeFileSync(smallest, JSON.stringify(SMALLEST));
  });
  afterAll(() => rmSync(scratch, { recursive: true, force: true }));

  /** Sources below native/ that CMake would compile for a set. */
  const sources = (set: string): string[] => {
    const build = join(scratch, `native-${set.split('/').at(-1)}`);
    const done = spawnSync(
      'cmake',
      ['-S', join(root, 'native'), '-B', build, `-DGANTRY_DRIVERS=${set}`, '-DCMAKE_EXPORT_COMPILE_COMMANDS=ON'],
      { encoding: 'utf8' },
    );
    expect(done.status, done.stderr).toBe(0);
    const commands = JSON.parse(readFileSync(join(build, 'compile_commands.json'), 'utf8')) as { file: string }[];
    return commands.map(({ file }) => file.slice(join(root, 'native/').length));
  };

  it('is whole by default: every driver of the source tree is in the list and in the index', () => {
    expect(driverSet(join(root, 'drivers/set.json')).toSorted()).toEqual(allDrivers());
    expect(drivers.length).toBe(allDrivers().length);
  });

  it('has no driver that is not there, and nothing that no engine can do without is missing', () => {
    const file = join(scratch, 'bad.json');
    writeFileSync(file, JSON.stringify([...SMALLEST, 'storage/zfs']));
    expect(() => driverSet(file)).toThrow('there is no driver storage/zfs');
    writeFileSync(file, JSON.stringify(SMALLEST.filter((one) => !one.startsWith('log/'))));
    expect(() => driverSet(file)).toThrow('no engine can do without a log driver');
  });

  it('decides on the Debian packages and native sources of a build', () => {
    expect(packagesOf(SMALLEST)).toEqual([]);
    expect(packagesOf(allDrivers())).toContain('libseccomp-dev');
    const [small, full] = [sources(smallest), sources(join(root, 'drivers/set.json'))];
    expect(full).toEqual(expect.arrayContaining(small));
    for (const left of [/^runtime\//, /^lib\/btrfs/, /^lib\/nft/, /^lib\/conntrack/, /^dns\//, /^proxy\//]) {
      expect(
        full.some((file) => left.test(file)),
        String(left),
      ).toBe(true);
      expect(small.filter((file) => left.test(file))).toEqual([]);
    }
  });

  const reason = whyNoEngine() ?? (spawnSync('runc', ['--version']).error ? 'needs runc' : undefined);

  describe.skipIf(reason)(`of the smallest build${reason ? ` (skipped: ${reason})` : ''}`, () => {
    let bundle: string;

    /** The addon of a build without the left-out parts: linked from what the whole build has compiled, so that nothing is missed that it needs. */
    function linkAddon(where: string): void {
      const objects = (of: string, folder: string, keep: (name: string) => boolean): string[] => {
        const at = join(root, 'native/build/CMakeFiles', of, folder);
        return readdirSync(at)
          .filter((name) => name.endsWith('.o') && keep(`${folder}/${name.slice(0, -'.o'.length)}`))
          .map((name) => join(at, name));
      };
      const small = sources(smallest);
      const lib = objects('libgantry.dir', 'lib', (name) => small.includes(name));
      const left = allDrivers()
        .filter((driver) => !SMALLEST.includes(driver))
        .map((driver) => join(root, 'drivers', driver, 'build.json'))
        .flatMap((file) => (existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as { native?: string[] }).native : undefined) ?? []);
      const binding = objects('addon.dir', 'binding', (name) => !left.some((beginning) => name.startsWith(beginning)));
      const ninja = readFileSync(join(root, 'native/build/build.ninja'), 'utf8');
      const libraries = /^build Release\/gantry\.node:[^]*?LINK_LIBRARIES = (.*)$/m.exec(ninja)?.[1]?.split(/\s+/) ?? [];
      const shared = libraries.filter((word) => word.startsWith('-') || word.endsWith('.so'));
      const made = spawnSync('c++', ['-shared', '-o', where, ...binding, ...lib, ...shared, '-pthread'], { encoding: 'utf8' });
      expect(made.status, made.stderr).toBe(0);
    }

    beforeAll(() => {
      // Beside the other one, from where the native parts are found.
      bundle = mkdtempSync(join(root, 'cli/dist/set-'));
      const made = spawnSync(process.execPath, [join(root, 'cli/setup/bundle.mjs')], {
        encoding: 'utf8',
        env: { ...process.env, GANTRY_DRIVERS: smallest, GANTRY_BUNDLES: bundle },
      });
      expect(made.status, made.stderr).toBe(0);
    });

    afterAll(() => rmSync(bundle, { recursive: true, force: true }));

    it('has no module of a driver that is left out', () => {
      const text = readFileSync(join(bundle, 'gantryd/daemon.js'), 'utf8');
      const modules = [...text.matchAll(/^\/\/ drivers\/dist\/(\w+\/[\w-]+)\//gm)].map((match) => match[1]);
      expect(modules).toEqual(expect.arrayContaining(['storage/vfs', 'volume/local', 'log/json-file', 'runtime/runc']));
      expect(modules.filter((one) => !SMALLEST.includes(one ?? ''))).toEqual([]);
      const whole = readFileSync(join(root, 'cli/dist/bundle/gantryd/daemon.js'), 'utf8');
      expect(text.length).toBeLessThan(whole.length);
    });

    it('links and loads without the native parts of what is left out', () => {
      const addon = join(scratch, 'gantry.node');
      linkAddon(addon);
      const script = `const a = require(${JSON.stringify(addon)}); console.log(JSON.stringify([typeof a.mount, typeof a.createSubvolume, typeof a.nft, typeof a.flushFlows]))`;
      const loaded = spawnSync(process.execPath, ['-e', script], { encoding: 'utf8', env: { ...process.env, LD_BIND_NOW: '1' } });
      expect(loaded.stdout.trim(), loaded.stderr).toBe('["function","undefined","undefined","undefined"]');
    });

    it('runs containers, shows what it is made of and says what was left out', async () => {
      const rootfs = join(scratch, 'rootfs');
      mkdirSync(rootfs);
      makeRootfs(rootfs);
      const program = [process.execPath, '--disable-warning=ExperimentalWarning', join(bundle, 'gantryd/main.js')] as const;
      const engine = await Engine.start(['--bridge', 'none'], program);
      const docker = (...args: string[]) => engine.docker(args);
      const packed = spawnSync('tar', ['-C', rootfs, '-cf', join(scratch, 'rootfs.tar'), '.']);
      expect([packed.status, docker('import', join(scratch, 'rootfs.tar'), 'small').code]).toEqual([0, 0]);
      expect(docker('run', '--rm', 'small', 'echo', 'hello')).toMatchObject({ code: 0, stdout: 'hello\n' });
      expect(docker('run', '--rm', '--network', 'host', '-v', 'vol:/v', 'small', 'touch', '/v/file').code).toBe(0);
      expect(docker('volume', 'rm', 'vol').code).toBe(0);
      for (const asked of [
        ['network', 'create', '-d', 'bridge', 'n'],
        ['run', '--rm', '--runtime', 'native', 'small', 'true'],
        ['run', '--rm', '--log-driver', 'none', 'small', 'true'],
        ['run', '--rm', '--storage-opt', 'driver=overlay2', 'small', 'true'],
      ])
        expect(docker(...asked).stderr, asked.join(' ')).toContain('left out of this build');
      expect(docker('network', 'ls', '--format', '{{.Name}}').stdout.trim().split('\n').toSorted()).toEqual(['host', 'none']);
      const info = spawnSync(process.execPath, [join(bundle, 'gantry/main.js'), '-H', `unix://${engine.socket}`, 'info'], {
        encoding: 'utf8',
      });
      expect(info.stdout).toContain('Drivers of this build: storage/vfs network/');
      expect(info.stdout).toMatch(/Drivers left out: .*storage\/overlay2.*network\/bridge/);
      expect(await engine.stop()).toEqual({});
    });
  });
});
