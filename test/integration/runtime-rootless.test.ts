import { spawnSync } from 'node:child_process';
import { accessSync, chownSync, constants, copyFileSync, existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, it } from 'vitest';
import type { Json } from '../conformance/runtime-bundle.js';
import {
  describeOci,
  gantryRuntime,
  linux,
  list,
  object,
  processOf,
  resources,
  until,
  type Change,
  type OciTrial,
  type Result,
} from './oci-trial.js';

const UID = 23_456;

const hasMapper = ['/usr/bin/newuidmap', '/usr/bin/newgidmap'].every((path) => existsSync(path));
if (!hasMapper) console.log('skipped: ranges of ids for a user need newuidmap(1)');
describeOci('containers of a user who is not root', (trial) => {
  const mapping = (hostID: number): Json[] => [{ containerID: 0, hostID, size: 1 }];
  const rootless: Change = (spec) => {
    const namespaces = ['mount', 'uts', 'pid', 'ipc', 'user', 'network', 'cgroup'].map((type) => ({ type }));
    Object.assign(linux(spec), { namespaces, uidMappings: mapping(UID), gidMappings: mapping(UID) });
    delete linux(spec)['cgroupsPath'];
    object(processOf(spec)['user'])['additionalGids'] = [];
    for (const mount of list(spec['mounts'])) {
      if (mount['destination'] === '/dev/pts') mount['options'] = list(mount['options']).filter((option) => String(option) !== 'gid=5');
    }
  };
  const owned = (): OciTrial => {
    const oci = trial();
    if (!existsSync(oci.state)) mkdirSync(oci.state);
    const bin = join(oci.folder, 'bin');
    if (!existsSync(bin)) {
      // Wherever the build is, its folder may be closed to others.
      mkdirSync(bin);
      for (const name of ['gantry-runtime', 'gantry-seccomp']) copyFileSync(join(dirname(gantryRuntime), name), join(bin, name));
      oci.program = join(bin, 'gantry-runtime');
    }
    spawnSync('chown', ['-R', `${UID}:${UID}`, oci.folder]);
    chownSync(oci.state, UID, UID);
    return oci;
  };
  const as = (oci: OciTrial, args: readonly string[], options: object = {}): Result =>
    oci.spawn(args, { uid: UID, gid: UID, input: '', cwd: oci.folder, ...options });
  const run = (script: string, change: Change = () => undefined): Result => {
    const oci = owned();
    oci.write(['sh', '-c', script], (spec) => (rootless(spec), change(spec)));
    return as(oci, ['run', '--bundle', oci.bundle, 'c']);
  };

  it('run, with that user as their root', () => {
    const result = run(
      'id -u; cat /proc/self/uid_map | tr -s " "; hostname; ip addr show lo | grep -c 127.0.0.1; touch /made; echo > /dev/null && echo null',
    );
    expect(result).toMatchObject({ code: 0, err: '', out: `0\n 0 ${UID} 1\nabc\n1\nnull\n` });
    expect(statSync(join(trial().rootfs, 'made')).uid).toBe(UID);
  });

  it('go through their life, with exec and signals', () => {
    const oci = owned();
    oci.write(['sleep', '100'], rootless);
    const pidFile = join(oci.folder, 'rootless.pid');
    expect(as(oci, ['create', '--bundle', oci.bundle, '--pid-file', pidFile, 'c'], { stdio: 'ignore' }).code).toBe(0);
    const pid = Number(readFileSync(pidFile, 'utf8'));
    expect(as(oci, ['start', 'c'])).toMatchObject({ code: 0, err: '' });
    expect(JSON.parse(as(oci, ['state', 'c']).out)).toMatchObject({ status: 'running', pid, owner: String(UID) });
    expect(as(oci, ['exec', 'c', 'sh', '-c', 'id -u; ls /proc | grep -c "^1$"; exit 3'])).toMatchObject({
      code: 3,
      out: '0\n1\n',
      err: '',
    });
    expect(as(oci, ['kill', 'c', 'KILL']).code).toBe(0);
    expect(as(oci, ['delete', '--force', 'c'])).toMatchObject({ code: 0, err: '' });
    until(() => !existsSync(`/proc/${pid}/stat`) || readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z '));
  });

  it('have clocks of their own', () => {
    const result = run('cut -d. -f1 /proc/uptime', (spec) => {
      list(linux(spec)['namespaces']).push({ type: 'time' });
      linux(spec)['timeOffsets'] = { boottime: { secs: 5_000_000, nanosecs: 5 }, monotonic: { secs: -1 } };
    });
    expect(result.err).toBe('');
    expect(Number(result.out)).toBeGreaterThan(5_000_000);
  });

  it('need a user namespace, and get no limit without a cgroup', () => {
    const without: Change = (spec) => {
      linux(spec)['namespaces'] = list(linux(spec)['namespaces']).filter((ns) => ns['type'] !== 'user');
      Object.assign(linux(spec), { uidMappings: [], gidMappings: [] });
    };
    expect(run('true', without)).toMatchObject({ code: 1, err: expect.stringContaining('rootless container requires user namespaces') });
    const limited = run('true', (spec) => (object(resources(spec))['pids'] = { limit: 10 }));
    expect(limited.code).toBe(1);
    expect(limited.err).toMatch(/cgroup/);
    const oci = owned();
    oci.write(['true'], rootless);
    const strict = as(oci, ['--rootless', 'false', 'run', '--bundle', oci.bundle, 'c']);
    expect(strict).toMatchObject({ code: 1, err: expect.stringMatching(/mkdir \/sys\/fs\/cgroup.*(permission denied|read-only)/) });
  });

  it('run from the specification that `spec --rootless` writes', () => {
    const oci = owned();
    const folder = join(oci.folder, 'own');
    mkdirSync(folder);
    chownSync(folder, UID, UID);
    expect(as(oci, ['spec', '--rootless', '--bundle', folder]).code).toBe(0);
    const spec = object(JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8')));
    Object.assign(processOf(spec), { terminal: false, args: ['echo', 'ran'] });
    object(spec['root'])['path'] = oci.rootfs;
    writeFileSync(join(folder, 'config.json'), JSON.stringify(spec));
    expect(as(oci, ['run', '--bundle', folder, 'c'])).toMatchObject({ code: 0, out: 'ran\n', err: '' });
  });

  it('name the helper that a range of ids needs', () => {
    const result = run('true', (spec) => {
      const ranges = [...mapping(UID), { containerID: 1, hostID: 900_000, size: 10 }];
      Object.assign(linux(spec), { uidMappings: ranges, gidMappings: ranges });
    });
    expect(result.code).toBe(1);
    expect(result.err).toMatch(/newgidmap/);
  });

  it.runIf(hasMapper)('have the ranges of ids that the host gives their user', () => {
    const line = `${UID}:900000:1000\n`;
    const files = ['/etc/subuid', '/etc/subgid', '/etc/passwd'];
    try {
      files.forEach((file) => accessSync(file, constants.W_OK));
    } catch {
      console.log('skipped: ranges of ids need /etc/subuid to write to');
      return;
    }
    const before = files.map((file) => readFileSync(file, 'utf8'));
    try {
      files.slice(0, 2).forEach((file, i) => writeFileSync(file, before[i] + line));
      writeFileSync('/etc/passwd', `${before[2]}gantry-rootless:x:${UID}:${UID}::/:/bin/false\n`);
      const result = run('chown 5:6 /made2 2>/dev/null || (touch /made2; chown 5:6 /made2); id -G', (spec) => {
        const ranges = [...mapping(UID), { containerID: 1, hostID: 900_000, size: 1000 }];
        Object.assign(linux(spec), { uidMappings: ranges, gidMappings: ranges });
        object(processOf(spec)['user'])['additionalGids'] = [7];
      });
      expect(result).toMatchObject({ code: 0, err: '', out: '0 7\n' });
      expect(statSync(join(trial().rootfs, 'made2'))).toMatchObject({ uid: 900_004, gid: 900_005 });
    } finally {
      files.forEach((file, i) => writeFileSync(file, before[i] ?? ''));
    }
  });
});
