#pragma once

#include <signal.h>

#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "gantry/fd.h"
#include "resources.h"

namespace gantry::runtime {

/// One hierarchy's directory of a container.
struct CgroupDir {
  /// v1: "memory", "cpu,cpuacct", "systemd"; "unified" for the v2 hierarchy.
  std::string controller;
  std::string path;
};

/// The cgroups of one container in every hierarchy of the host: v1, hybrid (v1 controllers beside an empty v2 tree) or
/// v2.
class Cgroups {
 public:
  /// Where they are for `cgroups_path` (OCI linux.cgroupsPath) of container `id`. Makes nothing. An absolute path
  /// counts from the root of each hierarchy, a relative one from our own cgroup, as with runc's cgroupfs driver.
  static Cgroups locate(const std::string& cgroups_path, const std::string& id);
  /// Those recorded in a container's state.
  explicit Cgroups(std::vector<CgroupDir> dirs, bool v2) : dirs_(std::move(dirs)), v2_(v2) {}
  Cgroups() = default;

  const std::vector<CgroupDir>& dirs() const { return dirs_; }
  /// Only the v2 hierarchy exists.
  bool v2() const { return v2_; }
  bool empty() const { return dirs_.empty(); }
  /// Path of one v1 controller's or the "unified" directory; empty when the host has none.
  std::string path_of(const std::string& controller) const;
  /// The one whose processes are taken for the container's; empty when there is none.
  std::string process_dir() const;
  /// Cgroups below these, each of `wanted` being "[CONTROLLER,...:]PATH"; throws when one is not there.
  Cgroups below(const std::vector<std::string>& wanted) const;

  /// Throws when the container's cgroup is there already with processes in it: somebody else's.
  void refuse_if_used() const;
  /// Makes the directories. Throws as refuse_if_used() does; then those that it has made itself are gone again. With
  /// `forgiving` those that we have no right to make are left out from now on; with `inhabited` a process of ours is in
  /// one already.
  void create(bool forgiving, bool inhabited);
  /// Applies limits. Limits of CPU time are left for apply_cpu_quota.
  void apply(const Resources& resources) const;
  /// Limits of CPU time, apart, so that they do not slow a container's set-up.
  void apply_cpu_quota(const Resources& resources) const;

  /// Hands the v2 cgroup over to `uid`, who may then divide it up and move processes within it, but not change its own
  /// limits.
  void give_to(uid_t uid) const;

  /// v1 `tasks` files, open for writing. A single-threaded process that writes 0 there joins without the system-wide
  /// lock and the grace period that `cgroup.procs` costs.
  std::vector<UniqueFd> open_tasks() const;
  /// The v2 directory for CLONE_INTO_CGROUP; invalid when there is none.
  UniqueFd open_unified() const;

  /// Every process, nested cgroups included.
  std::vector<pid_t> processes() const;
  /// SIGKILL to all, until none is left or `limit` has passed; false then.
  bool kill_all(std::chrono::milliseconds limit) const;
  void signal_all(int signal) const;
  void freeze(bool frozen) const;
  bool frozen() const;
  /// Removes the directories with those below them. Forgives what is gone.
  void remove() const;

 private:
  bool used(const std::string& dir) const;
  void create_v1(const CgroupDir& dir, bool inhabited) const;
  void create_v2(const CgroupDir& dir, bool inhabited) const;
  void apply_v1(const Resources& resources) const;
  void apply_v2(const Resources& resources) const;

  std::vector<CgroupDir> dirs_;
  bool v2_ = false;
};

/// Device rules that every container needs whatever its list says: making any node, and the usual null, zero, full,
/// random, urandom, tty, console, ptmx and pseudo terminals.
const std::vector<DeviceRule>& implied_device_rules();

/// Writes a whole value to a control file.
void write_control(const std::string& dir, const std::string& file, const std::string& value);
std::string read_control(const std::string& dir, const std::string& file);
bool has_control(const std::string& dir, const std::string& file);

/// Sizes of huge pages that this host has, as controllers name them ("2MB", "1GB").
std::vector<std::string> hugepage_sizes();

/// Without empty, "." and ".." parts, so that it stays in the hierarchy: "" or "/a/b".
std::string clean_cgroup_path(const std::string& path);

/// Limits of the block device kind as "MAJOR:MINOR VALUE".
std::string device_value(std::int64_t major, std::int64_t minor, const std::string& value);

/// cpu.shares 2..262144 to cpu.weight 1..10000.
std::uint64_t cpu_weight(std::uint64_t shares);
/// blkio weight 10..1000 to io.weight 1..10000.
std::uint64_t io_weight(std::uint64_t weight);
/// memory.swap.max out of OCI's swap, which is memory and swap together. Throws InvalidInput when it is below `memory`.
std::string swap_max(std::int64_t swap, std::int64_t memory);

}  // namespace gantry::runtime
