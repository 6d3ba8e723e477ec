#include <fcntl.h>
#include <linux/mount.h>
#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gantry/error.h"
#include "mount_fd.h"
#include "naive.h"
#include "path_in_root.h"
#include "rootfs.h"

namespace gantry::runtime {
namespace {

bool private_cgroup_namespace(const Plan& plan) { return plan.spec.find_namespace(CLONE_NEWCGROUP) != nullptr; }

void mount_v2(int target, const Plan& plan, const MountSpec& entry, const MountOptions& options) {
  UniqueFd mount;
  try {
    mount = new_mount("cgroup2", "cgroup", options, entry.destination);
  } catch (const SysError& e) {
    // A user namespace without a cgroup namespace of its own may not mount it: it gets to see the container's part.
    if (e.err() != EPERM && e.err() != EBUSY) throw;
    std::string source =
        private_cgroup_namespace(plan) || plan.cgroups.empty() ? "/sys/fs/cgroup" : plan.cgroups.front().path;
    mount = clone_mount(AT_FDCWD, source, true);
    set_mount_attributes(mount.get(), options.set, options.clear, 0, true, entry.destination);
  }
  attach_mount(mount.get(), target, entry.destination);
}

/// Puts one hierarchy on a directory of the tmpfs: mounted anew where the container has a cgroup namespace, which makes
/// its own cgroup the root, or else the container's directory bound there.
void mount_hierarchy(int tmpfs, const Plan& plan, const CgroupDir& dir, const MountSpec& entry,
                     const MountOptions& options) {
  std::string name = entry.destination + "/" + dir.controller;
  if (::mkdirat(tmpfs, dir.controller.c_str(), 0755) != 0) throw_errno("mkdir", name);
  UniqueFd target(::openat(tmpfs, dir.controller.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!target) throw_errno("open", name);
  UniqueFd mount;
  if (private_cgroup_namespace(plan)) {
    MountOptions one;
    one.set = options.set;
    if (dir.controller == "systemd") {
      one.data = {{"none", std::nullopt}, {"name", "systemd"}};
    } else if (dir.controller != "unified") {
      for (std::size_t start = 0; start < dir.controller.size();) {
        auto end = std::min(dir.controller.find(',', start), dir.controller.size());
        one.data.emplace_back(dir.controller.substr(start, end - start), std::nullopt);
        start = end + 1;
      }
    }
    mount = new_mount(dir.controller == "unified" ? "cgroup2" : "cgroup", "cgroup", one, name);
  } else {
    mount = clone_mount(AT_FDCWD, dir.path, true);
    set_mount_attributes(mount.get(), options.set, 0, 0, true, name);
  }
  attach_mount(mount.get(), target.get(), name);
}

}  // namespace

void mount_cgroups(int root, const Plan& plan, const MountSpec& entry) {
  MountOptions options = parse_mount_options(entry.options);
  // Options such as a list of controllers are for mount(8); which hierarchies there are is the host's affair.
  options.data.clear();
  if constexpr (kNaive) options.set &= ~static_cast<std::uint64_t>(MOUNT_ATTR_RDONLY);
  UniqueFd target = open_or_create_in_root(root, entry.destination, Kind::kDirectory);
  if (plan.cgroup_v2) {
    mount_v2(target.get(), plan, entry, options);
  } else {
    MountOptions tmpfs_options;
    tmpfs_options.set = options.set & ~static_cast<std::uint64_t>(MOUNT_ATTR_RDONLY);
    tmpfs_options.data = {{"mode", "755"}};
    if (!plan.spec.mount_label.empty()) tmpfs_options.data.emplace_back("context", plan.spec.mount_label);
    UniqueFd tmpfs = new_mount("tmpfs", "tmpfs", tmpfs_options, entry.destination);
    attach_mount(tmpfs.get(), target.get(), entry.destination);
    for (const auto& dir : plan.cgroups) mount_hierarchy(tmpfs.get(), plan, dir, entry, options);
    // "cpu" finds its way to a joint "cpu,cpuacct".
    for (const auto& dir : plan.cgroups) {
      if (dir.controller.find(',') == std::string::npos) continue;
      for (std::size_t start = 0; start < dir.controller.size();) {
        auto end = std::min(dir.controller.find(',', start), dir.controller.size());
        std::string one = dir.controller.substr(start, end - start);
        if (::symlinkat(dir.controller.c_str(), tmpfs.get(), one.c_str()) != 0 && errno != EEXIST) {
          throw_errno("symlink", entry.destination + "/" + one);
        }
        start = end + 1;
      }
    }
    set_mount_attributes(tmpfs.get(), options.set & MOUNT_ATTR_RDONLY, 0, 0, false, entry.destination);
  }
  for (const auto& [flag, tree] : options.propagation) {
    UniqueFd mounted = open_in_root(root, entry.destination);
    set_mount_attributes(mounted.get(), 0, 0, flag, tree, entry.destination);
  }
}

}  // namespace gantry::runtime
