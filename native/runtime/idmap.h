#pragma once

#include <utility>
#include <vector>

#include "plan.h"

namespace gantry::runtime {

/// The bind mounts of plan.spec that have id mappings of their own, or say idmap and take the container's: detached,
/// with files shown under mapped ids. Made by the runtime, since a user namespace has no such right over the host's
/// mounts.
std::vector<std::pair<std::size_t, UniqueFd>> map_mounts(const Plan& plan);

}  // namespace gantry::runtime
