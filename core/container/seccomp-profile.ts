import { invalid } from '../contracts/errors.js';
import type { OciSeccomp, OciSeccompArg, OciSyscallRule } from './oci-spec.js';

const ALLOW = 'SCMP_ACT_ALLOW';
const ERRNO = 'SCMP_ACT_ERRNO';
const EPERM = 1;
const ENOSYS = 38;
const AF_ALG = 38;
const AF_VSOCK = 40;
/** CLONE_NEW{NS,CGROUP,UTS,IPC,USER,PID,NET}: the flags of clone(2) that make namespaces. */
const NAMESPACE_FLAGS = 0x7e020000;

/** What every container may call. */
const ALWAYS =
  `accept accept4 access adjtimex alarm bind brk cachestat capget capset chdir chmod chown chown32 clock_adjtime clock_adjtime64
  clock_getres clock_getres_time64 clock_gettime clock_gettime64 clock_nanosleep clock_nanosleep_time64 close close_range connect
  copy_file_range creat dup dup2 dup3 epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait
  epoll_wait_old eventfd eventfd2 execve execveat exit exit_group faccessat faccessat2 fadvise64 fadvise64_64 fallocate
  fanotify_mark fchdir fchmod fchmodat fchmodat2 fchown fchown32 fchownat fcntl fcntl64 fdatasync fgetxattr flistxattr flock fork
  fremovexattr fsetxattr fstat fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 futex futex_requeue futex_time64
  futex_wait futex_waitv futex_wake futimesat getcpu getcwd getdents getdents64 getegid getegid32 geteuid geteuid32 getgid getgid32
  getgroups getgroups32 getitimer getpeername getpgid getpgrp getpid getppid getpriority getrandom getresgid getresgid32 getresuid
  getresuid32 getrlimit get_robust_list getrusage getsid getsockname getsockopt get_thread_area gettid gettimeofday getuid getuid32
  getxattr getxattrat inotify_add_watch inotify_init inotify_init1 inotify_rm_watch io_cancel ioctl io_destroy io_getevents
  io_pgetevents io_pgetevents_time64 ioprio_get ioprio_set io_setup io_submit ipc kill landlock_add_rule landlock_create_ruleset
  landlock_restrict_self lchown lchown32 lgetxattr link linkat listen listmount listxattr listxattrat llistxattr _llseek lremovexattr
  lseek lsetxattr lstat lstat64 madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mkdir mkdirat mknod mknodat
  mlock mlock2 mlockall mmap mmap2 mprotect mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend
  mq_timedsend_time64 mq_unlink mremap mseal msgctl msgget msgrcv msgsnd msync munlock munlockall munmap name_to_handle_at nanosleep
  newfstatat _newselect open openat openat2 pause pidfd_open pidfd_send_signal pipe pipe2 pkey_alloc pkey_free pkey_mprotect poll
  ppoll ppoll_time64 prctl pread64 preadv preadv2 prlimit64 process_mrelease pselect6 pselect6_time64 pwrite64 pwritev pwritev2 read
  readahead readlink readlinkat readv recv recvfrom recvmmsg recvmmsg_time64 recvmsg remap_file_pages removexattr removexattrat
  rename renameat renameat2 restart_syscall riscv_hwprobe rmdir rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo
  rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo sched_getaffinity sched_getattr
  sched_getparam sched_get_priority_max sched_get_priority_min sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64
  sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield seccomp select semctl semget semop semtimedop
  semtimedop_time64 send sendfile sendfile64 sendmmsg sendmsg sendto setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32
  setgroups setgroups32 setitimer setpgid setpriority setregid setregid32 setresgid setresgid32 setresuid setresuid32 setreuid
  setreuid32 setrlimit set_robust_list setsid setsockopt set_thread_area set_tid_address setuid setuid32 setxattr setxattrat shmat
  shmctl shmdt shmget shutdown sigaltstack signalfd signalfd4 sigprocmask sigreturn socketcall socketpair splice stat stat64 statfs
  statfs64 statmount statx symlink symlinkat sync sync_file_range syncfs sysinfo tee tgkill time timer_create timer_delete
  timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64
  timerfd_settime timerfd_settime64 times tkill truncate truncate64 ugetrlimit umask uname unlink unlinkat uretprobe utime utimensat
  utimensat_time64 utimes vfork vmsplice wait4 waitid waitpid write writev`.split(/\s+/);

