#include "child.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>

#include "gantry/error.h"
#include "program.h"

namespace gantry::runtime {
namespace {

struct Cloned {
  pid_t pid;
  int pidfd;
};

/// fork(2) with namespaces. The memory is copied, not shared: the process allocates freely, and a page table this small
/// costs less than the care that sharing would need.
Cloned clone_process(int flags, int cgroup, bool sibling) {
  int pidfd = -1;
  struct clone_args args = {};
  args.flags = static_cast<std::uint64_t>(static_cast<unsigned>(flags)) | CLONE_PIDFD;
  args.pidfd = reinterpret_cast<std::uintptr_t>(&pidfd);
  if (sibling) {
    args.flags |= CLONE_PARENT;
  } else {
    args.exit_signal = SIGCHLD;
  }
  if (cgroup >= 0) {
    args.flags |= CLONE_INTO_CGROUP;
    args.cgroup = static_cast<std::uint64_t>(cgroup);
  }
  long pid = ::syscall(SYS_clone3, &args, sizeof args);
  return {static_cast<pid_t>(pid), pidfd};
}

/// Takes effect for our children only, so no process has to be put in between for it.
bool join_pid_namespace(const Plan& plan) { return !plan.join_pid || ::setns(plan.join_pid.get(), CLONE_NEWPID) == 0; }

/// What an unprivileged user may map by itself.
bool maps_only(const std::vector<IdMapping>& mappings, std::uint32_t own) {
  return mappings.size() == 1 && mappings[0].host_id == own && mappings[0].size == 1;
}

/// newuidmap(1) and newgidmap(1) map the ranges that /etc/subuid and /etc/subgid give a user.
void run_mapper(const char* helper, pid_t pid, const std::vector<IdMapping>& mappings) {
  std::vector<std::string> words = {helper, std::to_string(pid)};
  for (const auto& m : mappings) {
    for (auto number : {m.container_id, m.host_id, m.size}) words.push_back(std::to_string(number));
  }
  auto argv = pointers(words);
  pid_t mapper = 0;
  int err = ::posix_spawnp(&mapper, helper, nullptr, nullptr, argv.data(), environ);
  if (err) throw SysError(err, "run", helper);
  int status = 0;
  while (::waitpid(mapper, &status, 0) < 0) {
    if (errno != EINTR) throw_errno("wait for", helper);
  }
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    throw InvalidInput(std::string(helper) + " did not map the ids of the user namespace");
  }
}

}  // namespace

int Child::wait() {
  if (pid_ == 0) return 0;
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0) {
    if (errno != EINTR) throw_errno("wait for process", std::to_string(pid_));
  }
  pid_ = 0;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void Child::end() noexcept {
  if (pid_ == 0) return;
  ::kill(pid_, SIGKILL);
  while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
  pid_ = 0;
}

Child spawn_idle(int flags) {
  pid_t parent = ::getpid();
  Cloned child = clone_process(flags, -1, false);
  if (child.pid < 0) throw_errno("clone a process that holds a place");
  if (child.pid == 0) {
    // It is in no cgroup of a container's, so nobody would find it if we were killed.
    ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    if (::getppid() != parent) ::_exit(1);
    for (;;) ::pause();
  }
  return Child(child.pid, UniqueFd(child.pidfd));
}

Child spawn(Plan& plan, int flags, int cgroup, void (*body)(Plan&)) {
  if (!plan.handover && !join_pid_namespace(plan)) throw_errno("join pid namespace");
  Cloned child = clone_process(flags, cgroup, false);
  if (child.pid < 0) throw_errno("clone the container's process");
  if (child.pid == 0) body(plan);
  return Child(child.pid, UniqueFd(child.pidfd));
}

