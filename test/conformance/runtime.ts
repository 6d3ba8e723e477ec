import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, readlinkSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type Json, dockerSpec, makeRootfs, seccompProfile } from './runtime-bundle.js';

/** What a runtime may lack or do otherwise; everything else is the same for all. */
export interface RuntimeTraits {
  readonly program: string;
  readonly timeNamespace: boolean;
  readonly idMappedMounts: boolean;
  /** A missing working directory is an error of create rather than made. */
  readonly missingCwdIsAnError: boolean;
  /** Its own file cannot be reached for writing from a container; with words that make it print something, and what. */
  readonly ownFile?: { readonly args: readonly string[]; readonly prints: RegExp };
}

interface Result {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

type Change = (spec: Json) => unknown;

const slow = Number(process.env['GANTRY_SLOW'] ?? 1);
const v2 = existsSync('/sys/fs/cgroup/cgroup.procs');
const object = (value: unknown): Json => value as Json;
const list = (value: unknown): Json[] => value as Json[];
const linux = (spec: Json): Json => object(spec['linux']);
const withMount =
  (mount: Json): Change =>
  (spec) =>
    list(spec['mounts']).push(mount);

function until(condition: () => boolean): void {
  const end = Date.now() + 60_000 * slow;
  while (!condition()) {
    if (Date.now() > end) throw new Error('did not happen in time');
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5);
  }
}