/** What a capability of the final set adds. Without the capability the kernel mostly refuses these anyway; the filter keeps its code out of reach. */
const BY_CAPABILITY: Readonly<Record<string, string>> = {
  CAP_DAC_READ_SEARCH: 'open_by_handle_at',
  CAP_SYS_ADMIN:
    'bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr lsm_list_modules lsm_set_self_attr mount mount_setattr move_mount open_tree open_tree_attr perf_event_open quotactl quotactl_fd setdomainname sethostname setns syslog umount umount2 unshare',
  CAP_SYS_BOOT: 'reboot',
  CAP_SYS_CHROOT: 'chroot',
  CAP_SYS_MODULE: 'delete_module finit_module init_module',
  CAP_SYS_PACCT: 'acct',
  CAP_SYS_PTRACE: 'kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace',
  CAP_SYS_RAWIO: 'iopl ioperm',
  CAP_SYS_TIME: 'settimeofday stime clock_settime clock_settime64',
  CAP_SYS_TTY_CONFIG: 'vhangup',
  CAP_SYS_NICE: 'get_mempolicy mbind set_mempolicy set_mempolicy_home_node',
  CAP_SYSLOG: 'syslog',
  CAP_BPF: 'bpf',
  CAP_PERFMON: 'perf_event_open',
};

/** Execution domains that programs use: Linux, UNAME26, and the query; each with and without the 32-bit flag. */
const PERSONALITIES = [0x0, 0x8, 0x20000, 0x20008, 0xffffffff];

interface Architecture {
  readonly names: readonly string[];
  readonly extra: string;
}

const ARCHITECTURES: Readonly<Record<string, Architecture>> = {
  amd64: { names: ['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86', 'SCMP_ARCH_X32'], extra: 'arch_prctl modify_ldt' },
  '386': { names: ['SCMP_ARCH_X86'], extra: 'modify_ldt' },
  arm64: {
    names: ['SCMP_ARCH_AARCH64', 'SCMP_ARCH_ARM'],
    extra: 'arm_fadvise64_64 arm_sync_file_range sync_file_range2 breakpoint cacheflush set_tls',
  },
  arm: {
    names: ['SCMP_ARCH_ARM'],
    extra: 'arm_fadvise64_64 arm_sync_file_range sync_file_range2 breakpoint cacheflush set_tls',
  },
  s390x: { names: ['SCMP_ARCH_S390X', 'SCMP_ARCH_S390'], extra: 's390_pci_mmio_read s390_pci_mmio_write s390_runtime_instr' },
  ppc64le: { names: ['SCMP_ARCH_PPC64LE'], extra: 'sync_file_range2 swapcontext' },
  riscv64: { names: ['SCMP_ARCH_RISCV64'], extra: 'riscv_flush_icache' },
  loong64: { names: ['SCMP_ARCH_LOONGARCH64'], extra: '' },
};

export interface SeccompTarget {
  /** The final set of the container, after additions and drops. */
  readonly capabilities: readonly string[];
  readonly architecture: string;
  readonly kernel: readonly [number, number];
}

const atLeast = ([major, minor]: readonly [number, number], wantMajor: number, wantMinor: number): boolean =>
  major > wantMajor || (major === wantMajor && minor >= wantMinor);

const arg = (index: number, op: OciSeccompArg['op'], value: number, valueTwo = 0): OciSeccompArg => ({ index, value, valueTwo, op });

