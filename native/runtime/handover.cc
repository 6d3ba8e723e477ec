#include "handover.h"

#include <errno.h>
#include <malloc.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <new>

#include "gantry/error.h"
#include "log.h"
#include "naive.h"
#include "seccomp_verdict.h"

namespace gantry::runtime {
namespace {

constexpr int kCloneFlags = CLONE_PARENT | CLONE_PARENT_SETTID;

void* map(std::size_t size, int visibility) {
  void* memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, visibility | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw_errno("mmap");
  return memory;
}

/// What the last process has to know, in memory of its own, since the heap is empty there.
struct LastProcess {
  int sync;
  bool terminal;
  bool limits_processes;
  struct rlimit processes;
  const char* program;
  char** argv;
  char** env;
};

/// Copies strings and pointers to them into one block.
class Block {
 public:
  explicit Block(std::size_t size) : next_(static_cast<char*>(map(size, MAP_PRIVATE))) {}

  template <typename T>
  T* array(std::size_t count) {
    auto at = (reinterpret_cast<std::uintptr_t>(next_) + alignof(T) - 1) / alignof(T) * alignof(T);
    next_ = reinterpret_cast<char*>(at + count * sizeof(T));
    return reinterpret_cast<T*>(at);
  }
  char* string(const std::string& text) {
    char* copy = array<char>(text.size() + 1);
    std::memcpy(copy, text.c_str(), text.size() + 1);
    return copy;
  }
  char** strings(const std::vector<std::string>& all) {
    char** pointers = array<char*>(all.size() + 1);
    for (std::size_t i = 0; i < all.size(); ++i) pointers[i] = string(all[i]);
    pointers[all.size()] = nullptr;
    return pointers;
  }

  static std::size_t size_of(const std::vector<std::string>& all) {
    std::size_t size = sizeof(char*) * (all.size() + 2);
    for (const auto& text : all) size += text.size() + 1;
    return size;
  }

 private:
  char* next_;
};

/// What was on the heap and the stack stays out of the next clone: configurations went through there, with what hooks
/// are told, and at the stack's beginning are the runtime's own arguments and environment.
void keep_from_child(char* heap) {
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  auto wipe = [&](std::uintptr_t from, std::uintptr_t to) {
    from -= from % page;
    // What lies between mappings is told of, but all of them are done.
    if (::madvise(reinterpret_cast<void*>(from), to - from, MADV_WIPEONFORK) != 0 && errno != ENOMEM) {
      throw_errno("madvise");
    }
  };
  wipe(reinterpret_cast<std::uintptr_t>(heap), reinterpret_cast<std::uintptr_t>(::sbrk(0)));
  // Other mappings are farther from the stack than this (128 MiB), and it was never deeper. The kernel keeps the name
  // of the program above everything else on it.
  constexpr std::uintptr_t kDeepest = 16u << 20;
  char here = 0;
  wipe(reinterpret_cast<std::uintptr_t>(&here) - kDeepest, ::getauxval(AT_EXECFN) + 1);
}

[[noreturn]] void fail(const LastProcess& self, const char* step, const char* name) {
  // The heap is empty here: no call may allocate. The form is SyncType::kFailed's.
  char message[1024];
  int n = ::snprintf(message, sizeof message, "%c%d %s%s", static_cast<char>(SyncType::kFailed), errno, step, name);
  if (n > 0) {
    std::size_t length = std::min(static_cast<std::size_t>(n), sizeof message - 1);
    if (::write(self.sync, message, length) < 0) ::_exit(255);
  }
  ::_exit(255);
}

/// Whatever happens here, somebody in the container may see and change. It has nothing that such a one has not.
int run_last(void* argument) {
  const auto& self = *static_cast<const LastProcess*>(argument);
  if (::syscall(SYS_setsid) < 0) fail(self, "setsid", "");
  if (self.terminal && ::ioctl(0, TIOCSCTTY, 0) != 0) fail(self, "make the controlling terminal", "");
  if (self.limits_processes && ::syscall(SYS_prlimit64, 0, RLIMIT_NPROC, &self.processes, nullptr) != 0) {
    fail(self, "error setting rlimits for RLIMIT_NPROC", "");
  }
  char message = static_cast<char>(SyncType::kReady);
  if (::write(self.sync, &message, 1) != 1) ::_exit(1);
  if (::read(self.sync, &message, 1) != 1 || message != static_cast<char>(SyncType::kGo)) ::_exit(1);
  ::execve(self.program, self.argv, self.env);
  fail(self, "exec ", self.program);
}

}  // namespace

Handover::Handover() : number_(static_cast<pid_t*>(map(sizeof(pid_t), MAP_SHARED))) {
  // All of it in one place, which begins on a page of its own: the C library's thread storage lies before.
  ::mallopt(M_MMAP_MAX, 0);
  heap_ = static_cast<char*>(::aligned_alloc(static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)), 1));
  if (!heap_) throw SysError(ENOMEM, "allocate memory");
}

