#pragma once

#include <utility>
#include <vector>

#include "plan.h"

namespace gantry::runtime {

/// The bind mounts of plan.spec that init could not make: those whose files appear under mapped ids, since a user
/// namespace has no such right over the host's mounts; and, for a container in a user namespace, all others, since
/// their sources may lie where its root may not go. Detached.
std::vector<std::pair<std::size_t, UniqueFd>> make_host_mounts(const Plan& plan);

/// A detached copy of a bind mount's source.
UniqueFd clone_source(const Plan& plan, const MountSpec& entry, bool recursive);

}  // namespace gantry::runtime
