#include "gantry/netns.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cstring>

#include "gantry/error.h"
#include "gantry/fd.h"
#include "gantry/workers.h"

namespace gantry {

namespace {

void loopback_up() {
  UniqueFd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!fd) throw_errno("socket", "inet");
  ifreq request{};
  std::strcpy(request.ifr_name, "lo");
  if (::ioctl(fd.get(), SIOCGIFFLAGS, &request) < 0) throw_errno("ioctl SIOCGIFFLAGS", "lo");
  request.ifr_flags |= IFF_UP | IFF_RUNNING;
  if (::ioctl(fd.get(), SIOCSIFFLAGS, &request) < 0) throw_errno("ioctl SIOCSIFFLAGS", "lo");
}

}  // namespace

void create_namespace(const std::string& path) {
  UniqueFd file(::open(path.c_str(), O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0444));
  if (!file) throw_errno("open", path);
  try {
    unshare_thread(CLONE_NEWNET, "network namespace");
    loopback_up();
    // A kernel without IPv6 has no such file, and nothing to turn off.
    try {
      write_sysctl("ipv6/conf/default/disable_ipv6", "1");
    } catch (const SysError& error) {
      if (error.err() != ENOENT) throw;
    }
    if (::mount("/proc/thread-self/ns/net", path.c_str(), nullptr, MS_BIND, nullptr) < 0) throw_errno("mount", path);
  } catch (...) {
    ::unlink(path.c_str());
    throw;
  }
}

void remove_namespace(const std::string& path) {
  // A crash can leave the file without its mount, or mounts stacked on it.
  while (::umount2(path.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) == 0) {
  }
  if (errno != EINVAL && errno != ENOENT) throw_errno("umount", path);
  if (::unlink(path.c_str()) < 0 && errno != ENOENT) throw_errno("unlink", path);
}

void enter_namespace(const std::string& path) {
  if (path.empty()) return;
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) throw_errno("open", path);
  enter_with_thread(fd.get(), CLONE_NEWNET, path.c_str());
}

void write_sysctl(const std::string& key, const std::string& value) {
  if (key.empty() || key.front() == '/' || ("/" + key + "/").find("/../") != std::string::npos ||
      ("/" + key + "/").find("/./") != std::string::npos)
    throw InvalidInput("invalid network sysctl: " + key);
  std::string path = "/proc/sys/net/" + key;
  UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd) throw_errno("open", path);
  struct statfs info {};
  if (::fstatfs(fd.get(), &info) < 0) throw_errno("fstatfs", path);
  if (info.f_type != PROC_SUPER_MAGIC) throw SysError(EXDEV, "open", path);
  if (::write(fd.get(), value.data(), value.size()) != static_cast<ssize_t>(value.size())) throw_errno("write", path);
}

}  // namespace gantry