/**
 * The filter of a container that asks for none of its own: everything is refused with EPERM but what is listed. Resolved here for
 * one set of capabilities, one processor and one kernel, so that the runtime sees plain rules.
 */
export function defaultSeccompProfile(target: SeccompTarget): OciSeccomp {
  const capabilities = new Set(target.capabilities);
  const architecture = ARCHITECTURES[target.architecture];
  const syscalls: OciSyscallRule[] = [{ names: ALWAYS, action: ALLOW }];
  // Tracing one's own children is safe since 4.8, where a tracer can no longer step around the filter.
  if (atLeast(target.kernel, 4, 8)) syscalls.push({ names: ['process_vm_readv', 'process_vm_writev', 'ptrace'], action: ALLOW });
  // A socket to the hypervisor reaches over the container's network namespace, and one to the kernel's cryptography reaches code
  // that containers were broken out of by. Three rules: a filter has one condition for each argument.
  const between = [arg(0, 'SCMP_CMP_LT', AF_ALG), arg(0, 'SCMP_CMP_EQ', AF_ALG + 1), arg(0, 'SCMP_CMP_GT', AF_VSOCK)];
  for (const family of between) syscalls.push({ names: ['socket'], action: ALLOW, args: [family] });
  for (const value of PERSONALITIES) syscalls.push({ names: ['personality'], action: ALLOW, args: [arg(0, 'SCMP_CMP_EQ', value)] });
  const extra = architecture?.extra ?? '';
  if (extra !== '') syscalls.push({ names: extra.split(' '), action: ALLOW });
  for (const [capability, names] of Object.entries(BY_CAPABILITY)) {
    if (capabilities.has(capability)) syscalls.push({ names: names.split(' '), action: ALLOW });
  }
  if (!capabilities.has('CAP_SYS_ADMIN')) {
    // On s390x the flags are the second argument.
    const flags = target.architecture === 's390x' ? 1 : 0;
    syscalls.push({ names: ['clone'], action: ALLOW, args: [arg(flags, 'SCMP_CMP_MASKED_EQ', NAMESPACE_FLAGS, 0)] });
    // Its flags are behind a pointer where no filter can look. "Not there" makes the C library fall back to clone; EPERM would not.
    syscalls.push({ names: ['clone3'], action: ERRNO, errnoRet: ENOSYS });
  }
  return { defaultAction: ERRNO, defaultErrnoRet: EPERM, architectures: architecture?.names ?? [], syscalls };
}

type Json = Readonly<Record<string, unknown>>;

const ACTIONS = /^SCMP_ACT_(?:KILL|KILL_PROCESS|KILL_THREAD|TRAP|ERRNO|TRACE|ALLOW|LOG|NOTIFY)$/;
const OPERATORS = /^SCMP_CMP_(?:NE|LT|LE|EQ|GE|GT|MASKED_EQ)$/;

/**
 * A user's profile in Docker's form (`archMap`, `includes`, `excludes`, `name` or `names`) or the OCI's, resolved for `target`.
 * `invalid-parameter` names what is wrong with it.
 */
