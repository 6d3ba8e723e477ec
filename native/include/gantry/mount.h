#pragma once

#include <string>
#include <vector>

namespace gantry {

struct MountRequest {
  /// File system type, or "bind".
  std::string type;
  std::string source;
  /// mount(8)'s words: flags, propagation and file-system data.
  std::vector<std::string> options;
};

/// Mounts at `target`, which exists. A bind that has more to say than "bind" is followed by a remount, and propagation
/// is a call of its own, as the kernel demands. May change the calling thread's working directory: run it on a thread
/// of its own.
void mount_at(const MountRequest& request, const std::string& target);

/// Unmounts; what is not mounted, or not there, succeeds.
void unmount_at(const std::string& target, bool lazy);

struct MountPoint {
  std::string target;
  std::string type;
  std::string source;
};

/// Mount points at or below `path`, deepest and newest first.
std::vector<MountPoint> mounts_below(const std::string& path);

struct FileSystem {
  std::string type;
  unsigned long long free = 0;
  unsigned long long total = 0;
};

/// What holds `path`; bytes, `free` as an unprivileged user would have it.
FileSystem file_system_of(const std::string& path);

}  // namespace gantry
