#pragma once

#include <sched.h>

#include <optional>
#include <string>
#include <vector>

#include "capability.h"
#include "cgroup.h"
#include "gantry/fd.h"
#include "proc_handle.h"
#include "seccomp_filter.h"
#include "spec.h"
#include "sync.h"

namespace gantry::runtime {

class Handover;

/// Everything that a process on its way into a container needs, made ready on the host's side: parsed, opened and
/// compiled before the clone, so that nothing of it depends on what the container holds.
struct Plan {
  Plan(ProcHandle host_proc, Sync runtime_end) : proc(std::move(host_proc)), sync(std::move(runtime_end)) {}

  std::string id;
  std::string bundle;
  /// Absolute, links resolved.
  std::string rootfs;
  Spec spec;
  Process process;
  CapabilityMasks capabilities;
  SeccompFilter seccomp;
  ProcHandle proc;
  /// Init's end.
  Sync sync;

  /// The runtime's own descriptors, which the process closes first: it sees the runtime's death by the sync socket, and
  /// nothing of the host may wait beside a container.
  std::vector<int> not_for_init;
  /// v1 `tasks` files.
  std::vector<UniqueFd> cgroup_tasks;
  /// Directory of every hierarchy, for cgroup mounts.
  std::vector<CgroupDir> cgroups;
  bool cgroup_v2 = false;
  /// Namespaces to join, with their CLONE_NEW flag, the user namespace first.
  std::vector<std::pair<int, UniqueFd>> join;
  /// The pid namespace takes effect for children only, so it is joined before the clone.
  UniqueFd join_pid;
  bool joins_user_namespace() const { return !join.empty() && join.front().first == CLONE_NEWUSER; }
  /// Unshared by init itself.
  bool new_cgroup_namespace = false, new_time_namespace = false;
  bool new_user_namespace = false, new_network_namespace = false, new_mount_namespace = false;

  /// For exec into a container whose mount namespace is not its own: the first process's root directory, which entering
  /// the namespace does not lead to.
  UniqueFd root;

  /// For exec, when the program's process is to be made by one in between. The caller's.
  Handover* handover = nullptr;

  UniqueFd console_socket;
  /// O_PATH of exec.fifo; invalid for `run` and `exec`.
  UniqueFd fifo;
  bool wait_for_go = false;
  /// The runtime has no rights over the host: cgroups and the like may be missing.
  bool rootless = false;
  bool no_pivot = false;
  bool no_new_keyring = false;
  /// The container is there, and this is a further process of it.
  bool further = false;
  /// Descriptors from 3 on that the program keeps.
  int preserve_fds = 0;
  /// Bind mounts made by the runtime, which has rights that init has not: position in spec.mounts, detached mount.
  std::vector<std::pair<std::size_t, UniqueFd>> host_mounts;
  /// What hooks get on their standard input; the pid is put in by the runtime.
  std::string hook_state;
};

}  // namespace gantry::runtime
