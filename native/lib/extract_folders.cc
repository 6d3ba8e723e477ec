#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>

#include "extractor.h"
#include "gantry/error.h"
#include "gantry/path.h"
#include "gantry/tree.h"

namespace gantry {
namespace {

constexpr size_t kMaxCachedFolders = 256;

}  // namespace

Extractor::Folder& Extractor::folder(const std::string& path) {
  if (last_ && *last_path_ == path) return *last_;
  auto found = folders_.find(path);
  if (found == folders_.end()) {
    const std::string full = in_root(path);
    UniqueFd fd(open_in_root_raw(options_.root, full.c_str(), O_RDONLY | O_DIRECTORY));
    if (!fd) {
      if (errno != ENOENT) throw_errno("openat2", path);
      RootWalk walk(options_.root);
      walk.go(full, RootWalk::Missing::make);
      fd = UniqueFd(::openat(walk.fd(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
      if (!fd) throw_errno("openat", path);
    }
    found = remember(path, std::move(fd));
  }
  last_path_ = &found->first;
  last_ = &found->second;
  return *last_;
}

std::unordered_map<std::string, Extractor::Folder>::iterator Extractor::remember(const std::string& path, UniqueFd fd) {
  if (folders_.size() >= kMaxCachedFolders) forget_all();
  struct stat st;
  if (fstat(fd.get(), &st) != 0) throw_errno("fstat", path);
  return folders_.insert_or_assign(path, Folder{std::move(fd), (st.st_mode & S_ISGID) != 0}).first;
}

bool Extractor::clear_place(Folder& parent, const std::string& name, const TarEntry& entry, bool folder_comes,
                            bool* was_whiteout) {
  struct stat st;
  if (fstatat(parent.fd.get(), name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) {
    if (errno == ENOENT) return false;
    throw_errno("fstatat", name);
  }
  if (options_.no_overwrite_dir_non_dir && S_ISDIR(st.st_mode) != folder_comes) {
    const std::string place = "/" + in_root(clean_path(entry.path).value_or(""));
    throw InvalidInput(
        folder_comes
            ? "cannot overwrite non-directory " + printable(place) + " with directory " + printable(entry.path)
            : "cannot overwrite directory " + printable(place) + " with non-directory " + printable(entry.path));
  }
  if (S_ISDIR(st.st_mode) && folder_comes) return true;
  if (was_whiteout) *was_whiteout = options_.whiteouts == Whiteouts::overlay && S_ISCHR(st.st_mode) && st.st_rdev == 0;
  const int dir = parent.fd.get();
  if (S_ISDIR(st.st_mode) || S_ISLNK(st.st_mode)) {
    // Paths that were resolved through it are no longer what they were. `dir` lives in the cache too.
    UniqueFd kept(fcntl(dir, F_DUPFD_CLOEXEC, 0));
    if (!kept) throw_errno("fcntl");
    remove_tree_at(kept.get(), name);
    stale_ = true;
  } else if (unlinkat(dir, name.c_str(), 0) != 0 && errno != ENOENT) {
    throw_errno("unlinkat", name);
  }
  return false;
}

void Extractor::own_folder(const TarEntry& entry) {
  UniqueFd fd = open_in_root(options_.root, options_.base, O_RDONLY | O_DIRECTORY);
  folder_properties(fd.get(), entry, true);
  folder_times_.emplace_back("", entry_times(entry));
  forget_all();
}

void Extractor::directory(Folder& parent, const std::string& name, const std::string& path, const TarEntry& entry) {
  bool existed = false;
  bool was_whiteout = false;
  int dir = parent.fd.get();
  if (mkdirat(dir, name.c_str(), exact_modes_ ? entry.mode : 0700) != 0) {
    if (errno != EEXIST) throw_errno("mkdirat", name);
    existed = clear_place(parent, name, entry, true, &was_whiteout);
    if (!existed && mkdirat(dir, name.c_str(), exact_modes_ ? entry.mode : 0700) != 0) throw_errno("mkdirat", name);
  }
  UniqueFd fd(::openat(dir, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd) throw_errno("openat", name);
  folder_properties(fd.get(), entry, existed);
  // The whiteout hid the whole lower folder; a folder in its place must go on doing so.
  if (was_whiteout && fsetxattr(fd.get(), opaque_mark(), "y", 1, 0) != 0) throw_errno("fsetxattr", name);
  folder_times_.emplace_back(path, entry_times(entry));
  drop_stale();
  remember(path, std::move(fd));
  last_ = nullptr;
}

void Extractor::folder_properties(int fd, const TarEntry& entry, bool existed) {
  if (fchown(fd, entry.uid, entry.gid) != 0) throw_errno("fchown", entry.path);
  if (fchmod(fd, entry.mode) != 0) throw_errno("fchmod", entry.path);
  if (existed && is_layer()) {
    // An attribute that the archive does not have is not in the layer's folder either.
    std::vector<std::string> old;
    each_xattr(fd, [&](const std::string& name, const std::string&) {
      if (!is_private_xattr(name) && !name.starts_with("system.")) old.push_back(name);
    });
    for (const std::string& name : old) fremovexattr(fd, name.c_str());
  }
  xattrs(fd, entry);
}

void Extractor::set_folder_times() {
  for (const auto& [path, times] : folder_times_) {
    if (path.empty()) {
      UniqueFd fd = open_in_root(options_.root, options_.base, O_RDONLY | O_DIRECTORY);
      if (futimens(fd.get(), times.both) != 0) throw_errno("futimens");
      continue;
    }
    // It may be gone, or something else by now, by a later entry.
    UniqueFd fd(open_in_root_raw(options_.root, in_root(path).c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
    if (fd && futimens(fd.get(), times.both) != 0) throw_errno("futimens", path);
  }
}

}  // namespace gantry
