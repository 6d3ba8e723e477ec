import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import {
  all,
  cgroupV2,
  describeOci,
  linux,
  list,
  object,
  processOf,
  resources,
  until,
  withUserNamespace,
  type Change,
} from './oci-trial.js';

const withProcess =
  (fields: object): Change =>
  (spec) =>
    Object.assign(processOf(spec), fields);
const withResources =
  (fields: object): Change =>
  (spec) =>
    Object.assign(resources(spec), fields);
const hasController = (name: string): boolean =>
  cgroupV2 ? readFileSync('/sys/fs/cgroup/cgroup.controllers', 'utf8').split(/\s/).includes(name) : existsSync(`/sys/fs/cgroup/${name}`);
const missing = (controller: string): boolean => {
  if (hasController(controller)) return false;
  console.log(`skipped: limits of ${controller} need its cgroup controller`);
  return true;
};
/** A whole disk, whose numbers block controllers take. */
const disk = ((): { major: number; minor: number } | undefined => {
  const { stdout } = spawnSync('sh', ['-c', 'cat /sys/block/*/dev | head -1'], { encoding: 'utf8' });
  const match = /^(\d+):(\d+)/.exec(stdout);
  return match ? { major: Number(match[1]), minor: Number(match[2]) } : undefined;
})();

