#pragma once

#include <exception>
#include <string>

#include "errno_text.h"
#include "plan.h"

namespace gantry::runtime {

/// Stages that every process on its way into a container goes through, be it the first or a further one.

/// In a user namespace of its own nobody is but its ancestors, who must be able to write its maps; until then the files
/// of a process that is not dumpable are closed to those of them that are not root.
enum class Dumpable { kNever, kUntilMapped };

void forbid_tracing();

/// Before anything of the container can see this process: no ptrace, no /proc/PID/fd for its root user.
void become_unreadable(Plan& plan, Dumpable dumpable);

void join_cgroups(Plan& plan);

/// After the runtime wrote the maps: root of the new user namespace, where it has one.
void become_mapped_root();

/// A session of its own: the terminal of whoever called the runtime is out of reach.
void leave_session();

void default_signals();

/// Everything from the user on; leaves this process one step before exec, or, with plan.handover, with no descriptor
/// but those that the program gets and plan.sync. Returns the program's path.
std::string take_identity(Plan& plan);

/// The program's exec. Tells the runtime, or standard error when that has gone, why there is none.
[[noreturn]] void execute(const Plan& plan, const std::string& program, std::vector<char*>& argv,
                          std::vector<char*>& env);

/// Runs `body`, which does not return, and tells the runtime what it throws.
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

}  // namespace gantry::runtime
