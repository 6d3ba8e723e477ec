#include "init_stages.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "credentials.h"
#include "gantry/error.h"
#include "naive.h"
#include "program.h"
#include "state.h"

namespace gantry::runtime {
namespace {

// CLOSE_RANGE_CLOEXEC; its header clashes with glibc 2.36.
constexpr unsigned kCloseRangeCloexec = 4;

void close_on_exec(int preserve_fds) {
  if constexpr (kNaive) return;
  // Last thing before the program: whatever we were started with or forgot does not reach it.
  unsigned first = 3u + static_cast<unsigned>(preserve_fds);
  if (::syscall(SYS_close_range, first, ~0u, kCloseRangeCloexec) != 0) throw_errno("close_range");
}

/// The same, but now: who sees this process's child is not to find them there until its exec.
void close_now(int preserve_fds, int sync) {
  int first = 3 + preserve_fds;
  // Among those that are promised to the program can be ours, when the caller did not open as many as it said.
  for (int fd = 3; fd < first; ++fd) {
    int flags = fd == sync ? -1 : ::fcntl(fd, F_GETFD);
    if (flags >= 0 && (flags & FD_CLOEXEC)) ::close(fd);
  }
  auto close_range = [](unsigned from, unsigned to) {
    if (from <= to && ::syscall(SYS_close_range, from, to, 0) != 0) throw_errno("close_range");
  };
  if (sync < first) return close_range(static_cast<unsigned>(first), ~0u);
  close_range(static_cast<unsigned>(first), static_cast<unsigned>(sync) - 1);
  close_range(static_cast<unsigned>(sync) + 1, ~0u);
}

void load_seccomp(const Plan& plan) {
  UniqueFd listener = apply_seccomp(plan.seccomp);
  if (!listener) return;
  plan.sync.ask(SyncType::kListener, std::to_string(listener.get()));
}

}  // namespace

void forbid_tracing() {
  if constexpr (!kNaive) ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

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

void become_mapped_root() {
  if (::syscall(SYS_setresgid, 0, 0, 0) != 0 && errno != EINVAL) throw_errno("become root of the user namespace");
  if (::syscall(SYS_setresuid, 0, 0, 0) != 0 && errno != EINVAL) throw_errno("become root of the user namespace");
}

void leave_session() {
  if (!kNaive && ::setsid() < 0) throw_errno("setsid");
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

std::string take_identity(Plan& plan) {
  Process& process = plan.process;
  set_up_keyring(plan);
  if (process.no_new_privileges && ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) throw_errno("set no_new_privs");
  if (plan.spec.personality && ::personality(*plan.spec.personality) < 0) throw_errno("set personality");
  set_io_priority(process);
  if (!plan.handover) set_scheduler(process, 0);
  if (plan.spec.memory_policy) set_memory_policy(*plan.spec.memory_policy);
  set_rlimits(process.rlimits);
  set_exec_label(plan);
  if constexpr (kNaive) {
    for (char** own = environ; *own; ++own) process.env.emplace_back(*own);
  }
  set_home(process.env, process.uid);
  own_standard_streams(process.uid);
  if (plan.handover) {
    close_now(plan.preserve_fds, plan.sync.get());
  } else {
    close_on_exec(plan.preserve_fds);
  }
  ::umask(process.umask.value_or(022));
  // Loading a filter takes CAP_SYS_ADMIN unless privileges cannot grow any more; then it can wait until the end and
  // lets through fewer of our own calls.
  if (!process.no_new_privileges) load_seccomp(plan);
  change_user(plan);
  std::string program = find_executable(process.args[0], process.env);
  if (process.no_new_privileges) load_seccomp(plan);
  return program;
}

void execute(const Plan& plan, const std::string& program, std::vector<char*>& argv, std::vector<char*>& env) {
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

}  // namespace gantry::runtime
