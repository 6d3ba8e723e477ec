#include "self_exe.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "gantry/error.h"
#include "gantry/fd.h"
#include "mount_fd.h"
#include "naive.h"

namespace gantry::runtime {
namespace {

constexpr int kSeals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
constexpr std::uint64_t kReadOnlyMount = 1;  // MOUNT_ATTR_RDONLY

std::string directory_of_self() {
  char path[PATH_MAX];
  ssize_t n = ::readlink("/proc/self/exe", path, sizeof path);
  if (n <= 0) throw_errno("readlink", "/proc/self/exe");
  std::string text(path, static_cast<std::size_t>(n));
  return text.substr(0, text.rfind('/'));
}

bool unreachable_for_writing(int exe) {
  struct statvfs fs;
  if (::fstatvfs(exe, &fs) == 0 && (fs.f_flag & ST_RDONLY)) return true;
  int seals = ::fcntl(exe, F_GET_SEALS);
  return seals >= 0 && (seals & kSeals) == kSeals;
}

UniqueFd sealed_copy(int exe) {
  UniqueFd copy(::memfd_create("gantry-runtime", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!copy) throw_errno("memfd_create");
  struct stat st;
  if (::fstat(exe, &st) != 0) throw_errno("stat", "/proc/self/exe");
  for (off_t done = 0; done < st.st_size;) {
    if (::sendfile(copy.get(), exe, &done, static_cast<std::size_t>(st.st_size - done)) <= 0) {
      throw_errno("copy", "/proc/self/exe");
    }
  }
  if (::fcntl(copy.get(), F_ADD_SEALS, kSeals) != 0) throw_errno("seal the copy of", "/proc/self/exe");
  // What is open for writing cannot be executed.
  UniqueFd readable(::open(("/proc/self/fd/" + std::to_string(copy.get())).c_str(), O_RDONLY | O_CLOEXEC));
  if (!readable) throw_errno("open the copy of", "/proc/self/exe");
  return readable;
}

}  // namespace

void hide_own_file(char** argv, int passed_fds) {
  if constexpr (kNaive) return;
  ::syscall(SYS_close_range, 3u + static_cast<unsigned>(passed_fds), ~0u, 0);
  // What begins before the C library does (entry.cc) has mostly seen to it.
  UniqueFd exe(::open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
  if (!exe) throw_errno("open", "/proc/self/exe");
  if (unreachable_for_writing(exe.get())) return;
  UniqueFd safe;
  try {
    safe = clone_mount_of(exe.get(), false, "/proc/self/exe");
    set_mount_attributes(safe.get(), kReadOnlyMount, 0, 0, false, "/proc/self/exe");
  } catch (const SysError&) {
    safe = sealed_copy(exe.get());
  }
  ::setenv(kHomeVariable, directory_of_self().c_str(), 1);
  ::syscall(SYS_execveat, safe.get(), "", argv, environ, AT_EMPTY_PATH);
  throw_errno("execute again", "/proc/self/exe");
}

std::string sibling_program(const std::string& name) {
  const char* home = ::getenv(kHomeVariable);
  return (home ? std::string(home) : directory_of_self()) + "/" + name;
}

}  // namespace gantry::runtime
