import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import type { Json } from '../conformance/runtime-bundle.js';
import { all, describeOci, linux, object, processOf, until, type Change, type OciTrial } from './oci-trial.js';

const python = existsSync('/usr/bin/python3');
if (!python) console.log('skipped: who answers for system calls needs /usr/bin/python3');

/**
 * Takes descriptors at a socket and answers calls with EXDEV until its end. Writes each document that came to a file, one a
 * line. Numbers are those of linux/seccomp.h.
 */
const AGENT = `
import array, ctypes, fcntl, json, os, select, socket, struct, sys
server = socket.socket(socket.AF_UNIX); server.bind(sys.argv[1]); server.listen(8)
open(sys.argv[2] + '.ready', 'w').close()
fds = []
while True:
    for fd in select.select([server] + fds, [], [])[0]:
        if fd is server:
            peer, _ = server.accept()
            data, ancillary, _, _ = peer.recvmsg(65536, socket.CMSG_SPACE(64))
            for level, kind, content in ancillary:
                got = array.array('i'); got.frombytes(content[:len(content) // 4 * 4]); fds += list(got)
            with open(sys.argv[2], 'a') as out: out.write(json.dumps(json.loads(data)) + '\\n')
            continue
        request = bytearray(80)
        try:
            fcntl.ioctl(fd, 0xc0502100, request)
            id = struct.unpack_from('Q', request)[0]
            fcntl.ioctl(fd, 0xc0182101, bytearray(struct.pack('QqiI', id, 0, -18, 0)))
        except OSError:
            fds.remove(fd); os.close(fd)
`;

const withSeccomp =
  (profile: Json): Change =>
  (spec) =>
    (linux(spec)['seccomp'] = profile);
const allowBut = (...syscalls: Json[]): Json => ({ defaultAction: 'SCMP_ACT_ALLOW', syscalls });

