#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <vector>

#include "gantry/error.h"
#include "gantry/fd.h"
#include "gantry/path.h"
#include "gantry/tree.h"

namespace gantry {
namespace {

// A container can make a tree of any depth. What lies deeper than this is moved up, next to the tree's own first level,
// so that neither the stack nor the table of descriptors grows with it.
constexpr size_t kMaxHeld = 64;

struct CloseDir {
  void operator()(DIR* dir) const noexcept { closedir(dir); }
};
using DirStream = std::unique_ptr<DIR, CloseDir>;

struct Level {
  DirStream stream;
  std::string name;
};

DirStream open_level(int parent, const std::string& name) {
  UniqueFd fd(open_child_dir_raw(parent, name.c_str(), O_RDONLY));
  if (!fd) {
    if (errno == EXDEV) throw SysError(EBUSY, "unlinkat", name);
    return nullptr;
  }
  DirStream stream(fdopendir(fd.get()));
  if (!stream) throw_errno("fdopendir", name);
  [[maybe_unused]] int owned = fd.release();
  return stream;
}

/// Removes anything but a folder; false when it is one.
bool unlink_plain(int dir, const char* name) {
  if (unlinkat(dir, name, 0) == 0 || errno == ENOENT) return true;
  if (errno == EISDIR) return false;
  if (errno == EPERM) {
    // Some file systems answer EPERM for a folder; so does an immutable file.
    int err = errno;
    struct stat st;
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode)) return false;
    errno = err;
  }
  throw_errno("unlinkat", name);
}

}  // namespace

void remove_tree_at(int dir, const std::string& name) {
  if (unlink_plain(dir, name.c_str())) return;
  uint64_t moved = 0;
  // Whoever still writes into the tree can make a folder non-empty behind our back; not for ever.
  for (int attempt = 0; attempt < 100; attempt++) {
    if (unlinkat(dir, name.c_str(), AT_REMOVEDIR) == 0 || errno == ENOENT) return;
    if (errno != ENOTEMPTY && errno != EEXIST) throw_errno("unlinkat", name);
    std::vector<Level> levels;
    levels.push_back({open_level(dir, name), name});
    if (!levels.back().stream) {
      if (errno == ENOENT) return;
      throw_errno("openat2", name);
    }
    while (!levels.empty()) {
      DIR* stream = levels.back().stream.get();
      int here = dirfd(stream);
      errno = 0;
      dirent* entry = readdir(stream);
      if (!entry) {
        if (errno != 0) throw_errno("readdir", levels.back().name);
        std::string done = std::move(levels.back().name);
        levels.pop_back();
        int parent = levels.empty() ? dir : dirfd(levels.back().stream.get());
        if (unlinkat(parent, done.c_str(), AT_REMOVEDIR) != 0 && errno != ENOENT && errno != ENOTEMPTY &&
            errno != EEXIST)
          throw_errno("unlinkat", done);
        continue;
      }
      if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
      if (entry->d_type != DT_DIR && unlink_plain(here, entry->d_name)) continue;
      if (unlinkat(here, entry->d_name, AT_REMOVEDIR) == 0 || errno == ENOENT) continue;
      if (levels.size() >= kMaxHeld) {
        std::string aside = ".gantry-removed-" + std::to_string(moved++);
        if (renameat(here, entry->d_name, dirfd(levels.front().stream.get()), aside.c_str()) == 0) continue;
        if (errno == ENOENT || errno == EEXIST || errno == ENOTEMPTY) continue;
        if (errno == EBUSY) throw_errno("unlinkat", entry->d_name);
        // Fall through: go down after all.
      }
      std::string child = entry->d_name;
      DirStream below = open_level(here, child);
      if (!below) {
        if (errno == ENOENT || errno == ENOTDIR || errno == ELOOP) continue;
        throw_errno("openat2", child);
      }
      levels.push_back({std::move(below), std::move(child)});
    }
  }
  throw SysError(ENOTEMPTY, "unlinkat", name);
}

void remove_tree(const std::string& path) {
  std::string clean = path;
  while (clean.size() > 1 && clean.ends_with('/')) clean.pop_back();
  size_t slash = clean.rfind('/');
  std::string name = slash == std::string::npos ? clean : clean.substr(slash + 1);
  if (name.empty() || name == "." || name == "..") throw SysError(EINVAL, "unlinkat", path);
  std::string folder = slash == std::string::npos ? "." : slash == 0 ? "/" : clean.substr(0, slash);
  UniqueFd parent(::open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!parent) {
    if (errno == ENOENT) return;
    throw_errno("open", folder);
  }
  try {
    remove_tree_at(parent.get(), name);
  } catch (const SysError& error) {
    throw SysError(error.err(), error.operation(), error.path() == name ? path : path + "/…/" + error.path());
  }
}

}  // namespace gantry
