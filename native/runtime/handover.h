#pragma once

#include <sys/resource.h>

#include <optional>
#include <string>

#include "child.h"
#include "plan.h"

namespace gantry::runtime {

/// How a further process comes into a container so that nobody there ever sees anything of the host's in it.
///
/// Whoever has CAP_SYS_PTRACE in a container without a user namespace of its own may read and control every process
/// that has a number in its pid namespace, dumpable or not. So the one that opens, joins and prepares has none there:
/// it only sets the namespace for its children. When nothing is left of the host's, neither descriptor nor capability
/// nor a lack of filters, it clones the process that will execute the program. That one's parent is the runtime, its
/// memory has what exec needs and nothing else, and what it says to the runtime is not believed without a check.
class Handover {
 public:
  /// Memory that is allocated from now on does not reach the last process.
  Handover();
  ~Handover();
  Handover(const Handover&) = delete;
  Handover& operator=(const Handover&) = delete;

  /// The one in between: it counts as a process of the user's, so a limit on those is wider by one until the last
  /// process sets it.
  void allow_one_more(Plan& plan);
  /// The one in between, once it has become what the program will be: clones the last process, and ends.
  [[noreturn]] void clone_last(const Plan& plan, const std::string& program);

  /// The runtime, told that the last process is ready: the process, checked to be our child. Reaps the one in between.
  Child last(Child& between) const;
  /// The runtime, giving up: kills the last process if there is one.
  void end_last(const Child& between) const noexcept;

 private:
  /// The kernel writes the process's number there before that runs: it is known even if the one in between ends then.
  pid_t* number_;
  char* heap_ = nullptr;
  std::optional<struct rlimit> processes_;
};

/// Whether the exec of `plan` needs one in between, and its filter allows the last process's calls. A filter that does
/// not is the one case that is left in which the process can be seen before it is ready.
bool can_hand_over(const Plan& plan);

}  // namespace gantry::runtime
