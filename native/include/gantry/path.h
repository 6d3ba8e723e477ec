#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "gantry/fd.h"

namespace gantry {

/// Paths below a root that somebody else may be changing at the same time (a container's root, a volume, an unpack
/// target). Each is resolved once, by the kernel, into a descriptor; everything after works on that. A link never leads
/// outside the root: absolute ones start at it and `..` stops there, as for a process whose root it is.

/// openat2(RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS), close-on-exec added. -1 with errno on failure.
int open_in_root_raw(int root, const char* path, int flags, mode_t mode = 0) noexcept;

/// As above; throws SysError.
UniqueFd open_in_root(int root, const std::string& path, int flags, mode_t mode = 0);

/// Opens a folder below `dir` that must not be reached through a link or lie on another mount. EXDEV for a mount.
int open_child_dir_raw(int dir, const char* name, int flags) noexcept;

/// Opens what is a regular file and nothing else: looked at before it is opened, so that a device or FIFO that was put
/// there is never touched. Throws SysError with EINVAL for another kind, or as openat2 says.
UniqueFd open_regular_in_root(int root, const std::string& path);

/// The same for the entry `name` of the folder `dir`, links not followed; `st` gets its properties.
UniqueFd open_regular_at(int dir, const char* name, struct stat* st);

/// A host path as a folder.
UniqueFd open_folder(const std::string& path, int flags = O_PATH);

struct ResolvedParent {
  UniqueFd dir;
  /// Last component; "." when the path names the root itself.
  std::string name;
};

/// The folder that holds the last component of `path`, links on the way followed inside the root, the last component
/// untouched. A trailing slash or `/.` makes the last component itself the folder and the name ".".
ResolvedParent open_parent_in_root(int root, const std::string& path);

/// Walks `path` in user space, link by link, holding a descriptor on every folder it came through, so `..` goes back
/// where it came from and never above the root. Made for what openat2 cannot say: where a path ends that does not exist
/// yet, and what its links lead to.
class RootWalk {
 public:
  explicit RootWalk(int root) : root_(root) {}

  enum class Missing {
    /// Throws ENOENT.
    fail,
    /// Makes folders, 0755 root:root.
    make,
    /// Keeps the rest of the path as text.
    keep,
  };

  /// Ends at the folder (or, with `keep`, at the last existing one) that `path` leads to, all links followed.
  void go(std::string_view path, Missing missing, bool follow_last = true);

  /// The folder or file arrived at, O_PATH. Valid until the walk is destroyed.
  int fd() const noexcept { return stack_.empty() ? root_ : stack_.back().fd.get(); }
  /// Absolute, inside the root.
  std::string path() const;
  /// Whether the last folder was made by this walk.
  bool made() const noexcept { return made_; }

 private:
  struct Step {
    UniqueFd fd;
    std::string name;
  };
  int root_;
  std::vector<Step> stack_;
  std::vector<std::string> rest_;
  bool made_ = false;
};

/// "/proc/self/fd/N": a name for an O_PATH descriptor where a system call takes only paths.
std::string proc_path(int fd);

/// Splits at slashes; empty parts and "." are dropped, ".." kept.
std::vector<std::string> path_components(std::string_view path);

}  // namespace gantry
