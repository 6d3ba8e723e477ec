#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace gantry::runtime {

/// Options of one mount, as words of mount(8) and of the OCI specification, sorted by what they act on.
struct MountOptions {
  bool bind = false;
  /// With `bind`: the mounts below too.
  bool recursive_bind = false;
  bool remount = false;
  /// Ids as the container's user namespace maps them, where the entry has no mappings; for mounts below too.
  bool id_map = false, id_map_tree = false;
  /// runc's extension: the tmpfs begins as a copy of what it covers.
  bool copy_up = false;
  /// MOUNT_ATTR flags of this mount alone, and of the whole tree below it.
  std::uint64_t set = 0, clear = 0, set_tree = 0, clear_tree = 0;
  /// MS_SHARED and the like, and whether for the tree.
  std::vector<std::pair<unsigned long, bool>> propagation;
  /// For the file system itself: flags have no value.
  std::vector<std::pair<std::string, std::optional<std::string>>> data;

  bool read_only() const;
};

/// Throws InvalidInput for options that contradict each other.
MountOptions parse_mount_options(const std::vector<std::string>& options);

/// Every word that parse_mount_options() understands itself, sorted. What else an option may be is the file system's.
std::vector<std::string> mount_option_names();

/// MS_ flag and recursion of a propagation word ("rslave"); nothing when it is not one.
std::optional<std::pair<unsigned long, bool>> parse_propagation(const std::string& word);

}  // namespace gantry::runtime
