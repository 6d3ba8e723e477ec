import { chmodSync, closeSync, existsSync, mkdtempSync, openSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { spawn, spawnSync } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { busybox, dockerSpec, makeRootfs, seccompProfile } from '../conformance/runtime-bundle.js';
import { runtimeConformance } from '../conformance/runtime.js';

const gantry = fileURLToPath(new URL('../../native/build/bin/gantry-runtime', import.meta.url));
const runc = '/usr/sbin/runc';
const missing =
  process.getuid?.() !== 0
    ? 'needs root'
    : !existsSync(busybox)
      ? 'needs /bin/busybox'
      : !existsSync(gantry)
        ? 'needs the native build'
        : undefined;

if (missing) {
  console.log(`skipped: the OCI runtime on a real kernel ${missing}`);
  describe.skip(`OCI runtimes (skipped: ${missing})`, () => it('runs', () => {}));
} else {
  runtimeConformance('gantry-runtime', {
    program: gantry,
    timeNamespace: existsSync('/proc/self/ns/time'),
    idMappedMounts: true,
    missingCwdIsAnError: true,
    ownFile: { args: ['--version'], prints: /^gantry-runtime version/ },
  });
  if (existsSync(runc)) {
    runtimeConformance('runc', {
      program: runc,
      timeNamespace: false,
      idMappedMounts: false,
      missingCwdIsAnError: false,
    });
  } else {
    console.log('skipped: the comparison with runc needs runc');
  }

  describe('gantry-runtime by itself', () => {
    const inBundle = (body: (folder: string) => void): void => {
      const folder = mkdtempSync(join(tmpdir(), 'gantry-oci-own-'));
      try {
        makeRootfs(join(folder, 'rootfs'));
        body(folder);
      } finally {
        spawnSync(gantry, ['--root', join(folder, 'state'), 'delete', '--force', 'c']);
        spawnSync('sh', ['-c', `find /sys/fs/cgroup -depth -type d -path '*${folder.slice(folder.lastIndexOf('/'))}*' -exec rmdir {} +`]);
        rmSync(folder, { recursive: true, force: true });
      }
    };
    const specFor = (folder: string, args: readonly string[]) => dockerSpec(args, `${folder.slice(folder.lastIndexOf('/'))}/c`);

    it('compiles a profile again when its kept filter is damaged', () => {
      inBundle((folder) => {
        const spec = specFor(folder, ['mkdir', '/tmp/x']);
        (spec['linux'] as Record<string, unknown>)['seccomp'] = seccompProfile();
        writeFileSync(join(folder, 'config.json'), JSON.stringify(spec));
        const cache = join(folder, 'cache');
        const run = () =>
          spawnSync(gantry, ['--root', join(folder, 'state'), '--seccomp-cache', cache, 'run', '-b', folder, 'c'], { encoding: 'utf8' })
            .stderr;
        expect(run()).toContain('No space left');
        const [entry] = readdirSync(cache);
        const path = join(cache, entry ?? '');
        const good = readFileSync(path);
        for (const bad of [Buffer.alloc(0), good.subarray(0, 100), Buffer.concat([good.subarray(0, good.length - 8), Buffer.alloc(8)])]) {
          writeFileSync(path, bad);
          expect(run()).toContain('No space left');
          expect(readFileSync(path).equals(good)).toBe(true);
        }
        // What others could have written is not believed.
        chmodSync(path, 0o666);
        writeFileSync(path, good);
        expect(run()).toContain('No space left');
      });
    });

    it('cleans up by delete --force wherever its creation was killed', async () => {
      const folder = mkdtempSync(join(tmpdir(), 'gantry-oci-kill-'));
      const name = folder.slice(folder.lastIndexOf('/') + 1);
      makeRootfs(join(folder, 'rootfs'));
      writeFileSync(join(folder, 'config.json'), JSON.stringify(specFor(folder, ['sleep', '100'])));
      try {
        for (let i = 0; i < 40; ++i) {
          const child = spawn(gantry, ['--root', join(folder, 'state'), 'create', '-b', folder, 'c'], { stdio: 'ignore' });
          const ended = new Promise((resolve) => child.on('exit', resolve));
          await new Promise((resolve) => setTimeout(resolve, i / 4));
          child.kill('SIGKILL');
          await ended;
          spawnSync(gantry, ['--root', join(folder, 'state'), 'delete', '--force', 'c']);
          const cgroups = spawnSync('sh', ['-c', `find /sys/fs/cgroup -type d -path '*${name}/c'`], { encoding: 'utf8' }).stdout;
          expect(cgroups).toBe('');
          expect(existsSync(join(folder, 'state/c'))).toBe(false);
        }
        const table = readFileSync('/proc/self/mountinfo', 'utf8');
        expect(table).not.toContain(folder);
      } finally {
        spawnSync('sh', ['-c', `find /sys/fs/cgroup -depth -type d -path '*${name}*' -exec rmdir {} +`]);
        rmSync(folder, { recursive: true, force: true });
      }
    });

    it('neither kills nor removes what is in a cgroup that it was given by mistake', () => {
      inBundle((folder) => {
        const oci = (...args: string[]) =>
          spawnSync(gantry, ['--root', join(folder, 'state'), ...args], { encoding: 'utf8', stdio: ['ignore', 'ignore', 'pipe'] });
        writeFileSync(join(folder, 'config.json'), JSON.stringify(specFor(folder, ['sleep', '100'])));
        // No pipe of ours goes into a container that outlives the call.
        const words = ['--root', join(folder, 'state'), 'create', '-b', folder, '--pid-file', join(folder, 'pid'), 'c'];
        expect(spawnSync(gantry, words, { stdio: 'ignore' }).status).toBe(0);
        const pid = readFileSync(join(folder, 'pid'), 'utf8');
        const second = oci('create', '-b', folder, 'second');
        expect(second.status).toBe(1);
        expect(second.stderr).toContain('cgroup is not empty');
        oci('delete', '--force', 'second');
        expect(readFileSync(`/proc/${pid}/stat`, 'utf8')).not.toContain(') Z');
        expect(existsSync(join(folder, 'state/second'))).toBe(false);
        expect(JSON.parse(spawnSync(gantry, ['--root', join(folder, 'state'), 'state', 'c'], { encoding: 'utf8' }).stdout)).toMatchObject({
          status: 'created',
        });
      });
    });

    it('deletes by force while it creates: either there is a container afterwards or nothing', async () => {
      const folder = mkdtempSync(join(tmpdir(), 'gantry-oci-both-'));
      const name = folder.slice(folder.lastIndexOf('/') + 1);
      makeRootfs(join(folder, 'rootfs'));
      writeFileSync(join(folder, 'config.json'), JSON.stringify(specFor(folder, ['sleep', '100'])));
      const oci = (...args: string[]) =>
        new Promise<number | null>((resolve) => {
          spawn(gantry, ['--root', join(folder, 'state'), ...args], { stdio: 'ignore' }).on('exit', resolve);
        });
      try {
        for (let i = 0; i < 20; ++i) {
          const creating = oci('create', '-b', folder, 'c');
          await new Promise((resolve) => setTimeout(resolve, i / 2));
          expect(await oci('delete', '--force', 'c')).toBe(0);
          if ((await creating) === 0 && existsSync(join(folder, 'state/c'))) {
            // The deletion came before there was anything.
            expect(await oci('start', 'c')).toBe(0);
            expect(await oci('delete', '--force', 'c')).toBe(0);
          }
          expect(existsSync(join(folder, 'state/c'))).toBe(false);
          expect(spawnSync('sh', ['-c', `find /sys/fs/cgroup -type d -path '*${name}/c'`], { encoding: 'utf8' }).stdout).toBe('');
        }
      } finally {
        spawnSync('sh', ['-c', `find /sys/fs/cgroup -depth -type d -path '*${name}*' -exec rmdir {} +`]);
        rmSync(folder, { recursive: true, force: true });
      }
    });

    it('keeps an exec on the processors that were asked for', () => {
      inBundle((folder) => {
        const oci = (...args: string[]) => spawnSync(gantry, ['--root', join(folder, 'state'), ...args], { encoding: 'utf8' });
        const quiet = (...args: string[]) => spawnSync(gantry, ['--root', join(folder, 'state'), ...args], { stdio: 'ignore' });
        writeFileSync(join(folder, 'config.json'), JSON.stringify(specFor(folder, ['sleep', '100'])));
        expect(quiet('create', '-b', folder, 'c').status).toBe(0);
        expect(quiet('start', 'c').status).toBe(0);
        const own = /Cpus_allowed_list:\s*(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0';
        const affinity = (wanted: string): { out: string; err: string } => {
          const process = { ...(specFor(folder, ['grep', 'Cpus_allowed_list', '/proc/self/status'])['process'] as object) };
          const file = join(folder, 'process.json');
          writeFileSync(file, JSON.stringify({ ...process, execCPUAffinity: { initial: own, final: wanted } }));
          const { stdout, stderr } = oci('exec', '--process', file, 'c');
          return { out: stdout, err: stderr };
        };
        expect(affinity(own).out).toBe(`Cpus_allowed_list:\t${own}\n`);
        expect(affinity('1-').err).toContain('execCPUAffinity.final');
        expect(affinity('8000').err).toContain('set CPU affinity');
      });
    });

    it('lets a user who is not root open its standard output again', () => {
      inBundle((folder) => {
        const spec = specFor(folder, ['sh', '-c', 'echo seen > /dev/stdout']);
        (spec['process'] as Record<string, unknown>)['user'] = { uid: 1000, gid: 1000 };
        writeFileSync(join(folder, 'config.json'), JSON.stringify(spec));
        const out = openSync(join(folder, 'out'), 'w', 0o600);
        expect(
          spawnSync(gantry, ['--root', join(folder, 'state'), 'run', '-b', folder, 'c'], { stdio: ['ignore', out, 'inherit'] }).status,
        ).toBe(0);
        closeSync(out);
        expect(readFileSync(join(folder, 'out'), 'utf8')).toBe('seen\n');
      });
    });

    it('answers features, spec and version', () => {
      inBundle((folder) => {
        expect(JSON.parse(spawnSync(gantry, ['features'], { encoding: 'utf8' }).stdout)).toMatchObject({
          linux: { seccomp: { enabled: true } },
        });
        expect(spawnSync(gantry, ['spec', '--bundle', folder]).status).toBe(0);
        expect(JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8'))).toMatchObject({ root: { path: 'rootfs' } });
        expect(spawnSync(gantry, ['--version'], { encoding: 'utf8' }).stdout).toMatch(/^gantry-runtime version \d/);
      });
    });

    it('refuses flags that it does not know', () => {
      expect(spawnSync(gantry, ['create', '--nonsense', 'c'], { encoding: 'utf8' }).stderr).toContain('flag provided but not defined');
      expect(spawnSync(gantry, ['--rootless', 'perhaps', 'state', 'c'], { encoding: 'utf8' }).stderr).toContain('true, false or auto');
    });
  });
}
