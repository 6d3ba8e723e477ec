#pragma once

#include <string>

#include "plan.h"

namespace gantry::runtime {

/// Opens a namespace by path after checking that it is one and of that kind.
UniqueFd open_namespace(const std::string& path, int flag);

/// Whether the runtime itself is within a user namespace, where root is not the host's root.
bool in_user_namespace();

/// Opens what the container joins by path, and returns the CLONE_NEW flags of what clone3(2) makes new. The rest is
/// made by init: see make_late_namespaces().
int prepare_new_namespaces(Plan& plan);

/// Opens the namespaces of a container's first process that are not ours already.
void prepare_namespaces_of(Plan& plan, pid_t init);

/// Takes a container's root, and all that is mounted below it, out of a mount namespace that the container joined by
/// its path and that lives on.
void detach_root(const std::string& mount_namespace, const std::string& rootfs);

/// Init's side: joins what was opened.
void join_namespaces(Plan& plan);

/// Init's side: the cgroup namespace, whose root is the cgroup that init has joined by now, and the time namespace,
/// whose clocks can be set only while nobody is in it.
void make_late_namespaces(const Plan& plan);

}  // namespace gantry::runtime
