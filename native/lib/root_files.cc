#include "gantry/root_files.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "gantry/error.h"
#include "gantry/fd.h"
#include "gantry/path.h"
#include "gantry/tar_reader.h"
#include "gantry/tree.h"

namespace gantry {

RootStat stat_in_root(int root, const std::string& path, bool follow_last) {
  RootStat result;
  ResolvedParent parent = open_parent_in_root(root, path);
  UniqueFd fd(follow_last ? open_in_root_raw(root, path.c_str(), O_PATH)
                          : ::openat(parent.dir.get(), parent.name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  if (!fd) throw_errno("openat", path);
  if (fstat(fd.get(), &result.st) != 0) throw_errno("fstat", path);
  std::vector<std::string> parts = path_components(path);
  result.name = parts.empty() ? "/" : parts.back();
  if (S_ISLNK(result.st.st_mode)) {
    RootWalk walk(root);
    walk.go(path, RootWalk::Missing::keep);
    result.link_target = walk.path();
  }
  return result;
}

std::optional<std::string> read_file_in_root(int root, const std::string& path, uint64_t limit) {
  UniqueFd fd;
  try {
    fd = open_regular_in_root(root, path);
  } catch (const SysError& error) {
    if (error.err() == ENOENT || error.err() == ENOTDIR) return std::nullopt;
    if (error.err() == EINVAL) throw InvalidInput(printable(path) + " is not a regular file");
    throw;
  }
  std::string content;
  char bytes[65536];
  for (;;) {
    ssize_t count = ::read(fd.get(), bytes, sizeof bytes);
    if (count < 0) {
      if (errno == EINTR) continue;
      throw_errno("read", path);
    }
    if (count == 0) return content;
    if (content.size() + static_cast<size_t>(count) > limit)
      throw InvalidInput(printable(path) + " is larger than " + std::to_string(limit) + " bytes");
    content.append(bytes, static_cast<size_t>(count));
  }
}

bool make_dir_in_root(int root, const std::string& path) {
  // Nearly always there: one call.
  if (UniqueFd there(open_in_root_raw(root, path.c_str(), O_PATH | O_DIRECTORY)); there) return false;
  if (errno != ENOENT) throw_errno("openat2", path);
  RootWalk walk(root);
  walk.go(path, RootWalk::Missing::make);
  return walk.made();
}

bool make_file_in_root(int root, const std::string& path) {
  if (UniqueFd there(open_in_root_raw(root, path.c_str(), O_PATH)); there) return false;
  if (errno != ENOENT) throw_errno("openat2", path);
  // A link that leads to nothing yet: the file belongs where it points.
  RootWalk found(root);
  found.go(path, RootWalk::Missing::keep);
  const std::string full = found.path();
  const size_t slash = full.rfind('/');
  RootWalk parent(root);
  parent.go(full.substr(0, slash), RootWalk::Missing::make);
  const std::string name = full.substr(slash + 1);
  UniqueFd fd(::openat(parent.fd(), ".", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!fd) throw_errno("openat", path);
  UniqueFd file(::openat(fd.get(), name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644));
  if (!file) {
    if (errno == EEXIST) return false;
    throw_errno("openat", path);
  }
  if (fchown(file.get(), 0, 0) != 0 || fchmod(file.get(), 0644) != 0) throw_errno("fchmod", path);
  return true;
}

bool make_link_in_root(int root, const std::string& path, const std::string& target) {
  const size_t slash = path.rfind('/');
  RootWalk parent(root);
  parent.go(slash == std::string::npos ? "" : path.substr(0, slash), RootWalk::Missing::make);
  const std::string name = slash == std::string::npos ? path : path.substr(slash + 1);
  if (symlinkat(target.c_str(), parent.fd(), name.c_str()) != 0) {
    if (errno == EEXIST) return false;
    throw_errno("symlinkat", path);
  }
  if (fchownat(parent.fd(), name.c_str(), 0, 0, AT_SYMLINK_NOFOLLOW) != 0) throw_errno("fchownat", path);
  return true;
}

bool copy_out_of_root(int root, const std::string& path, const std::string& to) {
  UniqueFd from(open_in_root_raw(root, path.c_str(), O_RDONLY | O_DIRECTORY));
  if (!from) {
    if (errno == ENOENT || errno == ENOTDIR) return false;
    throw_errno("openat2", path);
  }
  UniqueFd target = open_folder(to, O_RDONLY);
  copy_tree(from.get(), target.get(), true);
  return true;
}

}  // namespace gantry
