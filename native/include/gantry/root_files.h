#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <optional>
#include <string>

namespace gantry {

/// Single files and folders inside a container's root, given as an open folder. See path.h for how paths are followed.

struct RootStat {
  struct stat st;
  std::string name;
  /// Where a link leads in the end, absolute inside the root.
  std::string link_target;
};

RootStat stat_in_root(int root, const std::string& path, bool follow_last);

/// nullopt when it is not there. More than `limit` bytes, or something that is no regular file, is InvalidInput.
std::optional<std::string> read_file_in_root(int root, const std::string& path, uint64_t limit);

/// Makes a folder and its missing parents, 0755 root:root; whether the last one was made.
bool make_dir_in_root(int root, const std::string& path);

/// Makes an empty file, 0644 root:root, and its missing parents, unless something is there.
bool make_file_in_root(int root, const std::string& path);

/// Makes a symbolic link of root:root, and its missing parents, unless something has the name.
bool make_link_in_root(int root, const std::string& path, const std::string& target);

/// Copies what the folder holds into the empty host folder `to`, its own properties included; false when there is no
/// such folder.
bool copy_out_of_root(int root, const std::string& path, const std::string& to);

}  // namespace gantry
