import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { cgroupV2, describeOci, linux, object, processOf, resources, type Change } from './oci-trial.js';

/** Where a value is put that must not be there. */
const at =
  (path: string, value: unknown): Change =>
  (spec) => {
    const names = path.split('.');
    const last = names.pop() ?? '';
    let place = spec;
    for (const name of names) place = object((place[name] ??= {}));
    place[last] = value;
  };

describeOci('bad input to the runtime', (trial) => {
  const refused = (change: Change): string => {
    const oci = trial();
    const { code, err } = oci.run('true', change);
    expect({ code, lines: err.trim().split('\n').length }).toEqual({ code: 1, lines: 1 });
    expect(oci.left()).toEqual([]);
    return err;
  };

  it.each<[string, unknown, RegExp]>([
    ['ociVersion', '2.0.0', /config.json.ociVersion: expected a version 1/],
    ['ociVersion', 1, /config.json.ociVersion: expected a string/],
    ['root', undefined, /config.json.root.path: missing/],
    ['root.path', 5, /config.json.root.path: expected a string/],
    ['process', undefined, /config.json.process: missing/],
    ['process.args', [], /args must not be empty/],
    ['process.args', 'sh', /config.json.process.args: expected an array/],
    ['process.args', ['a\u0000b'], /config.json.process.args\[0\]: contains a zero byte/],
    ['process.cwd', 'relative', /cwd must be an absolute path/],
    ['process.env', ['NOVALUE'], /process.env\[0\]: invalid environment variable: "NOVALUE"/],
    ['process.env', ['=x'], /process.env\[0\]: invalid environment variable/],
    ['process.user.uid', 4_294_967_295, /user.uid: expected a valid user id/],
    ['process.user.uid', -1, /user.uid: expected an unsigned/],
    ['process.user.umask', 0o1000, /user.umask: expected 0 to 0777/],
    ['process.rlimits', [{ type: 'RLIMIT_X', soft: 1, hard: 1 }], /rlimits\[0\].type: invalid rlimit type: RLIMIT_X/],
    ['process.rlimits', [{ type: 'RLIMIT_CPU', soft: 2, hard: 1 }], /rlimits for RLIMIT_CPU: invalid argument/],
    ['process.oomScoreAdj', 1001, /oomScoreAdj: expected -1000 to 1000/],
    ['process.ioPriority', { class: 'IOPRIO_CLASS_X', priority: 1 }, /ioPriority.class/],
    ['process.ioPriority', { class: 'IOPRIO_CLASS_BE', priority: 9 }, /ioPriority.priority: expected 0 to 7/],
    ['process.scheduler', { policy: 'SCHED_X' }, /scheduler.policy: unknown value SCHED_X/],
    ['process.scheduler', { policy: 'SCHED_DEADLINE', runtime: 5, deadline: 1, period: 1 }, /error setting scheduler: invalid argument/],
    ['mounts', [{ destination: '' }], /mounts\[0\].destination: expected a path/],
    ['mounts', [{ destination: '/x' }], /mount of \/x has no type/],
    ['mounts', [{ destination: '/x', type: 'bind' }], /bind mount without a source for \/x/],
    ['hooks', { createRuntime: [{ path: 'relative' }] }, /hooks.createRuntime\[0\].path: expected an absolute path/],
    ['hooks', { createRuntime: [{ path: '/bin/true', timeout: 0 }] }, /timeout: expected more than 0 seconds/],
    ['hooks', { createRuntime: [{ path: '/nosuch/hook' }] }, /error running createRuntime hook #0: .*\/nosuch\/hook: no such file/],
    ['linux', undefined, /config.json.linux: missing/],
    ['linux.namespaces', [{ type: 'nonsense' }], /namespaces\[0\].type: unknown namespace nonsense/],
    ['linux.namespaces', [{ type: 'mount' }, { type: 'mount' }], /duplicated ns: mount/],
    ['linux.namespaces', [{ type: 'mount', path: 'relative' }], /path: expected an absolute path/],
    [
      'linux.namespaces',
      [{ type: 'mount' }, { type: 'uts' }, { type: 'network', path: '/nosuch/ns' }],
      /(open|stat) namespace \/nosuch\/ns: no such file/,
    ],
    [
      'linux.namespaces',
      [{ type: 'mount' }, { type: 'uts' }, { type: 'network', path: '/etc/passwd' }],
      /\/etc\/passwd is not a namespace/,
    ],
    ['linux.namespaces', [{ type: 'mount' }, { type: 'uts' }, { type: 'network', path: '/proc/self/ns/uts' }], /another kind than net/],
    ['linux.namespaces', [{ type: 'pid' }], /needs a mount namespace/],
    ['linux.uidMappings', [{ containerID: 0, hostID: 0, size: 1 }], /user namespace isn't enabled/],
    ['linux.devices', [{ path: 'dev/x', type: 'c' }], /devices\[0\].path: expected an absolute path/],
    ['linux.devices', [{ path: '/dev/x', type: 'q' }], /devices\[0\].type: expected one of/],
    ['linux.devices', [{ path: '/dev/x', type: 'c', major: -5 }], /devices\[0\]: expected a device number/],
    ['linux.cgroupsPath', '/..', /cgroupsPath \/.. is the root of the hierarchy/],
    ['linux.rootfsPropagation', 'sideways', /rootfsPropagation=sideways is not supported/],
    ['linux.sysctl', { 'kernel.panic': '1' }, /"kernel.panic" is not in a separate kernel namespace/],
    ['linux.personality', { domain: 'SVR4' }, /personality.domain: unknown personality domain SVR4/],
    ['linux.timeOffsets', { boottime: { secs: 1 } }, /timeOffsets: needs a time namespace/],
    ['linux.memoryPolicy', { mode: 'MPOL_X' }, /memoryPolicy.mode: unknown value MPOL_X/],
    ['linux.memoryPolicy', { mode: 'MPOL_BIND', nodes: '1-0' }, /memoryPolicy.nodes: expected a list/],
    ['linux.netDevices', { 'a/b': {} }, /netDevices.a\/b: invalid network device name "a\/b"/],
    ['linux.netDevices', { nosuchdev0: {} }, /find network device nosuchdev0: no such device/],
    ['linux.intelRdt', { closID: 'x' }, /linux.intelRdt is not implemented/],
    ['linux.resources.pids', { limit: '5' }, /resources.pids.limit: expected an integer/],
    ['linux.resources.devices', [{ allow: true, access: 'x' }], /devices\[0\].access: expected some of r, w, m/],
    ['linux.resources.hugepageLimits', [{ pageSize: '3MB', limit: 1 }], /(hugetlb.3MB|controller hugetlb)/],
    ['linux.resources.cpu', { cpus: '9000' }, /write "9000" to .*cpuset.cpus: (invalid argument|numerical result out of range)/],
    ['annotations', { a: 1 }, /annotations.a: expected a string/],
  ])('%s: %j is refused by its name', (path, value, words) => {
    expect(refused(at(path, value))).toMatch(words);
  });

  it('refuses what is not JSON, not an object, too large, or not there', () => {
    const oci = trial();
    const config = join(oci.bundle, 'config.json');
    const run = (text: string): string => {
      writeFileSync(config, text);
      const { code, err } = oci.call('run', '--bundle', oci.bundle, 'c');
      expect(code).toBe(1);
      return err;
    };
    expect(run('{"ociVersion":')).toMatch(/config.json: at byte 14/);
    expect(run('[]')).toMatch(/config.json: expected an object/);
    expect(run('['.repeat(1_000_000))).toMatch(/config.json: at byte/);
    expect(run(`{"a":"${'x'.repeat(17 << 20)}"}`)).toMatch(/config.json: larger than/);
    rmSync(config);
    expect(oci.call('run', '--bundle', oci.bundle, 'c').err).toMatch(/JSON specification file .*config.json not found/);
    expect(oci.call('run', '--bundle', '/nosuch', 'c')).toMatchObject({
      code: 1,
      err: expect.stringMatching(/open bundle \/nosuch: no such file/),
    });
  });

  it('refuses a rootfs that is missing, a file, or the host', () => {
    expect(refused(at('root.path', 'nosuch'))).toMatch(/open rootfs .*nosuch: no such file or directory/);
    expect(refused(at('root.path', '/etc/passwd'))).toMatch(/open rootfs \/etc\/passwd: not a directory/);
    expect(refused(at('root.path', '/'))).toMatch(/rootfs must not be \//);
  });

  it('ends a hook that hangs, wherever it is, and what it was for', () => {
    const oci = trial();
    const hanging = { path: '/bin/sleep', args: ['sleep', '100'], timeout: 1 };
    for (const kind of ['prestart', 'createRuntime', 'createContainer', 'startContainer', 'poststart']) {
      const { code, err } = oci.run('sleep 5', (spec) => (spec['hooks'] = { [kind]: [hanging] }));
      expect({ kind, code }).toEqual({ kind, code: 1 });
      expect(err).toMatch(new RegExp(`${kind} hook #0: hook ran past specified timeout of 1s`));
      expect(oci.left()).toEqual([]);
    }
  });

  it('goes on with a deletion when a poststop hook fails', () => {
    const oci = trial();
    const { code, err } = oci.run('exit 3', (spec) => (spec['hooks'] = { poststop: [{ path: '/bin/false' }] }));
    expect(code).toBe(3);
    expect(err).toMatch(/poststop hook #0: exit status 1/);
    expect(oci.left()).toEqual([]);
  });

  it('refuses a console socket that nobody serves', () => {
    const oci = trial();
    oci.write(['true'], (spec) => (processOf(spec)['terminal'] = true));
    const socket = join(oci.folder, 'nobody.sock');
    const { code, err } = oci.call('create', '--bundle', oci.bundle, '--console-socket', socket, 'c');
    expect({ code, err }).toEqual({
      code: 1,
      err: `gantry-runtime create failed: connect to console socket ${socket}: no such file or directory\n`,
    });
    expect(oci.call('create', '--bundle', oci.bundle, 'c').err).toMatch(/cannot allocate tty/);
    expect(oci.left()).toEqual([]);
  });

  it('leaves nothing when a pid file cannot be written', () => {
    const oci = trial();
    oci.write(['sleep', '100']);
    const { code, err } = oci.call('create', '--bundle', oci.bundle, '--pid-file', '/nosuch/pid', 'c');
    expect({ code, err }).toEqual({ code: 1, err: 'gantry-runtime create failed: create /nosuch/.pid: no such file or directory\n' });
    expect(oci.left()).toEqual([]);
  });

  it('reports a cgroup that cannot be made', () => {
    // A file of the kernel's stands where a directory would have to be.
    const file = cgroupV2 ? '/cgroup.procs/c' : '/tasks/c';
    expect(refused((spec) => (linux(spec)['cgroupsPath'] = file))).toMatch(/(mkdir|open|read) .*(not a directory|file exists)/);
  });

  it('reports a program that is missing, without a right to run, or for another machine', () => {
    const oci = trial();
    writeFileSync(join(oci.rootfs, 'bin/plain'), 'text');
    chmodSync(join(oci.rootfs, 'bin/plain'), 0o644);
    const args = (...words: string[]): Change => at('process.args', words);
    expect(refused(args('nosuch'))).toMatch(/exec: "nosuch": executable file not found in \$PATH/);
    expect(refused(args('/bin/plain'))).toMatch(/exec: "\/bin\/plain": permission denied/);
    expect(refused(args('/bin/not-a-program'))).toMatch(/exec \/bin\/not-a-program: exec format error/);
  });

  describe('records that were damaged', () => {
    it('are told of by name, skipped in a list, and nothing outside is touched for them', () => {
      const oci = trial();
      oci.start(['sleep', '100']);
      const file = join(oci.state, 'c/state.json');
      const good = readFileSync(file, 'utf8');
      const state = object(JSON.parse(good));
      const damaged = (text: string): string => {
        writeFileSync(file, text);
        expect(oci.call('list')).toMatchObject({ code: 0, err: expect.stringContaining('load container c') });
        const { code, err } = oci.call('state', 'c');
        expect(code).toBe(1);
        return err;
      };
      expect(damaged(good.slice(0, 50))).toMatch(/state.json: at byte/);
      expect(damaged('{}')).toMatch(/state.json.version: missing/);
      expect(damaged(JSON.stringify({ ...state, id: 'other' }))).toMatch(/state.json.id/);
      expect(damaged(JSON.stringify({ ...state, pid: -1 }))).toMatch(/state.json.pid: expected a pid/);
      mkdirSync(join(oci.folder, 'precious'), { recursive: true });
      const elsewhere = [{ controller: 'pids', path: join(oci.folder, 'precious') }];
      expect(damaged(JSON.stringify({ ...state, cgroups: elsewhere }))).toMatch(/expected a cgroup/);
      expect(oci.call('delete', '--force', 'c').code).toBe(1);
      expect(existsSync(join(oci.folder, 'precious'))).toBe(true);
      writeFileSync(file, good);
    });
  });

  it.runIf(cgroupV2)('refuses settings that only cgroup v1 has', () => {
    const settings: [string, unknown][] = [
      ['memory', { swappiness: 5 }],
      ['memory', { kernelTCP: 1 << 20 }],
      ['memory', { disableOOMKiller: true }],
      ['cpu', { realtimeRuntime: 5 }],
      ['network', { classID: 5 }],
      ['network', { priorities: [{ name: 'lo', priority: 1 }] }],
      ['blockIO', { leafWeight: 10 }],
    ];
    for (const [name, value] of settings) {
      expect(refused((spec) => (resources(spec)[name] = value))).toMatch(new RegExp(`resources.${name}.* cannot be set with cgroup v2`));
    }
  });

  it.runIf(!cgroupV2)('refuses settings that only cgroup v2 has', () => {
    expect(refused((spec) => (resources(spec)['unified'] = { 'memory.high': '1' }))).toMatch(
      /resources.unified needs a host with cgroup v2/,
    );
  });

  it('refuses ids that are paths, empty or taken', () => {
    const oci = trial();
    oci.start(['sleep', '100']);
    for (const id of ['../c', '', '.', '..', 'a/b', 'a b', '\u00e4']) {
      expect(oci.call('create', '--bundle', oci.bundle, id)).toMatchObject({
        code: 1,
        err: expect.stringContaining('invalid container id format'),
      });
    }
    expect(oci.call('create', '--bundle', oci.bundle, 'c').err).toContain('container with given ID already exists');
  });
});