Handover::~Handover() { ::munmap(number_, sizeof(pid_t)); }

void Handover::allow_one_more(Plan& plan) {
  auto& limits = plan.process.rlimits;
  for (auto limit = limits.begin(); limit != limits.end(); ++limit) {
    if (limit->resource != RLIMIT_NPROC || limit->soft == RLIM_INFINITY) continue;
    if (!allows(plan.seccomp, SYS_prlimit64, {0, RLIMIT_NPROC})) return;
    struct rlimit more = {limit->soft + 1, limit->hard == RLIM_INFINITY ? limit->hard : limit->hard + 1};
    // Not for whom the limit binds already and who may not raise it.
    if (::setrlimit(RLIMIT_NPROC, &more) != 0) return;
    processes_ = {limit->soft, limit->hard};
    limits.erase(limit);
    return;
  }
}

void Handover::clone_last(const Plan& plan, const std::string& program) {
  const Process& process = plan.process;
  Block block(sizeof(LastProcess) + 64 + program.size() + Block::size_of(process.args) + Block::size_of(process.env));
  auto* self = new (block.array<LastProcess>(1)) LastProcess{};
  self->sync = plan.sync.get();
  self->terminal = process.terminal;
  self->limits_processes = processes_.has_value();
  if (processes_) self->processes = *processes_;
  self->program = block.string(program);
  self->argv = block.strings(process.args);
  self->env = block.strings(process.env);
  constexpr std::size_t kStack = 65536;
  char* stack = static_cast<char*>(map(kStack, MAP_PRIVATE));
  keep_from_child(heap_);
  // The parent is the runtime, and the kernel tells it the number.
  if (::clone(run_last, stack + kStack, kCloneFlags, self, number_) < 0) throw_errno("clone the container's process");
  ::_exit(0);
}

Child Handover::last(Child& between) const {
  pid_t number = *static_cast<volatile pid_t*>(number_);
  siginfo_t info = {};
  // Whoever controls that process can write any number there, or say that it is ready before it is.
  if (number <= 0 || number == between.pid() ||
      ::waitid(P_PID, static_cast<id_t>(number), &info, WEXITED | WNOHANG | WNOWAIT) != 0) {
    throw StartError("the process in the container is not the one that was made");
  }
  Child last(number, UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, number, 0))));
  if (last.pidfd() < 0) throw_errno("open process", std::to_string(number));
  between.wait();
  return last;
}

void Handover::end_last(const Child& between) const noexcept {
  pid_t number = *static_cast<volatile pid_t*>(number_);
  siginfo_t info = {};
  if (number <= 0 || number == between.pid()) return;
  if (::waitid(P_PID, static_cast<id_t>(number), &info, WEXITED | WNOHANG | WNOWAIT) != 0) return;
  // Ends and reaps it.
  Child(number, UniqueFd());
}

bool can_hand_over(const Plan& plan) {
  // Nobody in a user namespace has rights over a process that comes from outside of it until that executes something.
  if (kNaive || !plan.join_pid || plan.joins_user_namespace()) return false;
  bool allowed = allows(plan.seccomp, SYS_clone, {kCloneFlags}) && allows(plan.seccomp, SYS_setsid, {}) &&
                 allows(plan.seccomp, SYS_read, {0, 0, 1}) && allows(plan.seccomp, SYS_write, {0, 0, 1}) &&
                 (!plan.process.terminal || allows(plan.seccomp, SYS_ioctl, {0, TIOCSCTTY, 0}));
  if (!allowed) log_debug("the seccomp filter does not let a process be made where the container cannot see it");
  return allowed;
}

}  // namespace gantry::runtime
