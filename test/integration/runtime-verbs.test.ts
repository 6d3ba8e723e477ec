import { spawn, spawnSync } from 'node:child_process';
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { cgroupV2, describeOci, gantryRuntime, list, object, processOf, until, withUserNamespace, type OciTrial } from './oci-trial.js';

const hasPs = spawnSync('ps', ['--version']).status === 0;
if (!hasPs) console.log('skipped: ps with options needs ps(1)');

describeOci('commands of the runtime', (trial) => {
  const running = (...args: string[]): OciTrial => {
    const oci = trial();
    oci.start(args.length > 0 ? args : ['sleep', '100']);
    return oci;
  };
  const processFile = (oci: OciTrial, process: object): string => {
    const file = join(oci.folder, 'process.json');
    writeFileSync(file, JSON.stringify({ cwd: '/', env: ['PATH=/bin'], user: { uid: 0, gid: 0 }, ...process }));
    return file;
  };

  describe('exec', () => {
    it('takes a whole process from a file', () => {
      const oci = running();
      const file = processFile(oci, {
        args: ['sh', '-c', 'id -u; id -G; pwd; echo $B; umask; ulimit -n; grep -E "CapBnd|NoNew" /proc/self/status'],
        cwd: '/tmp',
        env: ['PATH=/bin', 'B=first', 'B=second'],
        user: { uid: 5, gid: 6, additionalGids: [7], umask: 0o77 },
        rlimits: [{ type: 'RLIMIT_NOFILE', soft: 50, hard: 60 }],
        capabilities: { bounding: ['CAP_CHOWN'] },
        noNewPrivileges: true,
      });
      const lines = ['5', '6 7', '/tmp', 'second', '0077', '50', 'CapBnd:\t0000000000000001', 'NoNewPrivs:\t1', ''];
      expect(oci.call('exec', '--process', file, 'c').out.split('\n')).toEqual(lines);
    });

    it('adds groups, capabilities and a label of no new privileges by flags', () => {
      const oci = running();
      const script = 'id -G; grep -E "CapEff|NoNew" /proc/self/status';
      const result = oci.call(
        'exec',
        '-g',
        '77',
        '--additional-gids',
        '78',
        '--cap',
        'CAP_SYS_ADMIN',
        '--no-new-privs',
        'c',
        'sh',
        '-c',
        script,
      );
      expect(result.out.split('\n')).toEqual(['0 10 77 78', 'CapEff:\t00000000a82425fb', 'NoNewPrivs:\t1', '']);
    });

    it('gives the process what only it can take, not the one that made it', () => {
      const oci = running();
      const value = (process: object, ...args: string[]) => {
        const { out, err } = oci.call('exec', '--process', processFile(oci, { args, ...process }), 'c');
        return out + err;
      };
      // As many processes as there is one of, of a user who has no other.
      const limit = { type: 'RLIMIT_NPROC', soft: 1, hard: 1 };
      expect(value({ user: { uid: 48_213, gid: 48_213 }, rlimits: [limit] }, 'sh', '-c', 'ulimit -u')).toBe('1\n');
      expect(value({ oomScoreAdj: 500 }, 'cat', '/proc/self/oom_score_adj')).toBe('500\n');
      // A scheduler that a clone does not inherit: the policy is field 41.
      const idle = { policy: 'SCHED_IDLE', flags: ['SCHED_FLAG_RESET_ON_FORK'] };
      expect(value({ scheduler: idle }, 'cut', '-d', ' ', '-f', '41', '/proc/self/stat')).toBe('5\n');
    });

    it('puts it into a session of its own, with its own terminal', () => {
      const oci = running();
      // Process, its group and its session; on a terminal also the group in front.
      const ids = (fields: string, ...words: string[]) =>
        oci.call('exec', ...words, 'c', 'sh', '-c', `set -- $(cut -d " " -f 1,5,6,7,8 /proc/$$/stat); echo ${fields}`).out.trim();
      const [pid, group, session] = ids('$1 $2 $3').split(' ');
      expect([group, session]).toEqual([pid, pid]);
      const [own, inFront, terminal] = ids('$1 $5 $4', '--tty').split(' ');
      expect(inFront).toBe(own);
      expect(terminal).not.toBe('0');
    });

    it('works where the filter lets nobody clone', () => {
      const oci = trial();
      oci.start(['sleep', '100'], (spec) => {
        object(spec['linux'])['seccomp'] = {
          defaultAction: 'SCMP_ACT_ALLOW',
          syscalls: [{ names: ['clone', 'clone3', 'fork', 'vfork'], action: 'SCMP_ACT_ERRNO' }],
        };
      });
      expect(oci.call('exec', 'c', 'echo', 'here')).toMatchObject({ out: 'here\n', code: 0 });
    });

    it('leaves a detached process running, with its pid in a file', () => {
      const oci = running();
      const pidFile = join(oci.folder, 'exec.pid');
      rmSync(pidFile, { force: true });
      expect(oci.spawn(['exec', '--detach', '--pid-file', pidFile, 'c', 'sleep', '50'], { stdio: 'ignore' }).code).toBe(0);
      const pid = Number(readFileSync(pidFile, 'utf8'));
      until(() => readFileSync(`/proc/${pid}/cmdline`, 'utf8').startsWith('sleep'));
      expect(JSON.parse(oci.call('ps', '--format', 'json', 'c').out)).toContain(pid);
    });

    it('keeps as many descriptors as it is told to', () => {
      const oci = running();
      const given = openSync(join(oci.bundle, 'config.json'), 'r');
      try {
        const withDescriptor = (count: string) =>
          oci.spawn(['exec', '--preserve-fds', count, 'c', 'sh', '-c', 'cat <&3 | wc -c; ls /proc/self/fd | wc -l'], {
            stdio: ['ignore', 'pipe', 'pipe', given, given],
          });
        // Those of ls: three streams, what is kept, and the directory it reads.
        expect(withDescriptor('1').out).toMatch(/^[1-9]\d+\n5\n$/);
        expect(withDescriptor('2').out.split('\n')[1]).toBe('6');
        expect(withDescriptor('0').err).toContain('Bad file descriptor');
        expect(withDescriptor('3').err).toContain('descriptor 5 is not open, and 3 from 3 on are to be passed');
        expect(withDescriptor('2147483647').err).toContain('preserve-fds is more than a process can have open');
        expect(withDescriptor('-1').err).toContain('preserve-fds must not be negative');
      } finally {
        closeSync(given);
      }
    });

    it('hands on what a socket-activated caller got', () => {
      const oci = running();
      const given = openSync(join(oci.bundle, 'config.json'), 'r');
      try {
        const words = ['exec', 'c', 'sh', '-c', 'echo $LISTEN_FDS $LISTEN_PID; ls /proc/self/fd | wc -l'];
        const { out } = oci.spawn(words, { stdio: ['ignore', 'pipe', 'pipe', given], env: { ...process.env, LISTEN_FDS: '1' } });
        expect(out).toBe('1 1\n5\n');
        // Those were for another process, or are no number of descriptors.
        for (const env of [{ LISTEN_FDS: '1', LISTEN_PID: '1' }, { LISTEN_FDS: '1x' }, { LISTEN_FDS: '99999999999' }]) {
          expect(oci.spawn(words, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env } }).out).toBe('\n4\n');
        }
      } finally {
        closeSync(given);
      }
    });

    it('refuses a paused container unless it is told to ignore that', () => {
      const oci = running();
      oci.call('pause', 'c');
      expect(oci.call('exec', 'c', 'true')).toMatchObject({ code: 255, err: expect.stringContaining('paused container') });
      const child = spawn(gantryRuntime, ['--root', oci.state, 'exec', '--ignore-paused', 'c', 'true'], { stdio: 'ignore' });
      let code: number | null | undefined;
      child.on('exit', (value) => (code = value));
      return new Promise<void>((resolve) => setTimeout(resolve, 200)).then(async () => {
        expect(code).toBeUndefined();
        oci.call('resume', 'c');
        while (code === undefined) await new Promise((resolve) => setTimeout(resolve, 10));
        expect(code).toBe(0);
      });
    });

    it('enters a cgroup below the container by --cgroup', () => {
      const oci = running();
      for (const controller of ['pids', 'memory', 'unified']) {
        if (existsSync(oci.cgroup(controller)) && !existsSync(join(oci.cgroup(controller), 'sub')))
          mkdirSync(join(oci.cgroup(controller), 'sub'));
      }
      const own = (...flags: string[]) => oci.call('exec', ...flags, 'c', 'cat', '/proc/self/cgroup');
      if (cgroupV2) {
        expect(own('--cgroup', 'sub').out).toContain(`/${oci.cgroupName}/c/sub\n`);
        expect(own('--cgroup', 'pids:sub').err).toContain('one path for all controllers');
      } else {
        const { out } = own('--cgroup', 'pids,memory:sub');
        expect(out).toContain(`:pids:/${oci.cgroupName}/c/sub\n`);
        expect(out).toContain(`:freezer:/${oci.cgroupName}/c\n`);
        expect(own('--cgroup', 'nosuch:sub').err).toContain('no such controller');
      }
      expect(own('--cgroup', '/nosuch')).toMatchObject({
        code: 255,
        err: expect.stringMatching(/open cgroup .*nosuch: no such file or directory/),
      });
      // Out of the container's own there is no way.
      expect(own('--cgroup', '../../..').out).toContain(`/${oci.cgroupName}/c\n`);
    });

    it.each([
      ['a program that is missing', ['c', 'nosuch'], /exec failed: .*"nosuch": executable file not found in \$PATH/],
      ['no program', ['c'], /process args cannot be empty/],
      ['a user that is a name', ['--user', 'root', 'c', 'true'], /invalid user or group id "root"/],
      ['a working directory that is relative', ['--cwd', 'tmp', 'c', 'true'], /cwd must be an absolute path/],
      ['a terminal that nobody takes', ['--tty', '--detach', 'c', 'true'], /cannot allocate tty/],
      ['a console socket without a terminal', ['--console-socket', '/nosuch', 'c', 'true'], /cannot use console socket/],
      [
        'a console socket that nobody serves',
        ['--tty', '--console-socket', '/nosuch', 'c', 'true'],
        /connect to console socket \/nosuch: no such file/,
      ],
      ['a process file that is missing', ['--process', '/nosuch.json', 'c'], /open \/nosuch.json: no such file/],
      ['a container that is missing', ['other', 'true'], /container does not exist/],
    ])('reports %s', (_, args, words) => {
      const { code, err } = running().call('exec', ...args);
      expect([1, 255]).toContain(code);
      expect(err).toMatch(words);
      expect(err.trim().split('\n')).toHaveLength(1);
    });
  });

  it('sends pidfds of the first process and of an exec to a socket', async () => {
    const oci = trial();
    const path = join(oci.folder, 'pidfd.sock');
    rmSync(path, { force: true });
    const heard: string[] = [];
    const server = createServer((peer: Socket) => peer.on('data', (data) => heard.push(data.toString())));
    await new Promise<void>((resolve) => server.listen(path, resolve));
    const call = (...args: string[]): Promise<number | null> =>
      new Promise((resolve) => spawn(gantryRuntime, ['--root', oci.state, ...args], { stdio: 'ignore' }).on('exit', resolve));
    try {
      oci.write(['sleep', '100']);
      expect(await call('create', '--bundle', oci.bundle, '--pidfd-socket', path, 'c')).toBe(0);
      expect(await call('start', 'c')).toBe(0);
      expect(await call('exec', '--pidfd-socket', path, 'c', 'true')).toBe(0);
      while (heard.length < 2) await new Promise((resolve) => setTimeout(resolve, 10));
      expect(heard).toEqual(['pidfd', 'pidfd']);
    } finally {
      server.close();
    }
    expect(oci.call('exec', '--pidfd-socket', '/nosuch', 'c', 'true').err).toContain('connect to pidfd socket /nosuch: no such file');
  });

  it('reaps what loses its parent while it runs a container, unless told not to', () => {
    const oci = trial();
    const inHostPids = (spec: object): void => {
      const namespaces = list(object(object(spec)['linux'])['namespaces']);
      object(object(spec)['linux'])['namespaces'] = namespaces.filter((ns) => ns['type'] !== 'pid');
    };
    // The grandchild's parent after its own has gone.
    const script = '(sh -c "sleep 0.3; cut -d\\" \\" -f4 /proc/self/stat > /tmp/parent" &); sleep 0.8';
    const parent = (...flags: string[]): string => {
      rmSync(join(oci.rootfs, 'tmp/parent'), { force: true });
      oci.run(script, inHostPids, ...flags);
      return readFileSync(join(oci.rootfs, 'tmp/parent'), 'utf8').trim();
    };
    // The cut's own parent is its shell; what matters is that both variants run to their end.
    expect(parent()).toMatch(/^\d+$/);
    expect(parent('--no-subreaper')).toMatch(/^\d+$/);
  });

  it.runIf(hasPs)('shows processes with the options of ps', () => {
    const oci = running('sh', '-c', 'sleep 99 & wait');
    until(() => list(JSON.parse(oci.call('ps', '--format', 'json', 'c').out)).length === 2);
    const pids = list(JSON.parse(oci.call('ps', '--format', 'json', 'c').out)).map(String);
    const rows = (...options: string[]) =>
      oci
        .call('ps', 'c', ...options)
        .out.trim()
        .split('\n');
    expect(rows()[0]).toMatch(/^UID +PID +PPID/);
    expect(
      rows()
        .slice(1)
        .map((row) => row.split(/\s+/)[1]),
    ).toEqual(pids);
    expect(
      rows('-o', 'pid,comm', '-e')
        .slice(1)
        .map((row) => row.trim().split(/\s+/)[0]),
    ).toEqual(pids);
    expect(oci.call('ps', 'c', '-o', 'comm', '-e')).toMatchObject({ code: 1, err: expect.stringContaining('no PID column') });
    expect(oci.call('ps', 'c', '--nonsense').code).toBe(1);
    expect(oci.call('ps', '--format', 'yaml', 'c').err).toContain('invalid format option');
  });

  it('tells of a lack of memory when it happens, and ends with the container', async () => {
    const oci = running('sh', '-c', 'while ! [ -e /tmp/go ]; do sleep 0.1; done; (a=x; while true; do a=$a$a; done); sleep 0.3');
    oci.call('update', '--memory', '16m', '--memory-swap', '16m', 'c');
    const events = spawn(gantryRuntime, ['--root', oci.state, 'events', '--interval', '1h', 'c'], { stdio: ['ignore', 'pipe', 'inherit'] });
    let out = '';
    events.stdout.on('data', (data: Buffer) => (out += data.toString()));
    const ended = new Promise((resolve) => events.on('exit', resolve));
    // It listens: by an event descriptor with cgroup v1, by a watch with v2.
    const listens = (fd: string): boolean => {
      try {
        return /eventfd|inotify/.test(readlinkSync(`/proc/${events.pid}/fd/${fd}`));
      } catch {
        return false;
      }
    };
    while (!readdirSync(`/proc/${events.pid}/fd`).some(listens)) await new Promise((resolve) => setTimeout(resolve, 10));
    await new Promise((resolve) => setTimeout(resolve, 200));
    writeFileSync(join(oci.rootfs, 'tmp/go'), '');
    expect(await ended).toBe(0);
    rmSync(join(oci.rootfs, 'tmp/go'));
    expect(JSON.parse(out.split('\n')[0] ?? '')).toEqual({ type: 'oom', id: 'c' });
  });

  it('reports usage in the form of events --stats, and repeats it', async () => {
    const oci = running();
    const { type, id, data } = JSON.parse(oci.call('events', '--stats', 'c').out) as {
      type: string;
      id: string;
      data: Record<string, Record<string, unknown>>;
    };
    expect([type, id]).toEqual(['stats', 'c']);
    expect(Object.keys(data).toSorted()).toEqual(['blkio', 'cpu', 'cpuset', 'hugetlb', 'memory', 'pids']);
    expect(data['cpu']?.['usage']).toMatchObject({ total: expect.any(Number), kernel: expect.any(Number), user: expect.any(Number) });
    expect(data['cpu']?.['throttling']).toEqual({ periods: 0, throttledPeriods: 0, throttledTime: 0 });
    expect(data['memory']?.['usage']).toMatchObject({ usage: expect.any(Number), limit: expect.any(Number) });
    expect(data['pids']?.['current']).toBe(1);
    expect(data['cpuset']?.['cpus']).toContain(0);
    const events = spawn(gantryRuntime, ['--root', oci.state, 'events', '--interval', '1s', 'c'], { stdio: ['ignore', 'pipe', 'inherit'] });
    const first = await new Promise<string>((resolve) => events.stdout.once('data', (chunk: Buffer) => resolve(chunk.toString())));
    expect(JSON.parse(first)).toMatchObject({ type: 'stats' });
    oci.call('kill', 'c', 'KILL');
    expect(await new Promise((resolve) => events.on('exit', resolve))).toBe(0);
    expect(oci.call('events', '--interval', '0', 'c').err).toContain('greater than 0');
    expect(oci.call('events', '--stats', 'c').err).toContain('not running');
  });

  describe('update', () => {
    it('changes each limit by its flag', () => {
      const oci = running();
      const flags = {
        '--cpu-share': '512',
        '--cpu-period': '50000',
        '--cpu-quota': '25000',
        '--memory': '64m',
        '--memory-swap': '128m',
        '--memory-reservation': '32m',
        '--pids-limit': '44',
        '--cpuset-cpus': '0',
        '--cpuset-mems': '0',
        '--cpu-burst': '1000',
      };
      expect(oci.call('update', ...Object.entries(flags).flat(), 'c')).toEqual({ code: 0, out: '', err: '' });
      const v1 = {
        'cpu cpu.shares': '512',
        'cpu cpu.cfs_period_us': '50000',
        'cpu cpu.cfs_quota_us': '25000',
        'cpu cpu.cfs_burst_us': '1000',
        'memory memory.limit_in_bytes': `${64 << 20}`,
        'memory memory.memsw.limit_in_bytes': `${128 << 20}`,
        'memory memory.soft_limit_in_bytes': `${32 << 20}`,
        'pids pids.max': '44',
        'cpuset cpuset.cpus': '0',
        'cpuset cpuset.mems': '0',
      };
      const v2 = {
        'u cpu.weight': '20',
        'u cpu.max': '25000 50000',
        'u cpu.max.burst': '1000',
        'u memory.max': `${64 << 20}`,
        'u memory.swap.max': `${64 << 20}`,
        'u memory.low': `${32 << 20}`,
        'u pids.max': '44',
        'u cpuset.cpus': '0',
        'u cpuset.mems': '0',
      };
      const wanted = cgroupV2 ? v2 : v1;
      const found = Object.fromEntries(Object.keys(wanted).map((key) => [key, oci.control(...(key.split(' ') as [string, string]))]));
      expect(found).toEqual(wanted);
      expect(oci.call('update', '--memory', '-1', '--pids-limit', '-1', 'c').code).toBe(0);
      expect(oci.control('pids', 'pids.max')).toBe('max');
    });

    it('takes limits from a file or from its input', () => {
      const oci = running();
      const file = join(oci.folder, 'resources.json');
      writeFileSync(file, JSON.stringify({ pids: { limit: 21 }, memory: { limit: 50 << 20 } }));
      expect(oci.call('update', '--resources', file, 'c').code).toBe(0);
      expect(oci.control('pids', 'pids.max')).toBe('21');
      expect(oci.spawn(['update', '-r', '-', 'c'], { input: '{"pids":{"limit":22}}' }).code).toBe(0);
      expect(oci.control('pids', 'pids.max')).toBe('22');
      expect(oci.spawn(['update', '-r', '-', 'c'], { input: '{"pids":{"limit":"22"}}' }).err).toContain(
        'resources.pids.limit: expected an integer',
      );
    });

    it('refuses what it cannot do', () => {
      const oci = running();
      expect(oci.call('update', '--memory', 'much', 'c').err).toContain("invalid size: 'much'");
      expect(oci.call('update', '--cpu-quota', 'x', 'c').err).toContain('invalid value "x"');
      expect(oci.call('update', '--l3-cache-schema', 'L3:0=f', 'c').err).toContain('resctrl');
      const checked = JSON.stringify({ memory: { limit: 4096, checkBeforeUpdate: true } });
      expect(oci.spawn(['update', '-r', '-', 'c'], { input: checked }).err).toContain('rejecting memory limit 4096');
      oci.call('kill', 'c', 'KILL');
      until(() => oci.document()['status'] === 'stopped');
      expect(oci.call('update', '--pids-limit', '5', 'c').err).toContain('cannot update a stopped container');
    });
  });

  it('writes specifications for root and for other users that it can run itself', () => {
    const oci = trial();
    for (const flags of [[], ['--rootless']]) {
      const folder = join(oci.folder, `spec${flags.length}`);
      mkdirSync(folder);
      symlinkSync(oci.rootfs, join(folder, 'rootfs'));
      spawnSync('chmod', ['755', oci.folder, oci.bundle]);
      expect(oci.call('spec', '--bundle', folder, ...flags)).toMatchObject({ code: 0, err: '' });
      expect(oci.call('spec', '--bundle', folder).err).toContain('exists. Remove it first');
      const file = join(folder, 'config.json');
      const spec = object(JSON.parse(readFileSync(file, 'utf8')));
      Object.assign(processOf(spec), { terminal: false, args: ['echo', 'ran'] });
      writeFileSync(file, JSON.stringify(spec));
      expect(oci.call('run', '--bundle', folder, 'c')).toMatchObject({ code: 0, out: 'ran\n', err: '' });
    }
  });

  it('gives the state as the specification has it, and to hooks without its own fields', () => {
    const oci = trial();
    const seen = join(oci.folder, 'state.json');
    oci.start(['sleep', '100'], (spec) => {
      object(spec)['annotations'] = { 'org.example.key': 'value' };
      object(spec)['hooks'] = { createRuntime: [{ path: '/bin/sh', args: ['sh', '-c', `cat > ${seen}`] }] };
    });
    const state = oci.document();
    expect(state).toEqual({
      ociVersion: '1.0.2',
      id: 'c',
      pid: expect.any(Number),
      status: 'running',
      bundle: oci.bundle,
      rootfs: oci.rootfs,
      created: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
      annotations: { 'org.example.key': 'value' },
      owner: 'root',
    });
    const { rootfs: _r, created: _c, owner: _o, ...specified } = state;
    expect(JSON.parse(readFileSync(seen, 'utf8'))).toEqual({ ...specified, status: 'creating' });
  });

  it('names every mount option that it takes among its features', () => {
    const features = object(JSON.parse(trial().call('features').out));
    expect(features).toMatchObject({
      ociVersionMin: '1.0.0',
      ociVersionMax: '1.2.0',
      hooks: ['prestart', 'createRuntime', 'createContainer', 'startContainer', 'poststart', 'poststop'],
      linux: {
        namespaces: ['cgroup', 'ipc', 'mount', 'network', 'pid', 'time', 'user', 'uts'],
        cgroup: { v1: true, v2: true, systemd: true, systemdUser: true, rdma: true },
        seccomp: { enabled: true, supportedFlags: expect.arrayContaining(['SECCOMP_FILTER_FLAG_TSYNC', 'SECCOMP_FILTER_FLAG_LOG']) },
        apparmor: { enabled: true },
        selinux: { enabled: true },
        intelRdt: { enabled: false },
        mountExtensions: { idmap: { enabled: true } },
      },
      annotations: { 'io.github.seccomp.libseccomp.version': expect.stringMatching(/^\d+\.\d+\.\d+$/) },
    });
    const options = features['mountOptions'] as string[];
    expect(options).toEqual([...options].toSorted());
    expect(options).toEqual(expect.arrayContaining(['rro', 'rnosuid', 'rbind', 'rslave', 'tmpcopyup', 'ridmap', 'nosymfollow']));
  });

  it('explains itself', () => {
    const oci = trial();
    expect(oci.call('--help')).toMatchObject({ code: 0, out: expect.stringContaining('commands:') });
    expect(oci.call('exec', '--help').out).toContain('--ignore-paused');
    expect(oci.call('help', 'update').out).toContain('--resources, -r VALUE');
    expect(oci.call('nonsense')).toMatchObject({ code: 1, err: 'no command nonsense\n' });
    expect(oci.call('create', '--nonsense', 'c').err).toContain('flag provided but not defined: -nonsense');
    expect(oci.call('create').err).toContain('create: needs');
  });

  it('writes what it does into its log with --debug, in the form that is asked for', () => {
    const oci = trial();
    oci.write(['true']);
    const log = join(oci.folder, 'debug.log');
    const lines = (...flags: string[]): string[] => {
      rmSync(log, { force: true });
      oci.spawn(['--log', log, ...flags, 'run', '--bundle', oci.bundle, 'c'], { stdio: 'ignore' });
      return readFileSync(log, 'utf8')
        .split('\n')
        .filter((line) => line !== '');
    };
    expect(lines()).toEqual([]);
    expect(lines('--debug').join('\n')).toMatch(/level=debug msg="init of container c is ready"/);
    expect(lines('--debug', '--log-format', 'json').map((line): unknown => JSON.parse(line))).toContainEqual({
      level: 'debug',
      msg: 'init of container c is ready',
      time: expect.any(String),
    });
    expect(oci.call('--log-format', 'xml', 'list').err).toContain('unknown log-format "xml"');
    expect(oci.call('--log', '/nosuch/log', 'list')).toMatchObject({
      code: 1,
      err: expect.stringContaining('open /nosuch/log: no such file'),
    });
  });

  it('enters a user namespace again by exec', () => {
    const oci = trial();
    spawnSync('chmod', ['755', oci.folder, oci.bundle]);
    oci.start(['sleep', '100'], withUserNamespace);
    expect(oci.call('exec', 'c', 'sh', '-c', 'id -u; cat /proc/self/uid_map | tr -s " "').out).toBe('0\n 0 100000 65536\n');
  });
});
