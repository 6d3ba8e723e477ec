#include "path_in_root.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "gantry/error.h"
#include "naive.h"

namespace gantry::runtime {
namespace {

constexpr int kMaxLinks = 40;

/// `/a/b/` to `/a` and `b`; the root has no name.
std::pair<std::string, std::string> split_last(const std::string& path) {
  std::size_t end = path.find_last_not_of('/');
  if (end == std::string::npos) return {"/", ""};
  std::size_t slash = path.rfind('/', end);
  std::string name = path.substr(slash == std::string::npos ? 0 : slash + 1, end - slash);
  return {slash == std::string::npos || slash == 0 ? "/" : path.substr(0, slash), name};
}

/// As if a path below a root were a path: what the naive build does (naive.h).
[[maybe_unused]] std::string joined(int root, const std::string& path) {
  char base[PATH_MAX];
  ssize_t n = ::readlink(("/proc/self/fd/" + std::to_string(root)).c_str(), base, sizeof base);
  if (n < 0) throw_errno("readlink", "/proc/self/fd");
  return std::string(base, static_cast<std::size_t>(n)) + "/" + path;
}

[[maybe_unused]] UniqueFd naive_create(const std::string& path, Kind kind) {
  if (kind == Kind::kFile) return UniqueFd(::open(path.c_str(), O_CREAT | O_CLOEXEC, 0755));
  for (auto slash = path.find('/', 1); slash != std::string::npos; slash = path.find('/', slash + 1)) {
    ::mkdir(path.substr(0, slash).c_str(), 0755);
  }
  ::mkdir(path.c_str(), 0755);
  return UniqueFd(::open(path.c_str(), O_PATH | O_CLOEXEC));
}

UniqueFd create(int root, std::string path, Kind kind, int links) {
  for (;; ++links) {
    if (links > kMaxLinks) throw SysError(ELOOP, "resolve", path);
    if (auto fd = try_open_in_root(root, path)) return fd;
    if (errno != ENOENT) throw_errno("resolve in rootfs", path);
    auto [parent_path, name] = split_last(path);
    if (name.empty()) throw SysError(ENOENT, "resolve in rootfs", path);
    UniqueFd parent = create(root, parent_path, Kind::kDirectory, links + 1);
    if (kind == Kind::kDirectory) {
      if (::mkdirat(parent.get(), name.c_str(), 0755) == 0) continue;
    } else {
      UniqueFd file(::openat(parent.get(), name.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0755));
      if (file) continue;
    }
    if (errno != EEXIST) throw_errno(kind == Kind::kDirectory ? "mkdir in rootfs" : "create in rootfs", path);
    char target[PATH_MAX];
    ssize_t n = ::readlinkat(parent.get(), name.c_str(), target, sizeof target);
    // Not a link: it came into being meanwhile.
    if (n <= 0) continue;
    std::string text(target, static_cast<std::size_t>(n));
    path = text[0] == '/' ? text : parent_path + "/" + text;
  }
}

}  // namespace

UniqueFd try_open_in_root(int root, const std::string& path, int flags) {
  if constexpr (kNaive) return UniqueFd(::open(joined(root, path).c_str(), O_PATH | O_CLOEXEC | flags));
  struct open_how how = {};
  how.flags = static_cast<std::uint64_t>(O_PATH | O_CLOEXEC | flags);
  how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
  // The kernel gives up with EAGAIN when a rename races with `..`; an attacker could keep that up forever.
  for (int tries = 0; tries < 128; ++tries) {
    int fd = static_cast<int>(::syscall(SYS_openat2, root, path.c_str(), &how, sizeof how));
    if (fd >= 0 || (errno != EAGAIN && errno != EINTR)) return UniqueFd(fd);
  }
  return UniqueFd();
}

UniqueFd open_in_root(int root, const std::string& path, int flags) {
  auto fd = try_open_in_root(root, path, flags);
  if (!fd) throw_errno("open in rootfs", path);
  return fd;
}

UniqueFd open_or_create_in_root(int root, const std::string& path, Kind kind) {
  if constexpr (kNaive) return naive_create(joined(root, path), kind);
  return create(root, path, kind, 0);
}

}  // namespace gantry::runtime
