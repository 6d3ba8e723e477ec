import { existsSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { kernelState, leftBehind, type Footprint, type KernelState } from '../e2e/audit.js';
import { image, startDockerd, startPodman, type OtherEngine } from './other-engines.js';

const hasProgram = (name: string): boolean => ['/usr/bin', '/usr/sbin', '/usr/local/bin'].some((dir) => existsSync(`${dir}/${name}`));

const root = process.getuid?.() === 0 ? undefined : 'needs root';
const missing = (...programs: string[]): string | undefined =>
  root ??
  (existsSync('/bin/busybox') ? undefined : 'needs /bin/busybox') ??
  programs.filter((name) => !hasProgram(name)).map((name) => `needs ${name}`)[0];

/** Blocks: what is waited for happens in other processes. */
const pause = (milliseconds: number): void => void Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);

const init = new URL('../../native/build/bin/gantry-init', import.meta.url).pathname;

/** What every engine does with its runtime, seen from its client. */
function drivesTheRuntime(name: string, reason: string | undefined, start: () => Promise<OtherEngine>): void {
  if (reason) {
    console.log(`skipped: ${name} with gantry-runtime ${reason}`);
    describe.skip(`${name} with gantry-runtime (skipped: ${reason})`, () => it('runs', () => {}));
    return;
  }
  describe(`${name} with gantry-runtime`, () => {
    let engine: OtherEngine;
    let footprint: Footprint;
    let before: KernelState;
    beforeAll(async () => {
      engine = await start();
      footprint = { folder: engine.folder, instance: 'no-engine-of-ours', cgroupParent: engine.cgroupParent };
      before = kernelState(footprint);
    });
    afterAll(async () => {
      await engine?.close();
    });

    const run = (flags: readonly string[], ...command: readonly string[]) =>
      engine.cli('run', '--rm', ...engine.runFlags, ...flags, image, ...command);
    /** The body with a container that sleeps. */
    const inContainer = (flags: readonly string[], body: (id: string) => void, command: readonly string[] = ['sleep', '1000']): void => {
      const started = engine.cli('run', '-d', ...engine.runFlags, ...flags, image, ...command);
      expect(started, started.stderr).toMatchObject({ status: 0 });
      try {
        body(started.stdout);
      } finally {
        engine.remove(started.stdout);
      }
    };
    const until = (condition: () => boolean): void => {
      for (const end = Date.now() + 60_000; !condition();) {
        if (Date.now() > end) throw new Error('it does not come about');
        pause(50);
      }
    };

    it('runs a program and hands on what it says and how it ends', () => {
      expect(run([], 'echo', 'hello')).toMatchObject({ status: 0, stdout: 'hello' });
      expect(run([], 'sh', '-c', 'echo no >&2; exit 7')).toMatchObject({ status: 7, stderr: 'no' });
    });

    it('is told by name which program there is not', () => {
      const outcome = run([], 'no-such-program');
      expect(outcome.status).toBe(127);
      expect(outcome.stderr).toContain('exec: "no-such-program": executable file not found in $PATH');
    });

    it('takes users, working directories, environments, read-only roots and no capabilities', () => {
      const flags = ['--read-only', '--tmpfs', '/scratch', '--cap-drop', 'ALL', '-u', '1000:1000', '-w', '/tmp', '-e', 'A=b'];
      const { stdout } = run(
        flags,
        'sh',
        '-c',
        'id -u; id -g; pwd; echo $A; grep CapEff /proc/self/status; touch /x; mount | grep " /scratch "',
      );
      expect(stdout).toMatch(/^1000\n1000\n\/tmp\nb\nCapEff:\t0{16}\n.*tmpfs/);
    });

    it('takes limits, sysctls, devices and no-new-privileges', () => {
      const flags = ['--ulimit', 'core=51200:51200', '--sysctl', 'kernel.msgmax=1000', '--device', '/dev/null:/dev/other'];
      flags.push('--security-opt', 'no-new-privileges', '--pids-limit', '20', '--cpus', '0.5');
      const words = 'ulimit -c; cat /proc/sys/kernel/msgmax; stat -c %t:%T /dev/other; grep NoNewPrivs /proc/self/status';
      const { stdout, stderr } = run(flags, 'sh', '-c', words);
      expect(stdout, stderr).toMatch(/^100\n1000\n1:3\nNoNewPrivs:\t1$/);
    });

    it('gives a terminal to run and to exec', () => {
      // podman loses the last words of a program that ends at once, with any runtime.
      const program = ['sh', '-c', 'tty; sleep 0.5'];
      const tty = engine.onTerminal('run', '--rm', '-it', ...engine.runFlags, image, ...program);
      expect(tty.stdout).toContain('/dev/pts/0');
      inContainer([], (id) => expect(engine.onTerminal('exec', '-it', id, ...program).stdout).toMatch(/\/dev\/pts\/\d/));
    });

    it('executes in a container as another user, elsewhere, and tells what it cannot', () => {
      inContainer([], (id) => {
        const { stdout } = engine.cli('exec', '-u', '1:2', '-w', '/tmp', '-e', 'A=b', id, 'sh', '-c', 'id -u; id -g; pwd; echo $A');
        expect(stdout).toBe('1\n2\n/tmp\nb');
        expect(engine.cli('exec', id, 'sh', '-c', 'exit 9').status).toBe(9);
        const none = engine.cli('exec', id, 'no-such-program');
        expect(none.stdout + none.stderr).toContain('executable file not found in $PATH');
      });
    });

    it('stops with a signal that the program handles, and kills one that does not', () => {
      const handler = 'trap "exit 5" TERM; while :; do sleep 0.05; done';
      inContainer(
        [],
        (id) => {
          expect(engine.cli('stop', '-t', '20', id).status).toBe(0);
          expect(engine.cli('inspect', '-f', '{{.State.ExitCode}}', id).stdout).toBe('5');
        },
        ['sh', '-c', handler],
      );
      inContainer([], (id) => {
        expect(engine.cli('stop', '-t', '0', id).status).toBe(0);
        expect(engine.cli('inspect', '-f', '{{.State.ExitCode}}', id).stdout).toBe('137');
      });
    });

    it('sends signals by name', () => {
      const handler = 'trap "exit 6" USR1; while :; do sleep 0.05; done';
      inContainer(
        [],
        (id) => {
          expect(engine.cli('kill', '-s', 'USR1', id).status).toBe(0);
          expect(engine.cli('wait', id).stdout).toBe('6');
        },
        ['sh', '-c', handler],
      );
    });

    it('starts again what has stopped', () => {
      inContainer([], (id) => {
        expect(engine.cli('restart', '-t', '0', id).status).toBe(0);
        expect(engine.cli('exec', id, 'echo', 'again').stdout).toBe('again');
      });
    });

    it('pauses and resumes', () => {
      inContainer([], (id) => {
        expect(engine.cli('pause', id).status).toBe(0);
        expect(engine.cli('inspect', '-f', '{{.State.Status}}', id).stdout).toBe('paused');
        expect(engine.cli('exec', id, 'true').status).not.toBe(0);
        expect(engine.cli('unpause', id).status).toBe(0);
        expect(engine.cli('exec', id, 'true').status).toBe(0);
      });
    });

    it('counts what a container uses and lists its processes', () => {
      inContainer([], (id) => {
        const stats = engine.cli('stats', '--no-stream', '--format', '{{.PIDs}} {{.MemUsage}}', id);
        expect(stats.stdout).toMatch(/^1 \d.*B \/ /);
        expect(engine.cli('top', id).stdout).toContain('sleep 1000');
      });
    });

    it('ends who takes more memory than allowed, and only that', () => {
      const limits = ['-m', '16m', '--memory-swap', '16m'];
      expect(run(limits, 'sh', '-c', 'head -c 64m /dev/zero | tail').status).toBe(137);
      inContainer(limits, (id) => {
        engine.cli('exec', id, 'sh', '-c', 'head -c 64m /dev/zero | tail');
        // More than once, since dockerd was seen to lose the output of a program that ends at once.
        until(() => engine.cli('exec', id, 'echo', 'alive').stdout === 'alive');
      });
    });

    it('changes the limits of a running container', () => {
      inContainer([], (id) => {
        const changed = engine.cli('update', '--cpus', '0.5', id);
        expect(changed.status, changed.stderr).toBe(0);
        const quota = 'cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us 2>/dev/null || cut -d" " -f1 /sys/fs/cgroup/cpu.max';
        expect(engine.cli('exec', id, 'sh', '-c', quota).stdout).toBe('50000');
      });
    });

    it('shares the process and IPC namespaces of another container', () => {
      inContainer(['--ipc', 'shareable'], (id) => {
        const { stdout, stderr } = run(['--pid', `container:${id}`, '--ipc', `container:${id}`], 'ps');
        expect(stdout, stderr).toContain('sleep 1000');
      });
    });

    it('reaps orphans with a program of the engine’s first', () => {
      const flags = name === 'podman' ? ['--init', '--init-path', init] : ['--init'];
      const { stdout, stderr } = run(flags, 'sh', '-c', '(sleep 0.1 &); cat /proc/1/comm; sleep 0.5; ps');
      expect(stdout, stderr).not.toMatch(/^sh\n/);
      expect(stdout).not.toMatch(/\[sleep\]|Z /);
    });

    it('answers health checks', () => {
      const flags = ['--health-cmd', 'test -f /well', '--health-interval', name === 'podman' ? 'disable' : '0.2s', '--health-retries', '1'];
      inContainer(
        flags,
        (id) => {
          const path = '{{.State.Health.Status}}';
          if (name === 'podman') expect(engine.cli('healthcheck', 'run', id).status).toBe(0);
          else until(() => engine.cli('inspect', '-f', path, id).stdout === 'healthy');
          engine.cli('exec', id, 'rm', '/well');
          if (name === 'podman') expect(engine.cli('healthcheck', 'run', id).status).toBe(1);
          else until(() => engine.cli('inspect', '-f', path, id).stdout === 'unhealthy');
        },
        ['sh', '-c', 'touch /well; sleep 1000'],
      );
    });

    if (name === 'podman') {
      it('maps the users of one container', () => {
        const map = ['--uidmap', '0:200000:65536', '--gidmap', '0:200000:65536'];
        const { stdout, stderr } = run(map, 'sh', '-c', 'cat /proc/self/uid_map; touch /own; stat -c %u /own');
        expect(stdout, stderr).toMatch(/^0\s+200000\s+65536\n0$/);
      });
    }

    it('leaves nothing in the kernel', () => {
      const gone = () => Object.keys(leftBehind(before, kernelState(footprint))).length === 0;
      for (const end = Date.now() + 60_000; !gone() && Date.now() < end;) pause(50);
      expect(leftBehind(before, kernelState(footprint))).toEqual({});
    });
  });
}

