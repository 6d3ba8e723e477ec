#pragma once

#include <cstdint>
#include <string>

#include "gantry/fd.h"
#include "mount_options.h"

namespace gantry::runtime {

/// Mounts as descriptors (Linux 5.12): a mount is made detached, given its flags, and only then attached to a place
/// that is itself a descriptor. No path in a container is ever resolved by mount(2), and a bind keeps the flags that a
/// user namespace has locked because flags are added to it, never replaced.

/// A detached copy of the mount at `path` (with those below it when `recursive`), resolved from `dir`.
UniqueFd clone_mount(int dir, const std::string& path, bool recursive);
/// The same for what a descriptor refers to.
UniqueFd clone_mount_of(int fd, bool recursive, const std::string& name);

/// A new, detached mount of a file system. `name` is for messages.
UniqueFd new_mount(const std::string& type, const std::string& source, const MountOptions& options,
                   const std::string& name);

/// Adds and removes MOUNT_ATTR flags on a mount; `propagation` is an MS_ flag or 0.
void set_mount_attributes(int fd, std::uint64_t set, std::uint64_t clear, std::uint64_t propagation, bool recursive,
                          const std::string& name);

/// Shows the files of a detached mount under the ids that a user namespace maps them to.
void map_mount_ids(int fd, int user_namespace, bool recursive, const std::string& name);

/// Attaches a detached mount on the file or directory that `target` refers to.
void attach_mount(int mount, int target, const std::string& name);

}  // namespace gantry::runtime