export function parseSeccompProfile(text: string, target: SeccompTarget): OciSeccomp {
  const fail = (why: string): never => {
    throw invalid(`Decoding seccomp profile failed: ${why}`);
  };
  let profile: Json;
  try {
    profile = JSON.parse(text) as Json;
  } catch (error) {
    throw invalid(`Decoding seccomp profile failed: ${error instanceof Error ? error.message : ''}`, error);
  }
  if (typeof profile !== 'object' || profile === null || Array.isArray(profile)) return fail('not an object');
  const action = (value: unknown): string => {
    if (typeof value !== 'string' || !ACTIONS.test(value)) return fail(`unknown action ${JSON.stringify(value)}`);
    return value;
  };
  const list = (value: unknown, what: string): unknown[] => {
    if (value === undefined || value === null) return [];
    return Array.isArray(value) ? value : fail(`${what} is not a list`);
  };
  const strings = (value: unknown, what: string): string[] =>
    list(value, what).map((entry) => (typeof entry === 'string' ? entry : fail(`${what} holds what is not a string`)));
  const number = (value: unknown, what: string): number =>
    typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : fail(`${what} is not a number`);

  let architectures = strings(profile['architectures'], 'architectures');
  const maps = list(profile['archMap'] ?? profile['archmap'], 'archMap') as Json[];
  if (maps.length > 0) {
    if (architectures.length > 0)
      fail("'architectures' and 'archMap' were specified in the seccomp profile, use either 'architectures' or 'archMap'");
    const own = ARCHITECTURES[target.architecture]?.names[0];
    const map = maps.find((entry) => entry['architecture'] === own);
    if (map) architectures = [String(map['architecture']), ...strings(map['subArchitectures'], 'subArchitectures')];
  }
  const syscalls: OciSyscallRule[] = [];
  for (const entry of list(profile['syscalls'], 'syscalls') as Json[]) {
    if (typeof entry !== 'object' || entry === null) fail('a system call rule is not an object');
    if (!applies(entry, target, strings)) continue;
    const names = strings(entry['names'], 'names');
    if (typeof entry['name'] === 'string' && entry['name'] !== '') {
      if (names.length > 0) fail("'name' and 'names' were specified in the seccomp profile, use either 'name' or 'names'");
      names.push(entry['name']);
    }
    if (names.length === 0) continue;
    const args = (list(entry['args'], 'args') as Json[]).map((value): OciSeccompArg => {
      const op = value['op'];
      if (typeof op !== 'string' || !OPERATORS.test(op)) return fail(`unknown operator ${JSON.stringify(op)}`);
      return {
        index: number(value['index'], 'index'),
        value: number(value['value'], 'value'),
        valueTwo: number(value['valueTwo'] ?? 0, 'valueTwo'),
        op: op as OciSeccompArg['op'],
      };
    });
    syscalls.push({
      names,
      action: action(entry['action']),
      ...(entry['errnoRet'] === undefined || entry['errnoRet'] === null ? {} : { errnoRet: number(entry['errnoRet'], 'errnoRet') }),
      ...(args.length > 0 ? { args } : {}),
    });
  }
  const flags = strings(profile['flags'], 'flags');
  return {
    defaultAction: action(profile['defaultAction']),
    ...(profile['defaultErrnoRet'] === undefined ? {} : { defaultErrnoRet: number(profile['defaultErrnoRet'], 'defaultErrnoRet') }),
    architectures,
    ...(flags.length > 0 ? { flags } : {}),
    syscalls,
  };
}

/** Docker's conditions of one rule. */
function applies(rule: Json, target: SeccompTarget, strings: (value: unknown, what: string) => string[]): boolean {
  const includes = (rule['includes'] ?? {}) as Json;
  const excludes = (rule['excludes'] ?? {}) as Json;
  const kernelReached = (value: unknown): boolean => {
    const version = /^(\d+)\.(\d+)/.exec(String(value));
    return version !== null && atLeast(target.kernel, Number(version[1]), Number(version[2]));
  };
  const words = (part: Json, key: string): string[] => strings(part[key], key);
  if (words(excludes, 'arches').includes(target.architecture)) return false;
  if (words(excludes, 'caps').some((name) => target.capabilities.includes(name))) return false;
  if (typeof excludes['minKernel'] === 'string' && excludes['minKernel'] !== '' && kernelReached(excludes['minKernel'])) return false;
  const arches = words(includes, 'arches');
  if (arches.length > 0 && !arches.includes(target.architecture)) return false;
  if (words(includes, 'caps').some((name) => !target.capabilities.includes(name))) return false;
  if (typeof includes['minKernel'] === 'string' && includes['minKernel'] !== '' && !kernelReached(includes['minKernel'])) return false;
  return true;
}
