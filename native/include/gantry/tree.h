#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace gantry {

/// Removes `name` in the folder `dir` and all below it, whatever its size and depth, links not followed. What is absent
/// is fine. Something mounted below is EBUSY, and what lies on it is untouched.
void remove_tree_at(int dir, const std::string& name);

/// The same by host path.
void remove_tree(const std::string& path);

/// Copies what is in the folder `from` into the folder `to`, which is empty: ownership, times, xattrs, hard links,
/// devices and holes. Blocks are shared where the file system can. Other mounts below `from` become empty folders.
/// `own` gives `to` itself the properties of `from`.
void copy_tree(int from, int to, bool own);

/// Bytes of all files below `path`, hard links once, one file system.
uint64_t tree_size(const std::string& path);

/// Calls `take` for each extended attribute of an open file or folder. Unsupported is none.
void each_xattr(int fd, const std::function<void(const std::string& name, const std::string& value)>& take);

/// The same for the entry `name` of the folder `dir`, of any kind, links not followed.
void each_xattr_at(int dir, const std::string& name,
                   const std::function<void(const std::string& name, const std::string& value)>& take);

/// Whether an attribute is a storage driver's own business, or the host's security policy, and never part of a layer.
bool is_private_xattr(const std::string& name);

/// How deep a tree may be before it is refused rather than walked: no path that the kernel takes reaches further.
inline constexpr int kMaxTreeDepth = 2048;

}  // namespace gantry
