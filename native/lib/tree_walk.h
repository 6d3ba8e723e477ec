#pragma once

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <string>

#include "gantry/error.h"
#include "gantry/fd.h"

namespace gantry {

// What both walks of tree_changes.h stand on.

inline std::string below(const std::string& path, const std::string& name) {
  return path.empty() ? name : path + "/" + name;
}

inline bool is_whiteout(const struct stat& st) { return S_ISCHR(st.st_mode) && st.st_rdev == 0; }

/// False when it is gone.
inline bool stat_at(int dir, const std::string& name, struct stat& st) {
  if (fstatat(dir, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0) return true;
  if (errno == ENOENT || errno == ENOTDIR) return false;
  throw_errno("fstatat", name);
}

inline UniqueFd open_dir_at(int dir, const std::string& name) {
  UniqueFd fd(::openat(dir, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd && errno != ENOENT && errno != ENOTDIR && errno != ELOOP) throw_errno("openat", name);
  return fd;
}

inline bool same_owner(const struct stat& a, const struct stat& b) {
  return a.st_mode == b.st_mode && a.st_uid == b.st_uid && a.st_gid == b.st_gid;
}

}  // namespace gantry
