#include "proc_handle.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

#include "gantry/error.h"

namespace gantry::runtime {

namespace {
constexpr ino_t kProcRootInode = 1;
}

ProcHandle ProcHandle::host() {
  UniqueFd fd(::open("/proc", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd) throw_errno("open", "/proc");
  return ProcHandle(std::move(fd));
}

ProcHandle::ProcHandle(UniqueFd root) : root_(std::move(root)) {
  struct statfs fs;
  struct stat st;
  if (::fstatfs(root_.get(), &fs) != 0 || ::fstat(root_.get(), &st) != 0) throw_errno("stat", "/proc");
  if (fs.f_type != PROC_SUPER_MAGIC || st.st_ino != kProcRootInode) throw InvalidInput("/proc is not a procfs");
}

UniqueFd ProcHandle::open(const std::string& path, int flags) const {
  struct open_how how = {};
  how.flags = static_cast<std::uint64_t>(flags | O_CLOEXEC);
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS;
  UniqueFd fd(static_cast<int>(::syscall(SYS_openat2, root_.get(), path.c_str(), &how, sizeof how)));
  if (!fd) throw_errno("open", "/proc/" + path);
  return fd;
}

void ProcHandle::write(const std::string& path, const std::string& text) const {
  UniqueFd fd = open(path, O_WRONLY);
  ssize_t n = ::write(fd.get(), text.data(), text.size());
  if (n < 0) throw_errno("write", "/proc/" + path);
  if (static_cast<std::size_t>(n) != text.size()) throw SysError(EIO, "write", "/proc/" + path);
}

std::string ProcHandle::read(const std::string& path) const {
  UniqueFd fd = open(path, O_RDONLY);
  std::string text;
  char chunk[4096];
  for (ssize_t n; (n = ::read(fd.get(), chunk, sizeof chunk)) != 0;) {
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw_errno("read", "/proc/" + path);
    text.append(chunk, static_cast<std::size_t>(n));
  }
  return text;
}

UniqueFd ProcHandle::reopen(int fd, int flags) const {
  // The one magic link that is wanted; that nothing is mounted over the directory is checked by open().
  UniqueFd dir = open("self/fd", O_PATH | O_DIRECTORY);
  std::string name = std::to_string(fd);
  UniqueFd again(::openat(dir.get(), name.c_str(), flags | O_CLOEXEC));
  if (!again) throw_errno("open", "/proc/self/fd/" + name);
  return again;
}

}  // namespace gantry::runtime
