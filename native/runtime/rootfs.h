#pragma once

#include <vector>

#include "plan.h"

namespace gantry::runtime {

/// The container's root while it is being furnished, seen from init before pivot_root.
class Rootfs {
 public:
  /// Takes a new mount namespace out of the host's propagation and makes the root a mount of its own.
  static Rootfs prepare(const Plan& plan);

  int fd() const { return root_.get(); }
  void mount_all(const Plan& plan);
  void make_devices(const Plan& plan);
  void mask_and_protect(const Plan& plan);
  /// Makes it the root directory and drops the host's, unless the mount namespace is one that was joined.
  void pivot(const Plan& plan);
  /// After hooks: the root's own mount read-only, and its propagation.
  void finish(const Plan& plan);

 private:
  explicit Rootfs(UniqueFd root) : root_(std::move(root)) {}
  UniqueFd root_;
};

/// The devices that a container has: those that each has, and those of its configuration. None where its /dev is bound.
std::vector<DeviceSpec> devices_of(const Spec& spec);
/// Whether it is the host's node, bound: within a user namespace none can be made.
bool is_bound_device(const Spec& spec, const DeviceSpec& device);

/// Mounts the entry at `index` of the specification.
void mount_entry(int root, const Plan& plan, std::size_t index);
/// The cgroup file systems, for an entry of type cgroup.
void mount_cgroups(int root, const Plan& plan, const MountSpec& entry);

}  // namespace gantry::runtime
