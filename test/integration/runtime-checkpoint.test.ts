import { spawnSync } from 'node:child_process';
import { chmodSync, closeSync, existsSync, mkdirSync, openSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import {
  cgroupV2,
  describeOci,
  gantryRuntime,
  linux,
  list,
  object,
  processOf,
  until,
  withUserNamespace,
  type Change,
  type OciTrial,
  type Result,
} from './oci-trial.js';

// Each of criu's runs asks the kernel for all that it can do, which takes its time on a busy machine.
vi.setConfig({ testTimeout: 180_000 * Number(process.env['GANTRY_SLOW'] ?? 1) });

/** Another criu than that of PATH: the one of a distribution is often older than the kernel that it has to know. */
const criu = process.env['GANTRY_CRIU'] ?? 'criu';

function criuMissing(): string | undefined {
  const check = spawnSync(criu, ['check'], { encoding: 'utf8' });
  if (check.error) return 'needs criu';
  // Where a kernel is newer than criu expects, it fails before anything is asked of it.
  return check.status === 0 ? undefined : `criu does not work with this kernel: ${check.stderr.split('\n')[0] ?? ''}`;
}

const missing = criuMissing();
if (missing) console.log(`skipped: checkpoints of the runtime: ${missing}`);

describeOci('checkpoints', (trial) => {
  const images = (oci: OciTrial, name = 'images'): string => join(oci.folder, name);
  const call = (oci: OciTrial, ...args: string[]): Result => oci.call('--criu', criu, ...args);
  const counting = ['sh', '-c', 'i=0; while true; do i=$((i+1)); echo $i > /tmp/new; mv /tmp/new /tmp/count; sleep 0.02; done'];
  const count = (oci: OciTrial): number => {
    const file = join(oci.rootfs, 'tmp/count');
    return existsSync(file) ? Number(readFileSync(file, 'utf8')) : 0;
  };
  const counted = (oci: OciTrial, least: number): void => until(() => count(oci) > least, `a count above ${least}`);
  /** A container that counts, with what a test changes of it. */
  const begin = (oci: OciTrial, change?: Change): void => {
    rmSync(join(oci.rootfs, 'tmp/count'), { force: true });
    chmodSync(join(oci.rootfs, 'tmp'), 0o1777);
    rmSync(images(oci), { recursive: true, force: true });
    oci.start(counting, change);
    counted(oci, 5);
  };
  const dump = (oci: OciTrial, ...flags: string[]): void =>
    expect(call(oci, 'checkpoint', '--image-path', images(oci), ...flags, 'c')).toEqual({ code: 0, out: '', err: '' });
  /** No pipe of ours goes into a container that outlives the call. */
  const restore = (oci: OciTrial, ...flags: string[]): void => {
    const log = join(oci.folder, 'restore.log');
    rmSync(log, { force: true });
    const where = ['--image-path', images(oci), '--bundle', oci.bundle];
    const { code } = oci.spawn(['--criu', criu, '--log', log, 'restore', ...where, '--detach', ...flags, 'c'], { stdio: 'ignore' });
    expect({ code, log: existsSync(log) ? readFileSync(log, 'utf8') : '' }).toEqual({ code: 0, log: '' });
  };
  /** Dumps and restores a container that counts, and sees that it goes on from where it stood. */
  const goesOn = (oci: OciTrial, change?: Change): void => {
    begin(oci, change);
    dump(oci);
    expect(oci.left()).toEqual([]);
    const stood = count(oci);
    restore(oci);
    counted(oci, stood + 5);
  };

  interface Pipes {
    /** Starts the runtime with pipe number `index` on each side, as a shim has them, and none of the test's own. */
    piped(index: number, ...words: string[]): void;
    say(index: number, text: string): void;
    output(index: number): string;
    exit(index: number): string;
  }
  const withPipes = (oci: OciTrial, use: (pipes: Pipes) => void): void => {
    rmSync(images(oci), { recursive: true, force: true });
    const file = (index: number, name: string): string => join(oci.folder, `${name}${index}`);
    const read = (path: string): string => (existsSync(path) ? readFileSync(path, 'utf8') : '');
    const inputs = [0, 1].map((index) => {
      for (const name of ['input', 'output', 'exit']) rmSync(file(index, name), { force: true });
      expect(spawnSync('mkfifo', [file(index, 'input')]).status).toBe(0);
      // Open for both, so that nobody waits for the other side and nothing ends early.
      return openSync(file(index, 'input'), 'r+');
    });
    try {
      use({
        piped: (index, ...words) => {
          const script = 'cat "$IN" | { "$@"; echo $? > "$EXIT"; } | cat > "$OUT" &';
          const env = { ...process.env, IN: file(index, 'input'), OUT: file(index, 'output'), EXIT: file(index, 'exit') };
          const args = ['-c', script, 'sh', gantryRuntime, '--root', oci.state, '--criu', criu, ...words];
          expect(spawnSync('sh', args, { stdio: 'ignore', env }).status).toBe(0);
        },
        say: (index, text) => writeFileSync(inputs[index] ?? -1, text),
        output: (index) => read(file(index, 'output')),
        exit: (index) => read(file(index, 'exit')),
      });
    } finally {
      inputs.forEach((fd) => closeSync(fd));
    }
  };

  describe.skipIf(missing !== undefined)('with criu', () => {
    it('are taken of a container that ends with it, and goes on when it is restored', () => {
      const oci = trial();
      begin(oci);
      dump(oci);
      expect(oci.left()).toEqual([]);
      expect(oci.call('state', 'c').err).toContain('container does not exist');
      const stood = count(oci);
      const pidFile = join(oci.folder, 'restored.pid');
      restore(oci, '--pid-file', pidFile);
      counted(oci, stood + 5);
      expect(oci.document()).toMatchObject({ status: 'running', pid: Number(readFileSync(pidFile, 'utf8')) });
      expect(oci.call('exec', 'c', 'cat', '/proc/1/comm')).toEqual({ code: 0, out: 'sh\n', err: '' });
      expect(oci.call('exec', 'c', 'ip', 'link', 'show', 'lo').out).toMatch(/[<,]UP[,>]/);
      expect(oci.call('kill', 'c', 'KILL').code).toBe(0);
      until(() => oci.document()['status'] === 'stopped');
    });

    it('are taken again of what was restored', () => {
      const oci = trial();
      goesOn(oci);
      dump(oci);
      const stood = count(oci);
      restore(oci);
      counted(oci, stood + 5);
    });

    it('leave a container running when they are told to, and frozen when it was', () => {
      const oci = trial();
      begin(oci);
      dump(oci, '--leave-running');
      expect(oci.document()['status']).toBe('running');
      counted(oci, count(oci) + 5);
      expect(oci.call('pause', 'c').code).toBe(0);
      rmSync(images(oci), { recursive: true });
      dump(oci, '--leave-running');
      expect(oci.document()['status']).toBe('paused');
      expect(oci.call('resume', 'c').code).toBe(0);
      counted(oci, count(oci) + 5);
    });

    it('hold only memory that has changed since a first one', () => {
      const oci = trial();
      begin(oci);
      const first = call(oci, 'checkpoint', '--image-path', images(oci, 'first'), '--pre-dump', 'c');
      if (first.err.includes('does not tell criu')) return void console.log(`skipped: a dump before the dump: ${first.err}`);
      expect(first).toEqual({ code: 0, out: '', err: '' });
      expect(oci.document()['status']).toBe('running');
      dump(oci, '--parent-path', '../first');
      const stood = count(oci);
      restore(oci);
      counted(oci, stood + 5);
    });

    it('limit a restored container as the first one', () => {
      const oci = trial();
      goesOn(oci, (spec) => {
        object(object(linux(spec)['resources'])['pids'])['limit'] = 7;
        object(object(linux(spec)['resources'])['memory'])['limit'] = 64 << 20;
      });
      expect(oci.control('pids', 'pids.max')).toBe('7');
      expect(oci.control('memory', cgroupV2 ? 'memory.max' : 'memory.limit_in_bytes')).toBe(String(64 << 20));
      expect(oci.call('exec', 'c', 'sh', '-c', 'mknod /tmp/tun c 10 200; (exec 3< /tmp/tun) 2>&1').out).toMatch(/not permitted/);
    });

    it('put mounts of the host back, also those behind a link and within each other', () => {
      const oci = trial();
      const data = join(oci.folder, 'data');
      mkdirSync(data, { recursive: true });
      writeFileSync(join(data, 'file'), 'of the host');
      mkdirSync(join(oci.rootfs, 'place'), { recursive: true });
      spawnSync('ln', ['-sfn', '/place', join(oci.rootfs, 'link')]);
      goesOn(oci, (spec) => {
        list(spec['mounts']).push({ destination: '/link/data', type: 'bind', source: data, options: ['rbind', 'ro'] });
        list(spec['mounts']).push({ destination: '/link/data/file', type: 'bind', source: '/etc/hostname', options: ['bind'] });
      });
      expect(oci.call('exec', 'c', 'cat', '/place/data/file').out).toBe(readFileSync('/etc/hostname', 'utf8'));
      expect(oci.call('exec', 'c', 'touch', '/place/data/new').err).toMatch(/Read-only file system/);
    });

    it('put a container back into a network that others made', () => {
      const oci = trial();
      const name = `gantry-rtvm-${process.pid}`;
      expect(spawnSync('ip', ['netns', 'add', name]).status).toBe(0);
      try {
        const inside: Change = (spec) => {
          for (const ns of list(linux(spec)['namespaces'])) if (ns['type'] === 'network') ns['path'] = `/run/netns/${name}`;
        };
        goesOn(oci, inside);
        const own = readlinkSync(`/proc/${String(oci.document()['pid'])}/ns/net`);
        expect(own).toBe(spawnSync('ip', ['netns', 'exec', name, 'readlink', '/proc/self/ns/net'], { encoding: 'utf8' }).stdout.trim());
        oci.clear();
      } finally {
        spawnSync('ip', ['netns', 'delete', name]);
      }
    });

    // On v2 the cgroup file system there is the host's, bound, which criu does not take from a host that shares its mounts.
    it.runIf(!cgroupV2)('keep the ids of a user namespace', () => {
      const oci = trial();
      spawnSync('chmod', ['755', oci.folder, oci.bundle]);
      goesOn(oci, withUserNamespace);
      expect(oci.call('exec', 'c', 'cat', '/proc/self/uid_map').out.trim().split(/ +/)).toEqual(['0', '100000', '65536']);
    });

    it('join standard streams to those of the restore', () =>
      withPipes(trial(), ({ piped, say, output, exit }) => {
        const oci = trial();
        oci.write(['sh', '-c', 'read a; echo got $a; read b; echo got $b; read c; echo end $c; exit 7']);
        piped(0, 'run', '--bundle', oci.bundle, 'c');
        say(0, 'one\n');
        until(() => output(0) === 'got one\n', 'the first answer');
        dump(oci);
        piped(1, 'restore', '--image-path', images(oci), '--bundle', oci.bundle, 'c');
        say(1, 'two\n');
        until(() => output(1) === 'got two\n', 'the second answer');
        say(1, 'three\n');
        until(() => output(1) === 'got two\nend three\n', 'the last answer');
        until(() => exit(1) === '7\n', 'the exit code');
        expect(output(0)).toBe('got one\n');
        until(() => oci.left().length === 0, 'that nothing is left');
      }));

    it('give a terminal to whoever restores', () =>
      withPipes(trial(), ({ piped, say, output, exit }) => {
        const oci = trial();
        const script = 'stty -echo; echo ready; read a; echo got $a; read b; echo got $b; tty; exit 5';
        oci.write(['sh', '-c', script], (spec) => (processOf(spec)['terminal'] = true));
        piped(0, 'run', '--bundle', oci.bundle, 'c');
        until(() => output(0) === 'ready\r\n', 'the start');
        say(0, 'one\n');
        until(() => output(0) === 'ready\r\ngot one\r\n', 'the first answer');
        dump(oci);
        const detached = call(oci, 'restore', '--image-path', images(oci), '--bundle', oci.bundle, '--detach', 'c');
        expect(detached.err).toContain('cannot allocate tty');
        piped(1, 'restore', '--image-path', images(oci), '--bundle', oci.bundle, 'c');
        say(1, 'two\n');
        until(() => output(1) === 'got two\r\n/dev/pts/0\r\n', 'the second answer');
        until(() => exit(1) === '5\n', 'the exit code');
      }));
  });

  describe('are refused', () => {
    /** A criu that reads one request and gives an answer of its own. */
    const pretended = (oci: OciTrial, answer: string): string => {
      const file = join(oci.folder, 'criu');
      writeFileSync(
        file,
        `#!/usr/bin/perl\nopen(my $socket, "+<&=", $ARGV[1]); sysread($socket, my $request, 65536); syswrite($socket, "${answer}");\n`,
      );
      chmodSync(file, 0o755);
      return file;
    };
    const refusal = (oci: OciTrial, program: string, ...words: string[]): string => {
      const { code, out, err } = oci.call('--criu', program, ...words);
      expect({ code, out, lines: err.split('\n').length }).toEqual({ code: 1, out: '', lines: 2 });
      return err.trim();
    };

    it('without criu, with one that is too old, and with one that says nothing', () => {
      const oci = trial();
      oci.start(['sleep', '100']);
      const take = ['checkpoint', '--image-path', images(oci), 'c'];
      expect(refusal(oci, 'gantry-no-such-criu', ...take)).toBe('criu is needed and not installed: no program gantry-no-such-criu');
      const old = pretended(oci, '\\x08\\x0a\\x10\\x01\\x52\\x04\\x08\\x03\\x10\\x0b');
      expect(refusal(oci, old, ...take)).toBe('criu 3.11 is too old: 3.14 or later is needed');
      expect(refusal(oci, pretended(oci, ''), ...take)).toBe('criu ended without an answer');
      expect(refusal(oci, pretended(oci, '\\xff'), ...take)).toBe('not a protocol buffer message');
      expect(oci.document()['status']).toBe('running');
    });

    it('of what does not run, or is not there', () => {
      const oci = trial();
      const take = ['checkpoint', '--image-path', images(oci), 'c'];
      expect(refusal(oci, criu, ...take)).toBe('container does not exist');
      oci.create(['sleep', '100']);
      expect(refusal(oci, criu, ...take)).toBe('container cannot be checkpointed in created state');
      oci.call('delete', '--force', 'c');
      const put = ['restore', '--bundle', oci.bundle, '--image-path', join(oci.folder, 'nowhere'), 'c'];
      expect(refusal(oci, criu, ...put)).toMatch(/^gantry-runtime restore failed: open .*nowhere: no such file or directory$/);
      mkdirSync(images(oci), { recursive: true });
      rmSync(join(images(oci), 'descriptors.json'), { force: true });
      expect(refusal(oci, criu, 'restore', '--bundle', oci.bundle, '--image-path', images(oci), 'c')).toMatch(
        /descriptors.json: no such file or directory$/,
      );
    });

    it.each([
      ['--lazy-pages', [], /^--lazy-pages is not supported/],
      ['--empty-ns', ['ipc'], /^invalid empty-ns "ipc"/],
      ['--manage-cgroups-mode', ['some'], /^invalid manage-cgroups-mode "some"/],
      ['--page-server', ['nowhere'], /^invalid page-server "nowhere": ADDRESS:PORT/],
      ['--parent-path', ['/images'], /^--parent-path must be relative/],
    ])('with %s %j', (flag, value, message) => {
      const oci = trial();
      oci.start(['sleep', '100']);
      const capable = pretended(oci, '\\x08\\x0a\\x10\\x01\\x42\\x02\\x08\\x01\\x52\\x04\\x08\\x04\\x10\\x02');
      expect(refusal(oci, capable, 'checkpoint', '--image-path', images(oci), flag, ...value, 'c')).toMatch(message);
    });

    it.each(['mount', 'user', 'cgroup', 'time'])('into a %s namespace that others made', (kind) => {
      const oci = trial();
      const path = `/proc/self/ns/${kind === 'mount' ? 'mnt' : kind}`;
      oci.write(['true'], (spec) => {
        const others = list(linux(spec)['namespaces']).filter(({ type }) => type !== kind);
        linux(spec)['namespaces'] = [...others, { type: kind, path }];
      });
      expect(refusal(oci, criu, 'restore', '--bundle', oci.bundle, '--image-path', images(oci), 'c')).toBe(
        `gantry-runtime restore failed: criu cannot put a container into a given ${kind} namespace: ${path}`,
      );
    });

    it("when the images are not criu's, and nothing is left", () => {
      const oci = trial();
      oci.write(['sleep', '100']);
      mkdirSync(images(oci), { recursive: true });
      writeFileSync(join(images(oci), 'descriptors.json'), '["","",""]');
      const failing = pretended(oci, '\\x08\\x02\\x10\\x00');
      const err = refusal(oci, failing, 'restore', '--bundle', oci.bundle, '--image-path', images(oci), '--detach', 'c');
      expect(err).toMatch(/^gantry-runtime restore failed: criu failed/);
      expect(oci.left()).toEqual([]);
    });
  });
});
