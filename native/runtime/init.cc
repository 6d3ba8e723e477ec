#include "init.h"

#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>

#include "console.h"
#include "credentials.h"
#include "errno_text.h"
#include "gantry/error.h"
#include "hooks.h"
#include "mount_fd.h"
#include "naive.h"
#include "namespaces.h"
#include "program.h"
#include "rootfs.h"
#include "state.h"
#include "sysctl.h"

namespace gantry::runtime {
namespace {

// CLOSE_RANGE_CLOEXEC; its header clashes with glibc 2.36.
constexpr unsigned kCloseRangeCloexec = 4;

/// In a user namespace of its own nobody is but its ancestors, who must be able to write its maps; until then the files
/// of a process that is not dumpable are closed to those of them that are not root.
enum class Dumpable { kNever, kUntilMapped };

void forbid_tracing() {
  if constexpr (!kNaive) ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

/// Before anything of the container can see this process: no ptrace, no /proc/PID/fd for its root user.
void become_unreadable(Plan& plan, Dumpable dumpable) {
  for (int fd : plan.not_for_init) ::close(fd);
  if (dumpable == Dumpable::kNever) forbid_tracing();
  ::prctl(PR_SET_NAME, kInitName, 0, 0, 0);
}

void join_cgroups(Plan& plan) {
  for (std::size_t i = 0; i < plan.cgroup_tasks.size(); ++i) {
    if (::write(plan.cgroup_tasks[i].get(), "0", 1) != 1) throw_errno("join cgroup", plan.cgroups[i].path);
  }
  plan.cgroup_tasks.clear();
}

/// After the runtime wrote the maps: root of the new user namespace, where it has one.
void become_mapped_root() {
  if (::syscall(SYS_setresgid, 0, 0, 0) != 0 && errno != EINVAL) throw_errno("become root of the user namespace");
  if (::syscall(SYS_setresuid, 0, 0, 0) != 0 && errno != EINVAL) throw_errno("become root of the user namespace");
}

void bring_up_loopback() {
  UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  struct ifreq request = {};
  std::strcpy(request.ifr_name, "lo");
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  if (!socket || ::ioctl(socket.get(), SIOCSIFFLAGS, &request) != 0) throw_errno("bring up the loopback interface");
}

void set_host_name(const Spec& spec) {
  if (!spec.hostname.empty() && ::sethostname(spec.hostname.data(), spec.hostname.size()) != 0) {
    throw_errno("set hostname", spec.hostname);
  }
  if (!spec.domainname.empty() && ::setdomainname(spec.domainname.data(), spec.domainname.size()) != 0) {
    throw_errno("set domainname", spec.domainname);
  }
}

/// The procfs through which the fifo will be opened: one of this container's pid namespace, so that the host's is not
/// in our descriptor table while we wait where a container may look.
ProcHandle own_proc(const Plan& plan) {
  MountOptions options;
  try {
    return ProcHandle(new_mount("proc", "proc", options, "/proc"));
  } catch (const SysError&) {
    // A user namespace may mount procfs only where nothing of an existing one is hidden.
    UniqueFd copy(::fcntl(plan.proc.get(), F_DUPFD_CLOEXEC, 3));
    return ProcHandle(std::move(copy));
  }
}

/// Mounts, devices, hooks and the change of root; returns the procfs that is used afterwards.
ProcHandle furnish(Plan& plan, Rootfs& rootfs) {
  rootfs.mount_all(plan);
  plan.host_mounts.clear();
  rootfs.make_devices(plan);
  if (!plan.spec.hooks.prestart.empty() || !plan.spec.hooks.create_runtime.empty()) {
    plan.sync.ask(SyncType::kRuntimeHooks);
  }
  // Those hooks run in the container, so the process has the number that it has there.
  if (auto at = plan.hook_state.find("\"pid\":0"); at != std::string::npos) {
    plan.hook_state.replace(at, 7, "\"pid\":" + std::to_string(::getpid()));
  }
  run_hooks(plan.spec.hooks.create_container, "createContainer", plan.hook_state);
  set_host_name(plan.spec);
  write_sysctls(plan);
  rootfs.mask_and_protect(plan);
  if (plan.process.terminal) set_up_console(rootfs.fd(), plan, true);
  ProcHandle proc = plan.fifo ? own_proc(plan) : ProcHandle(UniqueFd(::fcntl(plan.proc.get(), F_DUPFD_CLOEXEC, 3)));
  rootfs.pivot(plan);
  rootfs.finish(plan);
  return proc;
}

void close_on_exec(int preserve_fds) {
  if constexpr (kNaive) return;
  // Last thing before the program: whatever we were started with or forgot does not reach it.
  unsigned first = 3u + static_cast<unsigned>(preserve_fds);
  if (::syscall(SYS_close_range, first, ~0u, kCloseRangeCloexec) != 0) throw_errno("close_range");
}

void default_signals() {
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  // Handlers are reset by exec, but being ignored is inherited.
  for (int signal = 1; signal < NSIG; ++signal) {
    if (signal != SIGKILL && signal != SIGSTOP) ::signal(signal, SIG_DFL);
  }
}

void load_seccomp(const Plan& plan) {
  UniqueFd listener = apply_seccomp(plan.seccomp);
  if (!listener) return;
  plan.sync.ask(SyncType::kListener, std::to_string(listener.get()));
}

/// Everything from the user on; leaves this process one step before exec. Returns the program's path.
std::string take_identity(Plan& plan) {
  Process& process = plan.process;
  set_up_keyring(plan);
  if (process.no_new_privileges && ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) throw_errno("set no_new_privs");
  if (plan.spec.personality && ::personality(*plan.spec.personality) < 0) throw_errno("set personality");
  set_scheduling(process);
  if (plan.spec.memory_policy) set_memory_policy(*plan.spec.memory_policy);
  set_rlimits(process.rlimits);
  set_exec_label(plan);
  if constexpr (kNaive) {
    for (char** own = environ; *own; ++own) process.env.emplace_back(*own);
  }
  set_home(process.env, process.uid);
  own_standard_streams(process.uid);
  close_on_exec(plan.preserve_fds);
  ::umask(process.umask.value_or(022));
  // Loading a filter takes CAP_SYS_ADMIN unless privileges cannot grow any more; then it can wait until the end and
  // lets through fewer of our own calls.
  if (!process.no_new_privileges) load_seccomp(plan);
  change_user(plan);
  std::string program = find_executable(process.args[0], process.env);
  if (process.no_new_privileges) load_seccomp(plan);
  return program;
}

[[noreturn]] void execute(const Plan& plan, const std::string& program, std::vector<char*>& argv,
                          std::vector<char*>& env) {
  ::execve(program.c_str(), argv.data(), env.data());
  int err = errno;
  std::string message = "exec " + program + ": " + errno_text(err);
  if (plan.sync.get() >= 0) {
    plan.sync.send(SyncType::kError, message);
  } else {
    // The caller of `start` has gone: the program's own error stream is the only place left.
    message += "\n";
    if (::write(2, message.data(), message.size()) < 0) ::_exit(255);
  }
  ::_exit(255);
}

void wait_for_start(Plan& plan, const ProcHandle& proc) {
  UniqueFd fifo = proc.reopen(plan.fifo.get(), O_WRONLY);
  if (::write(fifo.get(), "0", 1) != 1) throw_errno("write", "exec.fifo");
}

template <typename Body>
[[noreturn]] void guarded(Plan& plan, Body body) {
  try {
    body();
  } catch (const std::exception& e) {
    try {
      plan.sync.send(SyncType::kError, describe(e));
    } catch (const std::exception&) {
    }
  }
  ::_exit(1);
}

}  // namespace

void container_init(Plan& plan) {
  guarded(plan, [&] {
    become_unreadable(plan, plan.new_user_namespace ? Dumpable::kUntilMapped : Dumpable::kNever);
    join_cgroups(plan);
    join_namespaces(plan);
    if (plan.new_user_namespace) {
      plan.sync.ask(SyncType::kMapIds);
      become_mapped_root();
    }
    make_late_namespaces(plan);
    forbid_tracing();
    if (!kNaive && ::setsid() < 0) throw_errno("setsid");
    if (plan.new_network_namespace) bring_up_loopback();

    ::umask(0);
    Rootfs rootfs = Rootfs::prepare(plan);
    if (!plan.new_mount_namespace) plan.sync.send(SyncType::kRootMade);
    ProcHandle proc = furnish(plan, rootfs);

    std::string program = take_identity(plan);
    plan.proc.close();
    auto argv = pointers(plan.process.args), env = pointers(plan.process.env);
    plan.console_socket.reset();
    default_signals();
    plan.sync.send(SyncType::kReady);
    if (plan.wait_for_go) {
      if (plan.sync.receive().type != SyncType::kGo) ::_exit(1);
    }
    if (plan.fifo) {
      plan.sync.close();
      wait_for_start(plan, proc);
    }
    run_hooks(plan.spec.hooks.start_container, "startContainer", plan.hook_state);
    execute(plan, program, argv, env);
  });
}

void exec_init(Plan& plan) {
  guarded(plan, [&] {
    become_unreadable(plan, Dumpable::kNever);
    join_cgroups(plan);
    join_namespaces(plan);
    if (plan.new_user_namespace) {
      become_mapped_root();
      // The change of ids made us readable by them again.
      forbid_tracing();
    }
    if (!kNaive && ::setsid() < 0) throw_errno("setsid");
    if (plan.root && (::fchdir(plan.root.get()) != 0 || ::chroot(".") != 0)) throw_errno("chroot", plan.rootfs);
    UniqueFd root(::open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!root) throw_errno("open", "/");
    if (plan.process.terminal) set_up_console(root.get(), plan, false);
    // After the cgroup, whose cpuset may have taken it back.
    set_affinity(plan.process.affinity_final);
    std::string program = take_identity(plan);
    auto argv = pointers(plan.process.args), env = pointers(plan.process.env);
    default_signals();
    plan.sync.send(SyncType::kReady);
    execute(plan, program, argv, env);
  });
}

}  // namespace gantry::runtime