describeOci('fields of a specification', (trial) => {
  describe('process', () => {
    it('schedules by policy, nice value and flags', () => {
      const policy = 'grep -E "^(policy|prio)" /proc/self/sched; cut -d" " -f19,41 /proc/self/stat; true';
      const scheduled = (scheduler: object) => trial().run(policy, withProcess({ scheduler })).out.trim().split('\n').at(-1);
      expect(scheduled({ policy: 'SCHED_OTHER', nice: 5 })).toBe('5 0');
      expect(scheduled({ policy: 'SCHED_BATCH', nice: 3 })).toBe('3 3');
      expect(scheduled({ policy: 'SCHED_IDLE' })).toBe('0 5');
      expect(scheduled({ policy: 'SCHED_OTHER', nice: -5, flags: ['SCHED_FLAG_RESET_ON_FORK'] })).toBe('0 0');
    });

    it.each([
      ['IOPRIO_CLASS_BE', 6, 'best-effort: prio 6'],
      ['IOPRIO_CLASS_IDLE', 0, 'idle'],
      ['IOPRIO_CLASS_RT', 2, 'realtime: prio 2'],
    ])('gives disk accesses the class %s', (name, priority, words) => {
      expect(
        trial()
          .run('ionice -p $$', withProcess({ ioPriority: { class: name, priority } }))
          .out.trim(),
      ).toContain(words);
    });

    it('sets every limit by its name', () => {
      const names = [
        'CPU',
        'FSIZE',
        'DATA',
        'STACK',
        'CORE',
        'RSS',
        'NPROC',
        'NOFILE',
        'MEMLOCK',
        'AS',
        'LOCKS',
        'SIGPENDING',
        'MSGQUEUE',
        'NICE',
        'RTPRIO',
        'RTTIME',
      ];
      const current = new Map(
        readFileSync('/proc/self/limits', 'utf8')
          .split('\n')
          .slice(1, 17)
          .map((line, i) => [i, /(\S+)\s+(\S+)\s+(\S*)\s*$/.exec(line)]),
      );
      expect(current.size).toBe(names.length);
      const rlimits = names.map((name) => ({
        type: `RLIMIT_${name}`,
        soft: name === 'NICE' || name === 'RTPRIO' ? 0 : 1 << 30,
        hard: name === 'NICE' || name === 'RTPRIO' ? 0 : 1 << 30,
      }));
      // What is above this machine's own hard limit takes a capability that not everybody has.
      const possible = rlimits.filter(
        ({ type }) =>
          !['RLIMIT_NPROC', 'RLIMIT_NOFILE', 'RLIMIT_SIGPENDING', 'RLIMIT_MSGQUEUE', 'RLIMIT_MEMLOCK', 'RLIMIT_CORE'].includes(type),
      );
      const small = ['NPROC', 'NOFILE', 'SIGPENDING', 'MSGQUEUE', 'MEMLOCK', 'CORE'].map((name) => ({
        type: `RLIMIT_${name}`,
        soft: 100,
        hard: 200,
      }));
      const { out, err } = trial().run('cat /proc/self/limits', withProcess({ rlimits: [...possible, ...small] }));
      expect(err).toBe('');
      const rows = Object.fromEntries(
        out.split('\n').map((line) => [line.slice(0, 26).trim(), line.slice(26).trim().split(/\s+/).slice(0, 2).join(' ')]),
      );
      expect(rows).toMatchObject({
        'Max open files': '100 200',
        'Max processes': '100 200',
        'Max cpu time': `${1 << 30} ${1 << 30}`,
        'Max nice priority': '0 0',
        'Max address space': `${1 << 30} ${1 << 30}`,
      });
    });

    it('sets what makes the kernel choose it when memory lacks', () => {
      const own = Number(readFileSync('/proc/self/oom_score_adj', 'utf8'));
      const wanted = Math.min(1000, own + 7);
      expect(trial().run('cat /proc/self/oom_score_adj', withProcess({ oomScoreAdj: wanted })).out).toBe(`${wanted}\n`);
    });

    it('gives a terminal of the size that is asked for', () => {
      const oci = trial();
      oci.write(
        ['sh', '-c', 'stty size; tty; ls -l /dev/console | cut -c1'],
        withProcess({ terminal: true, consoleSize: { height: 33, width: 77 } }),
      );
      // Its own standard input is no terminal, whose size would win.
      expect(oci.spawn(['run', '--bundle', oci.bundle, 'c'], { input: '' }).out.split('\r\n')).toEqual(['33 77', '/dev/pts/0', 'c', '']);
    });

    it('takes the last of variables that are given twice, and finds HOME', () => {
      expect(trial().run('echo $A; env | grep -c "^A="; echo $HOME', withProcess({ env: ['PATH=/bin', 'A=1', 'A=2'] })).out).toBe(
        '2\n1\n/root\n',
      );
    });
  });

  describe('kernel', () => {
    it('gives the personality of a 32-bit system', () => {
      expect(trial().run('uname -m', (spec) => (linux(spec)['personality'] = { domain: 'LINUX32' })).out).toMatch(/^i[3-6]86\n$/);
      expect(
        trial()
          .run('uname -m', (spec) => (linux(spec)['personality'] = { domain: 'LINUX' }))
          .out.trim(),
      ).not.toMatch(/^i/);
    });

    it('puts pages on the memory nodes that are asked for', () => {
      const policy = (memoryPolicy: object) =>
        trial().run(
          'grep -m1 -o "bind[^ ]*\\|interleave[^ ]*\\|prefer[^ ]*\\|default" /proc/self/numa_maps',
          (spec) => (linux(spec)['memoryPolicy'] = memoryPolicy),
        );
      if (!existsSync('/proc/self/numa_maps')) {
        console.log('skipped: memory policies are seen in /proc/self/numa_maps');
        return;
      }
      expect(policy({ mode: 'MPOL_BIND', nodes: '0' }).out).toBe('bind:0\n');
      expect(policy({ mode: 'MPOL_BIND', nodes: '0', flags: ['MPOL_F_STATIC_NODES'] }).out).toBe('bind=static:0\n');
      expect(policy({ mode: 'MPOL_INTERLEAVE', nodes: '0' }).out).toBe('interleave:0\n');
      expect(policy({ mode: 'MPOL_DEFAULT' }).out).toBe('default\n');
      expect(policy({ mode: 'MPOL_BIND', nodes: '999' }).err).toContain('set memory policy: invalid argument');
    });

    it('sets names and settings of its own namespaces', () => {
      const { out, err } = trial().run(
        'hostname; cat /proc/sys/kernel/domainname /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax',
        (spec) => {
          Object.assign(object(spec), { hostname: 'named', domainname: 'example.org' });
          linux(spec)['sysctl'] = { 'net.ipv4.ip_forward': '1', 'net/ipv4/conf/lo/forwarding': '1', 'kernel.msgmax': '9000' };
        },
      );
      expect({ out, err }).toEqual({ out: 'named\nexample.org\n1\n9000\n', err: '' });
    });

    it('moves network devices in, with their addresses and under other names', () => {
      const name = `gt${process.pid}`.slice(0, 14);
      const ip = (...words: string[]) => spawnSync('ip', words, { encoding: 'utf8' });
      if (ip('link', 'add', `${name}a`, 'type', 'veth', 'peer', 'name', `${name}b`).status !== 0) {
        console.log('skipped: moving network devices needs veth');
        return;
      }
      try {
        ip('addr', 'add', '10.123.45.6/24', 'dev', `${name}a`);
        ip('addr', 'add', 'fd12:3456::7/64', 'dev', `${name}a`, 'nodad');
        ip('link', 'set', `${name}a`, 'up');
        const moving =
          (device: object): Change =>
          (spec) =>
            (linux(spec)['netDevices'] = { [`${name}a`]: device });
        const taken = trial().run('true', moving({ name: 'lo' }));
        expect(taken).toMatchObject({ code: 1, err: expect.stringContaining(`move network device ${name}a to lo: file exists`) });
        const { out, err } = trial().run('ip addr show dev inside', moving({ name: 'inside' }));
        expect(err).toBe('');
        expect(out).toMatch(/inside[@:].*<.*UP/);
        expect(out).toContain('inet 10.123.45.6/24');
        expect(out).toContain('inet6 fd12:3456::7/64');
        expect(ip('link', 'show', `${name}a`).status).not.toBe(0);
      } finally {
        ip('link', 'del', `${name}b`);
      }
    });

    it('makes namespaces of every kind, and leaves out those that are not listed', () => {
      const kinds = ['pid', 'network', 'ipc', 'uts', 'mount', 'user', 'cgroup', 'time'];
      const files: Record<string, string> = { network: 'net', mount: 'mnt' };
      const oci = trial();
      spawnSync('chmod', ['755', oci.folder, oci.bundle]);
      const own = (kind: string): string => spawnSync('readlink', [`/proc/self/ns/${files[kind] ?? kind}`], { encoding: 'utf8' }).stdout;
      const script = kinds.map((kind) => `readlink /proc/self/ns/${files[kind] ?? kind}`).join(';');
      const { out, err } = oci.run(
        script,
        all(withUserNamespace, (spec) => list(linux(spec)['namespaces']).push({ type: 'cgroup' }, { type: 'time' })),
      );
      expect(err).toBe('');
      out
        .trim()
        .split('\n')
        .forEach((name, i) => expect(`${name}\n`).not.toBe(own(kinds[i] ?? '')));
      const few = oci.run(script, (spec) => {
        linux(spec)['namespaces'] = [{ type: 'mount' }];
        Object.assign(linux(spec), { sysctl: {} });
        delete object(spec)['hostname'];
      });
      few.out
        .trim()
        .split('\n')
        .forEach((name, i) => expect([kinds[i], `${name}\n` === own(kinds[i] ?? '')]).toEqual([kinds[i], kinds[i] !== 'mount']));
    });
  });

  describe('resources', () => {
    it('limits processors', () => {
      const cpu = { shares: 512, quota: 30_000, period: 60_000, burst: 10_000, cpus: '0', mems: '0' };
      const oci = trial();
      oci.create(['true'], withResources({ cpu }));
      if (cgroupV2) {
        expect(['cpu.weight', 'cpu.max', 'cpu.max.burst', 'cpuset.cpus', 'cpuset.mems'].map((file) => oci.control('', file))).toEqual([
          '20',
          '30000 60000',
          '10000',
          '0',
          '0',
        ]);
      } else {
        expect(['cpu.shares', 'cpu.cfs_quota_us', 'cpu.cfs_period_us', 'cpu.cfs_burst_us'].map((file) => oci.control('cpu', file))).toEqual(
          ['512', '30000', '60000', '10000'],
        );
        expect(['cpuset.cpus', 'cpuset.mems'].map((file) => oci.control('cpuset', file))).toEqual(['0', '0']);
      }
    });

    it('marks a container as idle', () => {
      const oci = trial();
      const done = oci.run('true', withResources({ cpu: { idle: 1 } }));
      expect(done.err === '' || /cpu.idle/.test(done.err)).toBe(true);
      if (done.code !== 0) return;
      oci.create(['true'], withResources({ cpu: { idle: 1 } }));
      expect(oci.control('cpu', 'cpu.idle')).toBe('1');
    });

    it('limits memory, swap and reservation', () => {
      const oci = trial();
      oci.create(['true'], withResources({ memory: { limit: 64 << 20, swap: 96 << 20, reservation: 32 << 20 } }));
      const files = cgroupV2
        ? ['memory.max', 'memory.swap.max', 'memory.low']
        : ['memory.limit_in_bytes', 'memory.memsw.limit_in_bytes', 'memory.soft_limit_in_bytes'];
      expect(files.map((file) => Number(oci.control('memory', file)))).toEqual(
        cgroupV2 ? [64 << 20, 32 << 20, 32 << 20] : [64 << 20, 96 << 20, 32 << 20],
      );
    });

    it.runIf(!cgroupV2)('sets what only v1 has of memory', () => {
      const oci = trial();
      oci.create(
        ['true'],
        withResources({ memory: { limit: 64 << 20, swappiness: 7, disableOOMKiller: true, kernelTCP: 32 << 20, useHierarchy: true } }),
      );
      expect(oci.control('memory', 'memory.swappiness')).toBe('7');
      expect(oci.control('memory', 'memory.oom_control')).toContain('oom_kill_disable 1');
      expect(oci.control('memory', 'memory.kmem.tcp.limit_in_bytes')).toBe(String(32 << 20));
      expect(oci.control('memory', 'memory.use_hierarchy')).toBe('1');
    });

    it('limits the number of processes, -1 being none', () => {
      const oci = trial();
      oci.create(['true'], withResources({ pids: { limit: 12 } }));
      expect(oci.control('pids', 'pids.max')).toBe('12');
      oci.clear();
      oci.create(['true'], withResources({ pids: { limit: -1 } }));
      expect(oci.control('pids', 'pids.max')).toBe('max');
    });

    it('slows accesses to disks', () => {
      if (!disk || missing(cgroupV2 ? 'io' : 'blkio')) return;
      const oci = trial();
      const one = (rate: number) => [{ ...disk, rate }];
      const blockIO = {
        throttleReadBpsDevice: one(1 << 20),
        throttleWriteBpsDevice: one(2 << 20),
        throttleReadIOPSDevice: one(300),
        throttleWriteIOPSDevice: one(400),
      };
      oci.create(['true'], withResources({ blockIO }));
      const name = `${disk.major}:${disk.minor}`;
      if (cgroupV2) {
        expect(oci.control('', 'io.max')).toBe(`${name} rbps=${1 << 20} wbps=${2 << 20} riops=300 wiops=400`);
      } else {
        const found = ['read_bps', 'write_bps', 'read_iops', 'write_iops'].map((kind) =>
          oci.control('blkio', `blkio.throttle.${kind}_device`),
        );
        expect(found).toEqual([`${name} ${1 << 20}`, `${name} ${2 << 20}`, `${name} 300`, `${name} 400`]);
      }
    });

    it('weighs accesses to disks where the kernel can', () => {
      if (missing(cgroupV2 ? 'io' : 'blkio')) return;
      const oci = trial();
      const { code, err } = oci.run('true', withResources({ blockIO: { weight: 200 } }));
      // Without a scheduler that knows weights there is no file, and that is an error that names it.
      if (code !== 0) expect(err).toMatch(/(io|blkio)(\.bfq)?\.weight/);
      else {
        oci.create(['true'], withResources({ blockIO: { weight: 200 } }));
        const file = ['io.bfq.weight', 'io.weight', 'blkio.weight', 'blkio.bfq.weight'].find((name) =>
          existsSync(join(oci.cgroup('blkio'), name)),
        );
        expect(oci.control('blkio', file ?? '')).toMatch(file === 'io.weight' ? /default 1920/ : /200/);
      }
    });

    it('limits huge pages', () => {
      if (missing('hugetlb')) return;
      const oci = trial();
      oci.create(['true'], withResources({ hugepageLimits: [{ pageSize: '2MB', limit: 4 << 20 }] }));
      expect(oci.control('hugetlb', cgroupV2 ? 'hugetlb.2MB.max' : 'hugetlb.2MB.limit_in_bytes')).toBe(String(4 << 20));
    });

    it('limits RDMA, or says that it cannot', () => {
      const { code, err } = trial().run('true', withResources({ rdma: { nosuch_device: { hcaHandles: 3, hcaObjects: 1000 } } }));
      expect(code).toBe(1);
      expect(err).toMatch(/rdma/);
    });

    it.runIf(!cgroupV2)('tags traffic, or says that it cannot', () => {
      const { code, err } = trial().run('true', withResources({ network: { classID: 5, priorities: [{ name: 'lo', priority: 2 }] } }));
      if (hasController('net_cls') && hasController('net_prio')) expect(code).toBe(0);
      else expect({ code, err }).toEqual({ code: 1, err: expect.stringMatching(/no cgroup controller net_(cls|prio)/) });
    });

    it.runIf(cgroupV2)('writes files of v2 as they are given, and reads them before they are lowered', () => {
      const oci = trial();
      oci.start(['sleep', '100'], withResources({ unified: { 'memory.high': '50331648', 'pids.max': '9' } }));
      expect([oci.control('', 'memory.high'), oci.control('', 'pids.max')]).toEqual(['50331648', '9']);
      const { code, err } = oci.spawn(['update', '-r', '-', 'c'], { input: '{"memory":{"limit":4096,"checkBeforeUpdate":true}}' });
      expect({ code, err }).toEqual({ code: 1, err: expect.stringContaining('rejecting memory limit 4096') });
      oci.clear();
      expect(oci.run('true', withResources({ unified: { '../x': '1' } })).err).toMatch(/is not a file name/);
    });

    it.runIf(cgroupV2)('gives its cgroup to the root of a user namespace that may write to it', () => {
      const oci = trial();
      spawnSync('chmod', ['755', oci.folder, oci.bundle]);
      const own = (options: string[]): Change =>
        all(withUserNamespace, (spec) => {
          list(linux(spec)['namespaces']).push({ type: 'cgroup' });
          for (const mount of list(spec['mounts'])) if (mount['type'] === 'cgroup') mount['options'] = options;
        });
      oci.start(['sleep', '100'], own(['nosuid', 'noexec', 'nodev', 'rw']));
      expect(statSync(oci.cgroup('')).uid).toBe(100_000);
      expect(statSync(join(oci.cgroup(''), 'cgroup.procs')).uid).toBe(100_000);
      expect(statSync(join(oci.cgroup(''), 'memory.max')).uid).toBe(0);
      expect(oci.call('exec', 'c', 'mkdir', '/sys/fs/cgroup/inner')).toMatchObject({ code: 0, err: '' });
      oci.clear();
      oci.start(['sleep', '100'], own(['nosuid', 'noexec', 'nodev', 'ro']));
      expect(statSync(oci.cgroup('')).uid).toBe(0);
    });

    it('lets a device be used that a later rule allows, by kind, number and access', () => {
      const rule = (allow: boolean, access: string) => ({ allow, type: 'c', major: 10, minor: 200, access });
      const opened = (...rules: object[]): string =>
        trial().run('mknod /tmp/tun c 10 200 2>/dev/null; (exec 3< /tmp/tun) 2>&1 && echo opened', (spec) => {
          list(resources(spec)['devices']).push(...(rules as never[]));
        }).out;
      expect(opened()).toMatch(/Operation not permitted/);
      // There may be no such driver, but it is then not the cgroup that refuses.
      expect(opened(rule(true, 'rwm'))).not.toMatch(/Operation not permitted/);
      expect(opened(rule(true, 'rwm'), rule(false, 'r'))).toMatch(/Operation not permitted/);
      expect(opened(rule(true, 'w'))).toMatch(/Operation not permitted/);
    });
  });

  it('freezes and thaws all of a container', () => {
    const oci = trial();
    oci.start(['sh', '-c', 'i=0; while true; do i=$((i+1)); echo $i > /tmp/count; done']);
    const count = (): string => readFileSync(join(oci.rootfs, 'tmp/count'), 'utf8');
    until(() => existsSync(join(oci.rootfs, 'tmp/count')));
    expect(oci.call('pause', 'c').code).toBe(0);
    expect(oci.document()['status']).toBe('paused');
    const before = count();
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 150);
    expect(count()).toBe(before);
    expect(oci.call('pause', 'c').err).toContain('not running');
    expect(oci.call('resume', 'c').code).toBe(0);
    expect(oci.call('resume', 'c').err).toContain('not paused');
    oci.call('pause', 'c');
    expect(oci.call('kill', 'c', 'KILL').code).toBe(0);
    expect(oci.call('delete', '--force', 'c').code).toBe(0);
  });
});
