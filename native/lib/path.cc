#include "gantry/path.h"

#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>

#include "gantry/error.h"

namespace gantry {
namespace {

constexpr int kMaxLinks = 40;

int openat2_raw(int dir, const char* path, uint64_t flags, mode_t mode, uint64_t resolve) noexcept {
  struct open_how how = {};
  how.flags = flags | O_CLOEXEC;
  how.mode = mode;
  how.resolve = resolve;
  for (;;) {
    long fd = syscall(SYS_openat2, dir, path, &how, sizeof how);
    // EAGAIN says that a rename or mount happened while `..` was resolved: the kernel asks for another try.
    if (fd >= 0 || (errno != EAGAIN && errno != EINTR)) return static_cast<int>(fd);
  }
}

std::string read_link(int fd, const std::string& path) {
  std::string target(PATH_MAX, '\0');
  ssize_t length = readlinkat(fd, "", target.data(), target.size());
  if (length < 0) throw_errno("readlinkat", path);
  target.resize(static_cast<size_t>(length));
  return target;
}

}  // namespace

std::string proc_path(int fd) { return "/proc/self/fd/" + std::to_string(fd); }

std::vector<std::string> path_components(std::string_view path) {
  std::vector<std::string> parts;
  while (!path.empty()) {
    size_t slash = path.find('/');
    std::string_view part = path.substr(0, slash);
    if (!part.empty() && part != ".") parts.emplace_back(part);
    if (slash == std::string_view::npos) break;
    path.remove_prefix(slash + 1);
  }
  return parts;
}

int open_in_root_raw(int root, const char* path, int flags, mode_t mode) noexcept {
  if (*path == '\0') path = ".";
  return openat2_raw(root, path, static_cast<uint64_t>(flags), mode, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
}

UniqueFd open_in_root(int root, const std::string& path, int flags, mode_t mode) {
  UniqueFd fd(open_in_root_raw(root, path.c_str(), flags, mode));
  if (!fd) throw_errno("openat2", path);
  return fd;
}

int open_child_dir_raw(int dir, const char* name, int flags) noexcept {
  return openat2_raw(dir, name, static_cast<uint64_t>(flags) | O_DIRECTORY | O_NOFOLLOW, 0,
                     RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS);
}

UniqueFd open_regular_in_root(int root, const std::string& path) {
  UniqueFd probe = open_in_root(root, path, O_PATH);
  struct stat st;
  if (fstat(probe.get(), &st) != 0) throw_errno("fstat", path);
  if (!S_ISREG(st.st_mode)) throw SysError(EINVAL, "open", path);
  UniqueFd fd(::open(proc_path(probe.get()).c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
  if (!fd) throw_errno("open", path);
  return fd;
}

UniqueFd open_regular_at(int dir, const char* name, struct stat* st) {
  UniqueFd probe(::openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC));
  if (!probe) throw_errno("openat", name);
  if (fstat(probe.get(), st) != 0) throw_errno("fstat", name);
  if (!S_ISREG(st->st_mode)) throw SysError(EINVAL, "open", name);
  UniqueFd fd(::open(proc_path(probe.get()).c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
  if (!fd) throw_errno("open", name);
  return fd;
}

UniqueFd open_folder(const std::string& path, int flags) {
  UniqueFd fd(::open(path.c_str(), flags | O_DIRECTORY | O_CLOEXEC));
  if (!fd) throw_errno("open", path);
  return fd;
}

ResolvedParent open_parent_in_root(int root, const std::string& path) {
  std::string_view text = path;
  bool folder = text.empty() || text.back() == '/' || text == "." || text.ends_with("/.") || text == ".." ||
                text.ends_with("/..");
  if (folder) return {open_in_root(root, path, O_PATH | O_DIRECTORY), "."};
  size_t slash = text.rfind('/');
  if (slash == std::string_view::npos) return {open_in_root(root, ".", O_PATH | O_DIRECTORY), path};
  return {open_in_root(root, std::string(text.substr(0, slash + 1)), O_PATH | O_DIRECTORY),
          std::string(text.substr(slash + 1))};
}

void RootWalk::go(std::string_view path, Missing missing, bool follow_last) {
  // What is still to be walked, last part first.
  std::vector<std::string> todo = path_components(path);
  std::reverse(todo.begin(), todo.end());
  bool last_is_folder = path.ends_with('/') || path.ends_with("/.");
  int links = 0;
  made_ = false;
  while (!todo.empty()) {
    std::string part = std::move(todo.back());
    todo.pop_back();
    if (part == "..") {
      if (!rest_.empty())
        rest_.pop_back();
      else if (!stack_.empty())
        stack_.pop_back();
      continue;
    }
    if (!rest_.empty()) {
      rest_.push_back(std::move(part));
      continue;
    }
    UniqueFd next(::openat(fd(), part.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
    bool made = false;
    if (!next && errno == ENOENT && missing != Missing::fail) {
      if (missing == Missing::keep) {
        rest_.push_back(std::move(part));
        continue;
      }
      if (mkdirat(fd(), part.c_str(), 0755) != 0) {
        if (errno != EEXIST) throw_errno("mkdirat", part);
      } else {
        made = true;
      }
      next.reset(::openat(fd(), part.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
    }
    if (!next) throw_errno("openat", part);
    struct stat st;
    if (fstat(next.get(), &st) != 0) throw_errno("fstat", part);
    if (S_ISLNK(st.st_mode) && (follow_last || last_is_folder || !todo.empty())) {
      if (++links > kMaxLinks) throw SysError(ELOOP, "openat", std::string(path));
      std::string target = read_link(next.get(), part);
      if (target.starts_with('/')) stack_.clear();
      std::vector<std::string> parts = path_components(target);
      todo.insert(todo.end(), parts.rbegin(), parts.rend());
      continue;
    }
    if (!S_ISDIR(st.st_mode) && (!todo.empty() || missing == Missing::make)) throw SysError(ENOTDIR, "openat", part);
    if (made) {
      // The daemon's umask and a set-group-ID parent must not show in a container.
      std::string name = proc_path(next.get());
      if (::chown(name.c_str(), 0, 0) != 0 || ::chmod(name.c_str(), 0755) != 0) throw_errno("chmod", part);
    }
    made_ = made;
    stack_.push_back({std::move(next), std::move(part)});
  }
}

std::string RootWalk::path() const {
  std::string text;
  for (const Step& step : stack_) text += "/" + step.name;
  for (const std::string& part : rest_) text += "/" + part;
  return text.empty() ? "/" : text;
}

}  // namespace gantry