Child spawn_in_user_namespace(Plan& plan, int flags, int cgroup, void (*body)(Plan&)) {
  // New namespaces belong to the user namespace of whoever makes them, so somebody must go there first. CLONE_PARENT
  // makes the container's process our child nevertheless.
  int report[2];
  if (::pipe2(report, O_CLOEXEC) != 0) throw_errno("pipe");
  UniqueFd read_end(report[0]), write_end(report[1]);
  pid_t between = ::fork();
  if (between < 0) throw_errno("fork");
  if (between == 0) {
    struct {
      pid_t pid;
      int err;
    } answer = {-1, 0};
    if (::setns(plan.join.front().second.get(), CLONE_NEWUSER) != 0 || !join_pid_namespace(plan)) {
      answer.err = errno;
    } else {
      plan.join.erase(plan.join.begin());
      Cloned child = clone_process(flags, cgroup, true);
      if (child.pid == 0) body(plan);
      answer = {child.pid, child.pid < 0 ? errno : 0};
    }
    ::_exit(::write(write_end.get(), &answer, sizeof answer) == sizeof answer ? 0 : 1);
  }
  write_end.reset();
  struct {
    pid_t pid;
    int err;
  } answer = {-1, ECHILD};
  ssize_t n = ::read(read_end.get(), &answer, sizeof answer);
  while (::waitpid(between, nullptr, 0) < 0 && errno == EINTR) {
  }
  if (n != sizeof answer || answer.pid < 0) {
    throw SysError(answer.err, "clone the container's process into the user namespace");
  }
  // Ours to reap, so its number is still its own.
  return Child(answer.pid, UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, answer.pid, 0))));
}

bool await_ready(const Sync& sync, Child& child, const Plan& plan, const Answers& answers) {
  for (;;) {
    SyncMessage message = plan.handover ? sync.receive_from(child.pidfd()) : sync.receive();
    switch (message.type) {
      case SyncType::kMapIds:
        if (!plan.new_user_namespace || plan.handover) throw StartError("unexpected message");
        write_id_maps(plan.proc, child.pid(), plan.spec);
        sync.send(SyncType::kGo);
        break;
      case SyncType::kRootMade:
        answers.root_made();
        break;
      case SyncType::kRuntimeHooks:
        answers.hooks();
        sync.send(SyncType::kGo);
        break;
      case SyncType::kListener: {
        if (!plan.seccomp.notifies()) throw StartError("a listener was offered that no filter has");
        int number = std::atoi(message.text.c_str());
        UniqueFd listener(static_cast<int>(::syscall(SYS_pidfd_getfd, child.pidfd(), number, 0)));
        if (!listener) throw_errno("fetch the seccomp listener of process", std::to_string(child.pid()));
        answers.listener(std::move(listener));
        sync.send(SyncType::kGo);
        break;
      }
      case SyncType::kReady:
        return true;
      case SyncType::kError:
      case SyncType::kFailed:
        throw StartError(message.error());
      default: {
        int status = child.wait();
        if (plan.handover && status == 0) return false;
        throw StartError("container init died with " + std::to_string(status) + " during its set-up");
      }
    }
  }
}

void write_id_maps(const ProcHandle& proc, pid_t pid, const Spec& spec) {
  std::string dir = std::to_string(pid);
  auto write = [&](const char* file, const char* helper, const std::vector<IdMapping>& mappings, std::uint32_t own) {
    if (::geteuid() != 0 && !maps_only(mappings, own)) return run_mapper(helper, pid, mappings);
    // The kernel wants a group to be given up for good before an unprivileged user maps one.
    if (::geteuid() != 0 && std::strcmp(file, "/gid_map") == 0) proc.write(dir + "/setgroups", "deny");
    std::string all;
    for (const auto& m : mappings) {
      all += std::to_string(m.container_id) + " " + std::to_string(m.host_id) + " " + std::to_string(m.size) + "\n";
    }
    proc.write(dir + file, all);
  };
  write("/gid_map", "newgidmap", spec.gid_mappings, ::getegid());
  write("/uid_map", "newuidmap", spec.uid_mappings, ::geteuid());
}

}  // namespace gantry::runtime
