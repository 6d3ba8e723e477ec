#pragma once

#include <string>

#include "gantry/fd.h"

namespace gantry::runtime {

/// Paths below a root that a stranger filled. The kernel resolves them (openat2 with RESOLVE_IN_ROOT, no magic links),
/// so an absolute link means the container's root and `..` stops there, also while somebody renames things below us.

/// O_PATH descriptor of `path`; -1 with errno when it cannot be resolved.
UniqueFd try_open_in_root(int root, const std::string& path, int flags = 0);
/// The same, throwing.
UniqueFd open_in_root(int root, const std::string& path, int flags = 0);

enum class Kind { kDirectory, kFile };

/// Opens `path`, and first makes it with the directories that lead to it when it is not there: an empty file or a
/// directory, 0755. A link that leads nowhere is followed and its target made, within the root.
UniqueFd open_or_create_in_root(int root, const std::string& path, Kind kind);

}  // namespace gantry::runtime
