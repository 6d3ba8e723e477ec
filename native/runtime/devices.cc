#include <fcntl.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "gantry/error.h"
#include "mount_fd.h"
#include "naive.h"
#include "path_in_root.h"
#include "rootfs.h"

namespace gantry::runtime {
namespace {

std::pair<std::string, std::string> split(const std::string& path) {
  auto slash = path.rfind('/');
  return {slash == 0 ? "/" : path.substr(0, slash), path.substr(slash + 1)};
}

/// What is under that name, in an image or on the host, may be anything; only the device that was asked for will do.
void check_device(int node, const DeviceSpec& device) {
  struct stat st;
  if (::fstat(node, &st) != 0) throw_errno("stat", device.path);
  if constexpr (kNaive) return;
  if ((st.st_mode & S_IFMT) != (device.mode & S_IFMT) || (!S_ISFIFO(st.st_mode) && st.st_rdev != device.number)) {
    throw SysError(EEXIST, "mknod", device.path);
  }
}

/// Within a user namespace nodes cannot be made; the host's are bound instead.
void bind_device(int root, const DeviceSpec& device) {
  UniqueFd node = clone_mount(AT_FDCWD, device.path, false);
  check_device(node.get(), device);
  UniqueFd target = open_or_create_in_root(root, device.path, Kind::kFile);
  attach_mount(node.get(), target.get(), device.path);
}

void make_device(int root, const DeviceSpec& device) {
  auto [dir, name] = split(device.path);
  UniqueFd parent = open_or_create_in_root(root, dir, Kind::kDirectory);
  if (::mknodat(parent.get(), name.c_str(), device.mode, device.number) != 0 && errno != EEXIST) {
    throw_errno("mknod", device.path);
  }
  UniqueFd node(::openat(parent.get(), name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  struct stat st;
  if (!node || ::fstat(node.get(), &st) != 0) throw_errno("open", device.path);
  check_device(node.get(), device);
  if ((st.st_uid != device.uid || st.st_gid != device.gid) &&
      ::fchownat(node.get(), "", device.uid, device.gid, AT_EMPTY_PATH) != 0) {
    throw_errno("chown", device.path);
  }
}

void link(int dev, const char* target, const char* name) {
  if (::symlinkat(target, dev, name) != 0 && errno != EEXIST) throw_errno("symlink", std::string("/dev/") + name);
}

DeviceSpec character(const char* path, unsigned major, unsigned minor) {
  return {path, S_IFCHR | 0666, ::makedev(major, minor), 0, 0};
}

}  // namespace

std::vector<DeviceSpec> devices_of(const Spec& spec) {
  for (const auto& entry : spec.mounts) {
    // A /dev that is bound from the host is complete already, and not ours to change.
    if (entry.destination == "/dev" || entry.destination == "/dev/") {
      if (entry.type == "bind" || parse_mount_options(entry.options).bind) return {};
    }
  }
  std::vector<DeviceSpec> all = {
      character("/dev/null", 1, 3),   character("/dev/zero", 1, 5),    character("/dev/full", 1, 7),
      character("/dev/random", 1, 8), character("/dev/urandom", 1, 9), character("/dev/tty", 5, 0),
  };
  for (const auto& device : spec.devices) {
    bool replaced = false;
    for (auto& known : all) {
      if (known.path == device.path) {
        known = device;
        replaced = true;
      }
    }
    if (!replaced) all.push_back(device);
  }
  // Made from the container's own devpts.
  std::erase_if(all, [](const DeviceSpec& device) { return device.path == "/dev/ptmx"; });
  return all;
}

bool is_bound_device(const Spec& spec, const DeviceSpec& device) {
  return spec.find_namespace(CLONE_NEWUSER) != nullptr && !S_ISFIFO(device.mode);
}

void Rootfs::make_devices(const Plan& plan) {
  std::vector<DeviceSpec> all = devices_of(plan.spec);
  if (all.empty()) return;
  for (const auto& device : all) {
    if (is_bound_device(plan.spec, device)) {
      bind_device(fd(), device);
    } else {
      make_device(fd(), device);
    }
  }
  UniqueFd dev = open_or_create_in_root(fd(), "/dev", Kind::kDirectory);
  link(dev.get(), "/proc/self/fd", "fd");
  link(dev.get(), "/proc/self/fd/0", "stdin");
  link(dev.get(), "/proc/self/fd/1", "stdout");
  link(dev.get(), "/proc/self/fd/2", "stderr");
  if (::access("/proc/kcore", F_OK) == 0) link(dev.get(), "/proc/kcore", "core");
  if (::unlinkat(dev.get(), "ptmx", 0) != 0 && errno != ENOENT) throw_errno("unlink", "/dev/ptmx");
  link(dev.get(), "pts/ptmx", "ptmx");
}

}  // namespace gantry::runtime