drivesTheRuntime('dockerd', missing('dockerd', 'docker', 'script'), () => startDockerd());
drivesTheRuntime('podman', missing('podman', 'conmon', 'script'), startPodman);

const reason = missing('dockerd', 'docker');
if (reason) {
  describe.skip(`dockerd that maps users (skipped: ${reason})`, () => it('runs', () => {}));
} else {
  describe('dockerd that maps users, with gantry-runtime', () => {
    let engine: OtherEngine;
    beforeAll(async () => {
      engine = await startDockerd({ userns: true });
    });
    afterAll(async () => {
      await engine?.close();
    });

    it('runs and executes as root of a mapped user namespace', () => {
      const { stdout, stderr } = engine.cli('run', '--rm', image, 'sh', '-c', 'cat /proc/self/uid_map; id -u; touch /own; stat -c %u /own');
      expect(stdout, stderr).toMatch(/^0\s+200000\s+65536\n0\n0$/);
      const { stdout: id } = engine.cli('run', '-d', image, 'sleep', '1000');
      const exec = engine.cli('exec', id, 'sh', '-c', 'id -u; cat /proc/self/uid_map');
      expect(exec.stdout, exec.stderr).toMatch(/^0\n\s+0\s+200000\s+65536$/);
      expect(engine.cli('rm', '-f', id).status).toBe(0);
    });
  });
}