export function runtimeConformance(name: string, traits: RuntimeTraits): void {
  describe(`${name} runs OCI bundles`, () => {
    let folder = '';
    let bundle = '';
    let cgroupName = '';
    let before: string[] = [];

    const call = (...args: string[]): Result => {
      const done = spawnSync(traits.program, ['--root', join(folder, 'state'), ...args], {
        encoding: 'utf8',
        input: '',
        timeout: 20_000 * slow,
      });
      return { code: done.status, out: done.stdout, err: done.stderr };
    };
    const write = (args: readonly string[], change?: Change): void => {
      const spec = dockerSpec(args, `/${cgroupName}/c`);
      change?.(spec);
      writeFileSync(join(bundle, 'config.json'), JSON.stringify(spec));
    };
    /** Runs a shell script in a container of a changed specification. */
    const run = (script: string, change?: Change): Result => {
      write(['sh', '-c', script], change);
      return call('run', '--bundle', bundle, 'c');
    };
    const create = (args: readonly string[], change?: Change): number => {
      write(args, change);
      const pidFile = join(folder, 'pid');
      // No pipe of ours goes into a container that outlives the call.
      const words = ['--root', join(folder, 'state'), 'create', '--bundle', bundle, '--pid-file', pidFile, 'c'];
      expect(spawnSync(traits.program, words, { stdio: 'ignore' }).status).toBe(0);
      return Number(readFileSync(pidFile, 'utf8'));
    };
    const state = (): Json => object(JSON.parse(call('state', 'c').out));
    const cgroups = (): string[] =>
      (v2 ? ['.'] : readdirSync('/sys/fs/cgroup')).flatMap((hierarchy) => {
        const dir = join('/sys/fs/cgroup', hierarchy, cgroupName);
        if (!existsSync(dir)) return [];
        return readdirSync(dir, { withFileTypes: true }).flatMap((entry) => (entry.isDirectory() ? [join(dir, entry.name)] : []));
      });
    const left = (): string[] => [
      ...readFileSync('/proc/self/mountinfo', 'utf8')
        .split('\n')
        .filter((line) => line.includes(folder)),
      ...cgroups(),
      ...(existsSync(join(folder, 'state')) ? readdirSync(join(folder, 'state')).filter((entry) => !entry.startsWith('.')) : []),
    ];

    beforeAll(() => {
      folder = mkdtempSync(join(tmpdir(), 'gantry-oci-'));
      bundle = join(folder, 'bundle');
      cgroupName = folder.slice(folder.lastIndexOf('/') + 1);
      mkdirSync(bundle);
      makeRootfs(join(bundle, 'rootfs'));
      before = left();
    });
    afterEach(() => {
      call('delete', '--force', 'c');
      expect(left()).toEqual(before);
    });
    afterAll(() => {
      spawnSync('find', ['/sys/fs/cgroup', '-depth', '-type', 'd', '-name', cgroupName, '-exec', 'rmdir', '{}', '+']);
      rmSync(folder, { recursive: true, force: true });
    });

    it('gives exit codes of programs and of signals', () => {
      expect(run('exit 7').code).toBe(7);
      const inHostPids: Change = (spec) => (linux(spec)['namespaces'] = ['mount', 'uts', 'network', 'ipc'].map((type) => ({ type })));
      expect(run('kill -9 $$; sleep 1', inHostPids).code).toBe(137);
    });

    it('goes through created, running, paused and stopped', () => {
      const pid = create(['sleep', '100']);
      expect(state()).toMatchObject({ id: 'c', status: 'created', pid, bundle });
      expect(call('start', 'c').code).toBe(0);
      expect(state()['status']).toBe('running');
      expect(call('start', 'c').code).toBe(1);
      expect(call('pause', 'c').code).toBe(0);
      expect(state()['status']).toBe('paused');
      expect(call('exec', 'c', 'true').code).not.toBe(0);
      expect(call('resume', 'c').code).toBe(0);
      expect(call('delete', 'c').err).toContain('not stopped');
      expect(call('kill', 'c', 'KILL').code).toBe(0);
      until(() => state()['status'] === 'stopped');
      expect(state()['pid']).toBe(0);
      expect(call('delete', 'c').code).toBe(0);
      expect(call('state', 'c').err).toContain('does not exist');
    });

    it('starts by exec.fifo alone, read to its end', () => {
      const pid = create(['sleep', '100']);
      const fifo = join(folder, 'state/c/exec.fifo');
      expect(readFileSync(fifo).length).toBe(1);
      rmSync(fifo);
      until(() => readFileSync(`/proc/${pid}/comm`, 'utf8').trim() === 'sleep');
      expect(state()['status']).toBe('running');
    });

    it('refuses an id that is taken, and one that is a path', () => {
      create(['sleep', '100']);
      expect(call('create', '--bundle', bundle, 'c').err).toContain('already exists');
      expect(call('create', '--bundle', bundle, '../c').code).toBe(1);
    });

    it.each([
      ['nosuch', /exec: "nosuch": executable file not found in \$PATH/],
      ['/nosuch', /exec: "\/nosuch": stat \/nosuch: no such file or directory/],
      ['/etc/passwd', /exec: "\/etc\/passwd": permission denied/],
      ['/tmp', /exec: "\/tmp": (is a directory|permission denied)/],
    ])('says at create why %s cannot be executed, and leaves nothing', (program, words) => {
      write([program]);
      const log = join(folder, 'log.json');
      rmSync(log, { force: true });
      expect(call('--log', log, '--log-format', 'json', 'create', '--bundle', bundle, 'c').code).toBe(1);
      const lines = readFileSync(log, 'utf8').trim().split('\n');
      const last: unknown = JSON.parse(lines.at(-1) ?? '');
      expect(last).toMatchObject({ level: 'error', msg: expect.stringMatching(words), time: expect.any(String) });
      expect(left()).toEqual(before);
    });

    it('executes further processes with codes, users and directories of their own', () => {
      create(['sleep', '100']);
      call('start', 'c');
      expect(call('exec', 'c', 'sh', '-c', 'exit 9').code).toBe(9);
      const script = 'id -u; pwd; echo $A';
      expect(call('exec', '--user', '1000:1000', '--cwd', '/tmp', '--env', 'A=b', 'c', 'sh', '-c', script).out).toBe('1000\n/tmp\nb\n');
      expect(call('exec', 'c', 'nosuch').err).toContain('executable file not found in $PATH');
      expect(call('exec', '--cwd', '/nosuch', 'c', 'true').err).toContain('no such file or directory');
      const file = join(folder, 'process.json');
      const args = ['sh', '-c', 'grep CapEff /proc/self/status; cat /proc/self/cgroup'];
      writeFileSync(file, JSON.stringify({ args, cwd: '/', env: ['PATH=/bin'], user: { uid: 0, gid: 0 }, capabilities: {} }));
      const result = call('exec', '--process', file, 'c');
      expect(result.out).toContain('CapEff:\t0000000000000000');
      expect(result.out).toContain(`/${cgroupName}/c`);
    });

    it('hands over names, users, capabilities and limits', () => {
      const script =
        'hostname; echo $$; id -u; id -G; umask; ulimit -n; ulimit -Hn; grep -E "Cap[IPEB]|NoNew" /proc/self/status; echo $HOME';
      const result = run(script, (spec) =>
        Object.assign(object(spec['process']), {
          user: { uid: 1000, gid: 1000, umask: 0o27, additionalGids: [5, 6] },
          noNewPrivileges: true,
          rlimits: [{ type: 'RLIMIT_NOFILE', soft: 100, hard: 200 }],
        }),
      );
      const none = '0000000000000000';
      const ids = ['abc', '1', '1000', '1000 5 6', '0027', '100', '200'];
      const capabilities = [`CapInh:\t${none}`, `CapPrm:\t${none}`, `CapEff:\t${none}`, 'CapBnd:\t00000000a80425fb', 'NoNewPrivs:\t1'];
      expect(result.out.split('\n')).toEqual([...ids, ...capabilities, '/home/user', '']);
    });

    it('raises ambient capabilities', () => {
      const result = run('grep CapEff /proc/self/status', (spec) => {
        const raw = ['CAP_NET_RAW'];
        object(spec['process'])['user'] = { uid: 1000, gid: 1000 };
        object(spec['process'])['capabilities'] = { bounding: raw, effective: raw, permitted: raw, inheritable: raw, ambient: raw };
      });
      expect(result.out).toBe('CapEff:\t0000000000002000\n');
    });

    it('masks and protects paths, makes devices and brings loopback up', () => {
      const script = [
        'cat /proc/keys | wc -c',
        'ls /sys/firmware | wc -l',
        'touch /sys/firmware/x 2>/dev/null || echo masked',
        '(echo x > /proc/sys/kernel/hostname) 2>/dev/null || echo protected',
        'readlink /dev/ptmx',
        'readlink /dev/fd',
        'readlink /dev/stdout',
        'stat -c %t:%T /dev/null /dev/urandom',
        'ip addr show lo | grep -c 127.0.0.1',
        'touch /sys/x 2>/dev/null || echo readonly',
      ].join('; ');
      const want = ['0', '0', 'masked', 'protected', 'pts/ptmx', '/proc/self/fd', '/proc/self/fd/1', '1:3', '1:9', '1', 'readonly', ''];
      expect(run(script).out.split('\n')).toEqual(want);
    });

    it('lets root in a container change no node of the host', () => {
      run('chmod 000 /proc/keys /proc/timer_list');
      expect(statSync('/dev/null').mode & 0o777).toBe(0o666);
    });

    it('refuses devices that no rule allows', () => {
      expect(run('mknod /tmp/d c 10 229 && head -c1 /tmp/d').err).toMatch(/Operation not permitted/);
    });

    it('mounts binds read-only, files on dangling links, tmpfs and a read-only root', () => {
      const source = join(folder, 'source');
      mkdirSync(source, { recursive: true });
      writeFileSync(join(source, 'f'), 'content');
      const data = { destination: '/data', type: 'bind', source, options: ['rbind', 'ro', 'rprivate'] };
      expect(run('cat /data/f; touch /data/g 2>&1', withMount(data)).out).toMatch(/^content.*Read-only/s);
      const file = { destination: '/etc/resolv.conf', type: 'bind', source: join(source, 'f'), options: ['rbind'] };
      expect(run('cat /etc/resolv.conf', withMount(file)).out).toBe('content');
      const tmpfs = { destination: '/cache', type: 'tmpfs', source: 'tmpfs', options: ['size=1m', 'mode=1770'] };
      expect(run('stat -f -c %T /cache; stat -c %a /cache', withMount(tmpfs)).out).toBe('tmpfs\n1770\n');
      const readonly: Change = (spec) => (object(spec['root'])['readonly'] = true);
      expect(run('touch /x 2>&1; touch /dev/shm/y && echo ok', readonly).out).toMatch(/Read-only.*ok/s);
    });

    it.each([
      [
        'a missing source',
        { destination: '/m', type: 'bind', source: '/nonexistent-source', options: ['bind'] },
        /nonexistent-source.*no such file/,
      ],
      ['a target inside /proc', { destination: '/proc/1', type: 'bind', source: '/tmp', options: ['bind'] }, /inside \/proc/],
      ['a refused option', { destination: '/m', type: 'tmpfs', source: 'tmpfs', options: ['size=zz'] }, /invalid argument/],
      ['an unknown file system', { destination: '/m', type: 'nosuchfs', source: 'x' }, /no such device/],
    ])('reports %s of a mount and leaves nothing', (_, mount, words) => {
      const result = run('true', withMount(mount));
      expect(result.code).toBe(1);
      expect(result.err).toMatch(words);
      expect(left()).toEqual(before);
    });

    it('keeps mounts within a root full of links', () => {
      const victim = join(folder, 'victim');
      mkdirSync(join(victim, 'x'), { recursive: true });
      const rootfs = join(bundle, 'rootfs');
      spawnSync('sh', ['-c', `ln -s ${victim} ${rootfs}/absolute; ln -s ../../../victim ${rootfs}/relative`]);
      for (const destination of ['/absolute/made', '/relative/made', '/../../victim/made']) {
        run('true', withMount({ destination, type: 'tmpfs', source: 'tmpfs', options: [] }));
      }
      spawnSync('sh', ['-c', `rm -rf ${rootfs}/absolute ${rootfs}/relative`]);
      expect(readdirSync(victim)).toEqual(['x']);
    });

    it('refuses procfs on a link', () => {
      const rootfs = join(bundle, 'rootfs');
      spawnSync('sh', ['-c', `rmdir ${rootfs}/proc && ln -s var ${rootfs}/proc`]);
      const result = run('true');
      spawnSync('sh', ['-c', `rm ${rootfs}/proc && mkdir ${rootfs}/proc`]);
      expect(result.code).toBe(1);
      expect(result.err).toMatch(/ordinary directory/);
    });

    it('sets limits of memory, processes and processors', () => {
      const files = v2 ? 'memory.max pids.max cpu.max' : 'memory/memory.limit_in_bytes pids/pids.max cpu/cpu.cfs_quota_us';
      const result = run(`cd /sys/fs/cgroup && cat ${files}`, (spec) => {
        const limits = { memory: { limit: 64 << 20 }, pids: { limit: 50 }, cpu: { shares: 512, quota: 50_000, period: 100_000 } };
        Object.assign(object(linux(spec)['resources']), limits);
        list(linux(spec)['namespaces']).push({ type: 'cgroup' });
      });
      expect(result.out).toBe(v2 ? '67108864\n50\n50000 100000\n' : '67108864\n50\n50000\n');
    });

    it('changes limits of a running container and reports them', () => {
      create(['sleep', '100']);
      call('start', 'c');
      expect(call('update', '--pids-limit', '33', '--memory', '48m', '--memory-swap', '96m', 'c').code).toBe(0);
      const data = object(object(JSON.parse(call('events', '--stats', 'c').out))['data']);
      expect(data['pids']).toMatchObject({ limit: 33 });
      expect(object(data['memory'])['usage']).toMatchObject({ limit: 48 << 20 });
    });

    it('filters system calls by the profile, twice', () => {
      for (let i = 0; i < 2; ++i) {
        const result = run(
          'mkdir /tmp/x; hostname y; grep Seccomp: /proc/self/status',
          (spec) => (linux(spec)['seccomp'] = seccompProfile()),
        );
        expect(result.err).toMatch(/No space left on device/);
        expect(result.err).toMatch(/hostname: .*Operation not permitted/);
        expect(result.out).toBe('Seccomp:\t2\n');
      }
    });

    it('reports a seccomp profile that makes no sense', () => {
      expect(run('true', (spec) => (linux(spec)['seccomp'] = { defaultAction: 'SCMP_ACT_NONSENSE' })).code).toBe(1);
    });

    it('maps users of a user namespace', () => {
      spawnSync('chmod', ['755', folder, bundle]);
      const result = run('id -u; cat /proc/self/uid_map | tr -s " "; : > /dev/null && echo null', (spec) => {
        list(linux(spec)['namespaces']).push({ type: 'user' });
        const mapping = [{ containerID: 0, hostID: 100_000, size: 65_536 }];
        Object.assign(linux(spec), { uidMappings: mapping, gidMappings: mapping, sysctl: {} });
      });
      expect(result.err).toBe('');
      expect(result.out).toBe('0\n 0 100000 65536\nnull\n');
    });

    it('joins a namespace by its path', () => {
      const other = spawn('unshare', ['-n', 'sleep', '100'], { stdio: 'ignore' });
      try {
        const path = `/proc/${other.pid}/ns/net`;
        until(() => readlinkSync(path) !== readlinkSync('/proc/self/ns/net'));
        const result = run('readlink /proc/self/ns/net', (spec) => {
          const fresh = ['mount', 'pid', 'uts', 'ipc'].map((type) => ({ type }));
          linux(spec)['namespaces'] = [...fresh, { type: 'network', path }];
        });
        expect(result.out.trim()).toBe(readlinkSync(path));
      } finally {
        other.kill('SIGKILL');
      }
    });

    it('runs hooks in their order with the state on their input', () => {
      const seen = join(folder, 'seen');
      rmSync(seen, { force: true });
      const hook = (kind: string): Json[] => [{ path: '/bin/sh', args: ['sh', '-c', `echo ${kind} $(cat) >> ${seen}`] }];
      const hooks = { createRuntime: hook('createRuntime'), poststart: hook('poststart'), poststop: hook('poststop') };
      expect(run('true', (spec) => (spec['hooks'] = hooks)).code).toBe(0);
      const lines = readFileSync(seen, 'utf8').trim().split('\n');
      expect(lines.map((line) => line.split(' ')[0])).toEqual(['createRuntime', 'poststart', 'poststop']);
      expect(lines[0]).toMatch(/"status": ?"creating"/);
    });

    it('gives up when a hook fails or takes too long', () => {
      const hooked = (hook: Json): Result => run('true', (spec) => (spec['hooks'] = { createRuntime: [hook] }));
      expect(hooked({ path: '/bin/sh', args: ['sh', '-c', 'echo because >&2; exit 4'] }).err).toMatch(/exit status 4.*because/s);
      expect(hooked({ path: '/bin/sleep', args: ['sleep', '100'], timeout: 1 }).code).toBe(1);
      expect(left()).toEqual(before);
    });

    it('kills every process and removes the cgroups', () => {
      create(['sh', '-c', 'for i in 1 2 3; do sleep 100 & done; wait']);
      call('start', 'c');
      until(() => list(JSON.parse(call('ps', '--format', 'json', 'c').out)).length === 4);
      expect(call('delete', '--force', 'c').code).toBe(0);
      expect(left()).toEqual(before);
    });

    it('leaves nothing open that a container could use', () => {
      const pid = create(['sleep', '100']);
      call('start', 'c');
      until(() => readFileSync(`/proc/${pid}/comm`, 'utf8').trim() === 'sleep');
      expect(readdirSync(`/proc/${pid}/fd`)).toEqual(['0', '1', '2']);
    });

    it('refuses a working directory that a descriptor of the host would open', () => {
      for (let fd = 3; fd < 12; ++fd) {
        const result = run('pwd', (spec) => (object(spec['process'])['cwd'] = `/proc/self/fd/${fd}`));
        expect([result.code === 1, result.out === '/\n']).toContain(true);
      }
    });

    it.runIf(traits.ownFile)('shows containers no file of its own that they could write', () => {
      write(['/proc/self/exe', ...(traits.ownFile?.args ?? [])]);
      expect(call('run', '--bundle', bundle, 'c').out).toMatch(traits.ownFile?.prints ?? /^$/);
      const pid = create(['sleep', '100']);
      for (const fd of readdirSync(`/proc/${pid}/fd`)) {
        expect(readlinkSync(`/proc/${pid}/fd/${fd}`)).toMatch(/^(\/dev\/null|\/|\/\d+\/fd|.*\/exec\.fifo)$/);
      }
      // While it runs, the kernel says "busy"; what counts is what a descriptor kept from it can do afterwards.
      const reopen = `exec 9< /proc/${pid}/exe; kill -9 ${pid}; for i in $(seq 200); do (: >> /proc/self/fd/9) 2>&1 | grep Read-only && exit; sleep 0.02; done`;
      expect(spawnSync('sh', ['-c', reopen], { encoding: 'utf8' }).stdout).toMatch(/Read-only/);
    });

    it.runIf(traits.timeNamespace)('sets the clocks of a time namespace', () => {
      const result = run('cut -d. -f1 /proc/uptime', (spec) => {
        list(linux(spec)['namespaces']).push({ type: 'time' });
        linux(spec)['timeOffsets'] = { boottime: { secs: 1_000_000 } };
      });
      expect(Number(result.out)).toBeGreaterThan(1_000_000);
    });

    it.runIf(traits.idMappedMounts)('shows files of an id-mapped mount under other owners', () => {
      const mappings = [{ containerID: 0, hostID: 7000, size: 100 }];
      const source = join(folder, 'mapped');
      mkdirSync(source, { recursive: true });
      writeFileSync(join(source, 'f'), '');
      const mount = { destination: '/m', type: 'bind', source, options: ['bind'], uidMappings: mappings, gidMappings: mappings };
      expect(run('stat -c %u /m/f', withMount(mount)).out).toBe('7000\n');
    });

    it.runIf(traits.missingCwdIsAnError)('reports a working directory that is missing', () => {
      const result = run('true', (spec) => (object(spec['process'])['cwd'] = '/nosuch'));
      expect(result.err).toMatch(/chdir to cwd \("\/nosuch"\).*no such file or directory/);
    });

    it('refuses settings of the host', () => {
      const result = run('true', (spec) => (linux(spec)['sysctl'] = { 'vm.swappiness': '1' }));
      expect(result.err).toMatch(/not in a separate kernel namespace/);
    });

    it('lists containers', () => {
      create(['sleep', '100']);
      expect(call('list', '--quiet').out).toBe('c\n');
      expect(JSON.parse(call('list', '--format', 'json').out)).toMatchObject([{ id: 'c', status: 'created' }]);
    });
  });
}
