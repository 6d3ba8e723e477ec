#include <fcntl.h>
#include <linux/magic.h>
#include <linux/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <climits>

#include "copy_up.h"
#include "gantry/error.h"
#include "host_mounts.h"
#include "mount_fd.h"
#include "naive.h"
#include "path_in_root.h"
#include "rootfs.h"

namespace gantry::runtime {
namespace {

/// Where a descriptor is, as the kernel names it.
std::string location(const Plan& plan, int fd) {
  char text[PATH_MAX];
  std::string link = "self/fd";
  UniqueFd dir = plan.proc.open(link, O_PATH | O_DIRECTORY);
  ssize_t n = ::readlinkat(dir.get(), std::to_string(fd).c_str(), text, sizeof text);
  if (n < 0) throw_errno("readlink", "/proc/self/fd");
  return std::string(text, static_cast<std::size_t>(n));
}

// Files of /proc that tools such as lxcfs put their own version over. Anything else there is the engine's protection
// (masked paths, attributes that are written for the program) and must not be covered.
constexpr const char* kReplaceable[] = {
    "/cpuinfo",
    "/diskstats",
    "/meminfo",
    "/stat",
    "/swaps",
    "/uptime",
    "/loadavg",
    "/slabinfo",
    "/net/dev",
    "/sys/kernel/ns_last_pid",
    "/sys/crypto/fips_enabled",
};

bool is_proc(int fd) {
  struct statfs fs;
  return ::fstatfs(fd, &fs) == 0 && fs.f_type == PROC_SUPER_MAGIC;
}

bool is_proc_root(int fd) {
  struct stat st;
  return is_proc(fd) && ::fstat(fd, &st) == 0 && st.st_ino == 1;
}

void refuse_inside_proc(const Plan& plan, int target, const MountSpec& entry) {
  if constexpr (kNaive) return;
  if (!is_proc(target) || is_proc_root(target)) return;
  std::string where = location(plan, target);
  for (const char* name : kReplaceable) {
    if (where == plan.rootfs + "/proc" + name) return;
  }
  throw InvalidInput("\"" + entry.destination + "\" cannot be mounted because it is inside /proc");
}

UniqueFd open_target(int root, const Plan& plan, const MountSpec& entry, Kind kind, bool real_directory) {
  UniqueFd target = open_or_create_in_root(root, entry.destination, kind);
  if (real_directory && !kNaive) {
    // A link in an image must not move procfs or sysfs to where writes meant for it would go elsewhere.
    std::string wanted = plan.rootfs + entry.destination;
    while (wanted.size() > 1 && wanted.back() == '/') wanted.pop_back();
    if (location(plan, target.get()) != wanted) {
      throw InvalidInput("filesystem \"" + entry.type +
                         "\" must be mounted on ordinary directory: " + entry.destination);
    }
  }
  refuse_inside_proc(plan, target.get(), entry);
  return target;
}

void finish_mount(int mount, const MountOptions& options, const std::string& name) {
  if (options.set_tree || options.clear_tree) {
    set_mount_attributes(mount, options.set_tree, options.clear_tree, 0, true, name);
  }
  for (const auto& [flag, tree] : options.propagation) set_mount_attributes(mount, 0, 0, flag, tree, name);
}

void mount_bind(int root, const Plan& plan, std::size_t index, const MountOptions& options) {
  const MountSpec& entry = plan.spec.mounts[index];
  UniqueFd mount;
  for (const auto& [at, made] : plan.host_mounts) {
    if (at == index) mount.reset(::fcntl(made.get(), F_DUPFD_CLOEXEC, 3));
  }
  if (!mount) mount = clone_source(plan, entry, options.recursive_bind);
  struct stat st;
  if (::fstat(mount.get(), &st) != 0) throw_errno("stat", entry.source);
  UniqueFd target =
      open_or_create_in_root(root, entry.destination, S_ISDIR(st.st_mode) ? Kind::kDirectory : Kind::kFile);
  if (!(is_proc_root(target.get()) && is_proc_root(mount.get()))) {
    if (is_proc_root(target.get())) {
      throw InvalidInput("\"" + entry.destination + "\" cannot be mounted because it is not of type proc");
    }
    refuse_inside_proc(plan, target.get(), entry);
  }
  // Only what is asked for is changed: the source's own nosuid or nodev stays unless it is taken away by name.
  set_mount_attributes(mount.get(), options.set, options.clear, 0, false, entry.destination);
  attach_mount(mount.get(), target.get(), entry.destination);
  finish_mount(mount.get(), options, entry.destination);
}

void remount(int root, const MountSpec& entry, const MountOptions& options) {
  UniqueFd target = open_in_root(root, entry.destination);
  set_mount_attributes(target.get(), options.set, options.clear, 0, false, entry.destination);
  finish_mount(target.get(), options, entry.destination);
}

}  // namespace

void mount_entry(int root, const Plan& plan, std::size_t index) {
  const MountSpec& entry = plan.spec.mounts[index];
  MountOptions options = parse_mount_options(entry.options);
  if (entry.type == "cgroup" || entry.type == "cgroup2") return mount_cgroups(root, plan, entry);
  if (options.remount) return remount(root, entry, options);
  if (options.bind || entry.type == "bind") return mount_bind(root, plan, index, options);
  if (entry.type.empty()) throw InvalidInput("mount of " + entry.destination + " has no type");

  bool kernel_tree = entry.type == "proc" || entry.type == "sysfs";
  UniqueFd target = open_target(root, plan, entry, Kind::kDirectory, kernel_tree);
  if (!plan.spec.mount_label.empty() && !kernel_tree && entry.type != "mqueue") {
    options.data.emplace_back("context", plan.spec.mount_label);
  }
  // "ro" of a file system with a device behind it must keep the kernel from writing to it, a journal for instance.
  bool own_super_block = !kernel_tree && entry.type != "mqueue" && entry.type != "tmpfs" && entry.type != "devpts";
  if (own_super_block && (options.set & MOUNT_ATTR_RDONLY)) options.data.emplace_back("ro", std::nullopt);

  MountOptions made = options;
  if (options.copy_up) made.set &= ~static_cast<std::uint64_t>(MOUNT_ATTR_RDONLY);
  UniqueFd mount = new_mount(entry.type, entry.source, made, entry.destination);
  if (options.copy_up) {
    if (entry.type != "tmpfs") throw InvalidInput("tmpcopyup is only for tmpfs: " + entry.destination);
    copy_up(target.get(), mount.get());
    set_mount_attributes(mount.get(), options.set, 0, 0, false, entry.destination);
  }
  if (entry.type == "tmpfs") {
    // A tmpfs takes the mode of what it covers unless told otherwise, so that /tmp stays 1777.
    bool has_mode = false;
    for (const auto& [key, value] : options.data) has_mode = has_mode || key == "mode";
    struct stat st;
    if (!has_mode && ::fstat(target.get(), &st) == 0) {
      if (::fchmodat(mount.get(), ".", st.st_mode & 07777, 0) != 0 && errno != EROFS) {
        throw_errno("chmod", entry.destination);
      }
    }
  }
  attach_mount(mount.get(), target.get(), entry.destination);
  finish_mount(mount.get(), options, entry.destination);
}

}  // namespace gantry::runtime
