import { readFileSync } from 'node:fs';
import { defaultSeccompProfile } from '../../core/container/seccomp-profile.js';
import { type Json, dockerCapabilities } from '../conformance/runtime-bundle.js';
import { list, object } from './arena.js';
import { type Attack, mounts } from './attack.js';

const namespaces = (spec: Json): Json[] => list(object(spec['linux'])['namespaces']);
/** Attacks on what a container may do: capabilities, cgroups, devices, sysctls, calls of the kernel. */
export const attacksOnLimits: readonly Attack[] = [
  {
    name: 'inheritable capabilities (CVE-2022-24769, CVE-2022-29162)',
    attempt(arena) {
      const status = ['sh', '-c', 'grep -E "CapInh|CapAmb" /proc/self/status'];
      const expected = 'CapInh:\t0000000000000000\nCapAmb:\t0000000000000000\n';
      for (const uid of [0, 1000, 4242]) {
        const { out } = arena.run(status, (spec) => (object(object(spec['process'])['user'])['uid'] = uid));
        if (out !== expected) return `user ${uid}: ${out}`;
      }
      arena.start(['sleep', '100']);
      for (const user of ['0', '1000', '4242:7']) {
        const { out } = arena.call('exec', '--user', user, 'c', ...status);
        if (out !== expected) return `exec as ${user}: ${out}`;
      }
      return undefined;
    },
  },
  {
    name: 'a cgroup tree that a container can write (CVE-2023-25809, CVE-2022-0492)',
    attempt(arena) {
      const write =
        'for f in $(find /sys/fs/cgroup -type f); do (cat $f > $f) 2>/dev/null && echo $f; done; mkdir /sys/fs/cgroup/*/x 2>/dev/null && echo made';
      for (const own of [false, true]) {
        const { out } = arena.run(['sh', '-c', write], (spec) => own && namespaces(spec).push({ type: 'cgroup' }));
        if (out !== '') return `with ${own ? 'its own' : 'the host’s'} cgroup namespace: ${out.split('\n')[0]}`;
      }
      return undefined;
    },
  },
  {
    name: 'code of the kernel that a container has no business with (CVE-2022-0492, CVE-2022-0847 and others)',
    attempt(arena) {
      arena.addIntruder();
      const kernel: [number, number] = [6, 0];
      const target = { capabilities: dockerCapabilities, architecture: process.arch === 'arm64' ? 'arm64' : 'amd64', kernel };
      const { out } = arena.run(['/intruder', 'calls'], (spec) => (object(spec['linux'])['seccomp'] = defaultSeccompProfile(target)));
      const got = new Map(
        out
          .trim()
          .split('\n')
          .map((line) => [line.slice(0, line.indexOf(' ')), line.slice(line.indexOf(' ') + 1)]),
      );
      // EPERM and EACCES; "not there" for clone3, so that the C library goes on with clone, which can be filtered.
      const refused = (name: string): boolean => (name === 'clone3' ? got.get(name) === '38' : ['1', '13'].includes(got.get(name) ?? ''));
      const wrong =
        'socket-alg socket-vsock io_uring_setup userfaultfd keyctl add_key bpf unshare-user clone-user clone3 mount open_by_handle_at'
          .split(' ')
          .filter((name) => !refused(name));
      if (wrong.length > 0) return wrong.map((name) => `${name}: ${got.get(name)}`).join(', ');
      // What programs need goes on working; a kernel without 32-bit programs kills the process or knows no such call.
      if (got.get('socket-inet') !== '0') return `the attack itself did not work: socket-inet: ${got.get('socket-inet')}`;
      const small = got.get('socket-inet-32') ?? '0';
      return ['0', '38', 'signal 11'].includes(small) ? undefined : `a 32-bit program has no sockets: ${small}`;
    },
  },
  {
    name: 'numbers and texts that are longer than what takes them (CVE-2021-43784)',
    attempt(arena) {
      for (const big of [2 ** 32, 2 ** 32 + 1000, 2 ** 53 - 2 ** 32, -1, 0.5]) {
        for (const field of ['uid', 'gid', 'umask']) {
          const { code, out } = arena.run(['id', '-u'], (spec) => (object(object(spec['process'])['user'])[field] = big));
          if (code === 0) return `${field} ${big} was taken, for user ${out.trim()}`;
        }
        const map = [{ containerID: 0, hostID: big, size: 1 }];
        const mapped = arena.run(['id', '-u'], (spec) => {
          namespaces(spec).push({ type: 'user' });
          object(spec['linux'])['uidMappings'] = map;
          object(spec['linux'])['gidMappings'] = map;
        });
        if (mapped.code === 0) return `a mapping to ${big} was taken`;
      }
      // More than 16 bits of length, which a message of netlink has for each attribute.
      const long = 'x'.repeat(70_000);
      const whole = arena.run(['sh', '-c', 'echo ${#LONG} ${#1}', 'sh', long], (spec) =>
        list(object(spec['process'])['env']).push(`LONG=${long}` as never),
      );
      if (whole.out !== '70000 70000\n') return `texts of 70000 bytes arrived as ${whole.out}${whole.err.slice(0, 200)}`;
      const fields: Record<string, (spec: Json) => unknown> = {
        cwd: (spec) => (object(spec['process'])['cwd'] = `/${long}`),
        hostname: (spec) => (spec['hostname'] = long),
        cgroupsPath: (spec) => (object(spec['linux'])['cgroupsPath'] = `/${long}`),
        'a mount’s data': (spec) =>
          mounts(spec).push({ destination: '/tmp', type: 'tmpfs', source: 'tmpfs', options: [`mode=755,${long}`] }),
        'a mount’s destination': (spec) => mounts(spec).push({ destination: `/${long}`, type: 'tmpfs', source: 'tmpfs', options: [] }),
        'a path to mask': (spec) => list(object(spec['linux'])['maskedPaths']).push(`/${long}` as never),
      };
      for (const [field, change] of Object.entries(fields)) {
        const { code, err } = arena.run(['true'], change);
        if (code !== 1 || err === '') return `${field} of 70000 bytes: exit code ${code}`;
      }
      return undefined;
    },
  },
  {
    name: 'devices beyond the list, also after exec and update',
    attempt(arena) {
      // 1:1 is the machine's memory, 10:200 a tunnel, 7:0 a loop; making them is allowed, opening is not.
      const open =
        'mknod /m c 1 1; mknod /t c 10 200; mknod /l b 7 0; for d in m t l; do (: </$d) 2>/dev/null && echo opened $d; done; (: </dev/null) || echo none; rm -f /m /t /l';
      const first = arena.run(['sh', '-c', open]);
      if (first.out !== '') return first.out;
      arena.start(['sleep', '100']);
      const exec = arena.call('exec', 'c', 'sh', '-c', open).out;
      arena.call('update', '--pids-limit', '100', 'c');
      const updated = arena.call('exec', 'c', 'sh', '-c', open).out;
      return exec + updated === '' ? undefined : exec + updated;
    },
  },
  {
    name: 'sysctls of the host, by any spelling (CVE-2022-0811)',
    attempt(arena) {
      const current = readFileSync('/proc/sys/kernel/panic', 'utf8').trim();
      const names = [
        'kernel.panic',
        'kernel/panic',
        'net/../kernel/panic',
        'net.ipv4/../../kernel/panic',
        'kernel..panic',
        '.kernel.panic',
        'net...kernel.panic',
      ];
      names.push(
        'vm.swappiness',
        'fs.file-max',
        'kernel.core_pattern',
        'kernel.hostname',
        'dev.tty.legacy_tiocsti',
        '',
        '/',
        '..',
        'net',
        'net.',
      );
      for (const separator of ['+', '=', '\n', ' ', '\t', '%2e', '\\'])
        names.push(`net.ipv4.ip_forward${separator}kernel.panic`, `kernel${separator}panic`);
      for (const name of names) {
        const { code } = arena.run(['true'], (spec) => (object(spec['linux'])['sysctl'] = { [name]: current }));
        if (code === 0) return `accepted: ${JSON.stringify(name)}`;
      }
      const { code } = arena.run(['true'], (spec) => {
        object(spec['linux'])['namespaces'] = namespaces(spec).filter(({ type }) => type !== 'network');
        object(spec['linux'])['sysctl'] = { 'net.ipv4.ip_default_ttl': readFileSync('/proc/sys/net/ipv4/ip_default_ttl', 'utf8').trim() };
      });
      return code === 0 ? 'set in the network namespace of the host' : undefined;
    },
  },
];
