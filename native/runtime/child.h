#pragma once

#include <functional>
#include <stdexcept>
#include <string>
#include <utility>

#include "gantry/fd.h"
#include "plan.h"

namespace gantry::runtime {

/// A cloned process, ours to reap. Killed and reaped when it is let go of without release().
class Child {
 public:
  Child() = default;
  Child(pid_t pid, UniqueFd pidfd) : pid_(pid), pidfd_(std::move(pidfd)) {}
  Child(Child&& other) noexcept : pid_(std::exchange(other.pid_, 0)), pidfd_(std::move(other.pidfd_)) {}
  Child& operator=(Child&& other) noexcept {
    end();
    pid_ = std::exchange(other.pid_, 0);
    pidfd_ = std::move(other.pidfd_);
    return *this;
  }
  ~Child() { end(); }

  pid_t pid() const { return pid_; }
  int pidfd() const { return pidfd_.get(); }
  /// It goes on without us.
  void release() { pid_ = 0; }
  /// Waits for its end: 0 to 255, 128 + n for death by signal n.
  int wait();

 private:
  void end() noexcept;
  pid_t pid_ = 0;
  UniqueFd pidfd_;
};

/// Why a process did not come to life, in its own words.
class StartError : public std::runtime_error {
 public:
  explicit StartError(const std::string& why) : std::runtime_error("unable to start container process: " + why) {}
};

/// A process that only waits until it is let go of, in new namespaces `flags`. It ends with us.
Child spawn_idle(int flags);

/// Clones a process into new namespaces `flags` and, when valid, the v2 cgroup; it runs `body`, which does not return.
/// The pid namespace that the plan joins is the process's own, unless it hands over to another.
Child spawn(Plan& plan, int flags, int cgroup, void (*body)(Plan&));

/// The same within the user namespace that plan.join begins with, which then owns the new namespaces.
Child spawn_in_user_namespace(Plan& plan, int flags, int cgroup, void (*body)(Plan&));

/// Writes uid_map and gid_map of a process in a new user namespace.
void write_id_maps(const ProcHandle& proc, pid_t pid, const Spec& spec);

/// What the runtime does when the process on its way asks for it.
struct Answers {
  /// It has come to where prestart and createRuntime hooks run.
  std::function<void()> hooks;
  /// Its root is mounted in a namespace that was there before it.
  std::function<void()> root_made;
  /// It has loaded a filter and this is the descriptor to answer by.
  std::function<void(UniqueFd)> listener;
};

/// Answers what the process asks until it is ready. Throws what the process says, or that it died. False when it ended
/// having handed over to another, which has not said so yet.
bool await_ready(const Sync& sync, Child& child, const Plan& plan, const Answers& answers);

}  // namespace gantry::runtime