describeOci('system call filters', (trial) => {
  const withAgent = (body: (oci: OciTrial, socket: string, documents: () => Json[]) => void): void => {
    const oci = trial();
    const [socket, script, out] = ['agent.sock', 'agent.py', 'agent.out'].map((name) => join(oci.folder, name)) as [string, string, string];
    for (const path of [socket, out, `${out}.ready`]) rmSync(path, { force: true });
    writeFileSync(script, AGENT);
    const agent: ChildProcess = spawn('/usr/bin/python3', [script, socket, out], { stdio: 'inherit' });
    try {
      until(() => existsSync(`${out}.ready`), 'the agent');
      body(oci, socket, () =>
        readFileSync(out, 'utf8')
          .trim()
          .split('\n')
          .map((line) => object(JSON.parse(line))),
      );
    } finally {
      agent.kill('SIGKILL');
    }
  };
  const notify = (socket: string, ...names: string[]): Change =>
    withSeccomp({
      ...allowBut({ names, action: 'SCMP_ACT_NOTIFY' }),
      listenerPath: socket,
      listenerMetadata: 'about this',
      flags: ['SECCOMP_FILTER_FLAG_LOG'],
    });

  it.each([
    ['SCMP_CMP_EQ', 0o755, 0, 'refused'],
    ['SCMP_CMP_NE', 0o755, 0, 'allowed'],
    ['SCMP_CMP_LT', 0o756, 0, 'refused'],
    ['SCMP_CMP_LE', 0o755, 0, 'refused'],
    ['SCMP_CMP_GE', 0o756, 0, 'allowed'],
    ['SCMP_CMP_GT', 0o754, 0, 'refused'],
    ['SCMP_CMP_MASKED_EQ', 0o700, 0o500, 'allowed'],
    ['SCMP_CMP_MASKED_EQ', 0o700, 0o700, 'refused'],
  ])('compares an argument by %s with %i, %i: %s', (op, value, valueTwo, expected) => {
    const rule = { names: ['chmod'], action: 'SCMP_ACT_ERRNO', errnoRet: 28, args: [{ index: 1, op, value, valueTwo }] };
    const { err, out } = trial().run('chmod 755 /tmp && echo allowed', withSeccomp(allowBut(rule)));
    if (expected === 'allowed') expect(out).toBe('allowed\n');
    else expect(err).toContain('No space left on device');
  });

  it.each([
    ['SCMP_ACT_KILL', 159],
    ['SCMP_ACT_KILL_THREAD', 159],
    ['SCMP_ACT_KILL_PROCESS', 159],
    ['SCMP_ACT_TRAP', 159],
    ['SCMP_ACT_LOG', 0],
    ['SCMP_ACT_TRACE', 1],
    ['SCMP_ACT_ERRNO', 1],
    ['SCMP_ACT_ALLOW', 0],
  ])('acts by %s', (action, code) => {
    const rule = { names: ['chmod'], action };
    expect(trial().run('chmod 755 /tmp; exit $?', withSeccomp(allowBut(rule))).code).toBe(code);
  });

  it('refuses what is not named with the default errno, and needs no calls of sockets itself', () => {
    const names =
      'read write close exit exit_group execve brk mmap munmap mprotect arch_prctl rt_sigaction rt_sigprocmask fcntl dup2 wait4 fork vfork clone getpid stat lstat newfstatat uname prctl set_tid_address set_robust_list rseq prlimit64 readlink getrandom getuid geteuid getgid getegid getcwd getppid rt_sigreturn setsid futex openat open access faccessat fstat ioctl'.split(
        ' ',
      );
    const profile = { defaultAction: 'SCMP_ACT_ERRNO', defaultErrnoRet: 95, syscalls: [{ names, action: 'SCMP_ACT_ALLOW' }] };
    const { err } = trial().run(
      'mkdir /tmp/x',
      all(withSeccomp(profile), (spec) => (processOf(spec)['noNewPrivileges'] = true)),
    );
    expect(err).toContain('Operation not supported');
  });

  it.each([
    ['an unknown action', { defaultAction: 'SCMP_ACT_NONE' }, /defaultAction: unknown action SCMP_ACT_NONE/],
    [
      'an unknown operator',
      allowBut({ names: ['chmod'], action: 'SCMP_ACT_ERRNO', args: [{ index: 0, op: 'SCMP_CMP_XX' }] }),
      /op: unknown operator SCMP_CMP_XX/,
    ],
    [
      'an argument that no call has',
      allowBut({ names: ['chmod'], action: 'SCMP_ACT_ERRNO', args: [{ index: 6, op: 'SCMP_CMP_EQ' }] }),
      /index: expected 0 to 5/,
    ],
    [
      'an unknown architecture',
      { defaultAction: 'SCMP_ACT_ALLOW', architectures: ['SCMP_ARCH_Z80'] },
      /architectures\[0\]: unknown architecture SCMP_ARCH_Z80/,
    ],
    ['an unknown flag', { defaultAction: 'SCMP_ACT_ALLOW', flags: ['SECCOMP_FILTER_FLAG_X'] }, /flags\[0\]: unknown flag/],
    ['a listener without a path', allowBut({ names: ['chmod'], action: 'SCMP_ACT_NOTIFY' }), /listenerPath: needed by SCMP_ACT_NOTIFY/],
    ['somebody else for every call', { defaultAction: 'SCMP_ACT_NOTIFY', listenerPath: '/x' }, /cannot be used as default action/],
    [
      'somebody else for write',
      { ...allowBut({ names: ['write'], action: 'SCMP_ACT_NOTIFY' }), listenerPath: '/x' },
      /cannot be used for the write syscall/,
    ],
    [
      'a listener that is not there',
      { ...allowBut({ names: ['chmod'], action: 'SCMP_ACT_NOTIFY' }), listenerPath: '/nosuch/socket' },
      /connect to seccomp listener \/nosuch\/socket: no such file/,
    ],
    ['metadata for nobody', { defaultAction: 'SCMP_ACT_ALLOW', listenerMetadata: 'x' }, /seccomp/],
  ])('reports %s', (_, profile, words) => {
    const { code, err } = trial().run('true', withSeccomp(profile));
    expect(code).toBe(1);
    expect(err).toMatch(words);
  });

  it.each(['SECCOMP_FILTER_FLAG_TSYNC', 'SECCOMP_FILTER_FLAG_LOG', 'SECCOMP_FILTER_FLAG_SPEC_ALLOW'])('takes %s', (flag) => {
    expect(trial().run('true', withSeccomp({ defaultAction: 'SCMP_ACT_ALLOW', flags: [flag] }))).toMatchObject({ code: 0, err: '' });
  });

  it.runIf(python)('lets somebody else answer for a call, of the first process and of an exec', () => {
    withAgent((oci, socket, documents) => {
      const pid = oci.start(['sh', '-c', 'chmod 755 /tmp 2> /tmp/said; sleep 100'], notify(socket, 'chmod', 'chown', 'recvfrom', 'sendto'));
      const said = join(oci.rootfs, 'tmp/said');
      until(() => existsSync(said) && readFileSync(said, 'utf8') !== '', 'the refusal');
      expect(readFileSync(said, 'utf8')).toContain('Invalid cross-device link');
      expect(documents()[0]).toMatchObject({
        ociVersion: '1.0.2',
        fds: ['seccompFd'],
        pid,
        metadata: 'about this',
        state: { id: 'c', status: 'creating', pid, bundle: oci.bundle },
      });
      expect(oci.call('exec', 'c', 'chmod', '755', '/tmp').err).toContain('Invalid cross-device link');
      expect(documents()[1]).toMatchObject({ state: { status: 'running', pid } });
      expect(documents()[1]?.['pid']).not.toBe(pid);
    });
  });

  it.runIf(python)('asks the agent for a process without new privileges too', () => {
    withAgent((oci, socket) => {
      const change = all(notify(socket, 'chmod'), (spec) => (processOf(spec)['noNewPrivileges'] = true));
      expect(oci.run('chmod 755 /tmp', change).err).toContain('Invalid cross-device link');
      expect(oci.run('ls /proc/self/fd', change).out.trim().split('\n').length).toBeLessThanOrEqual(4);
    });
  });

  it('keeps one filter whoever listens', () => {
    const oci = trial();
    const entries = () => spawnSync('ls', [join(oci.state, '.seccomp')], { encoding: 'utf8' }).stdout;
    const rule = allowBut({ names: ['acct'], action: 'SCMP_ACT_NOTIFY' });
    oci.run('true', withSeccomp({ ...rule, listenerPath: '/nosuch/a' }));
    const before = entries();
    oci.run('true', withSeccomp({ ...rule, listenerPath: '/nosuch/b', listenerMetadata: 'b' }));
    expect(entries()).toBe(before);
  });
});
