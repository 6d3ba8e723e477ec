import { spawnSync } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { type Json, dockerCapabilities, seccompProfile } from '../conformance/runtime-bundle.js';
import { object, pause, slow, until } from './arena.js';
import { type Attack } from './attack.js';

/** Attacks on processes on their way into a container, and on what they bring from the host. */
export const attacksOnProcesses: readonly Attack[] = [
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
];
