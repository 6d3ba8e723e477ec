#pragma once

#include <sys/types.h>

#include <string>
#include <utility>
#include <vector>

#include "resources.h"

namespace gantry::runtime {

/// A container's cgroup as a unit of systemd: a scope that is delegated to us, or a slice.
struct SystemdUnit {
  /// "prefix-name.scope", or "name.slice".
  std::string name;
  /// The slice that it is in: "system.slice".
  std::string slice;
  /// Asked of the user's own instance rather than the system's.
  bool user = false;

  /// Its cgroup, below that of the instance: "/system.slice/prefix-name.scope".
  std::string cgroup_path() const;
};

/// Reads cgroupsPath "slice:prefix:name"; an empty one is that of the instance's default slice and the container's id.
/// Throws InvalidInput naming what is wrong.
SystemdUnit parse_systemd_unit(const std::string& cgroups_path, const std::string& id, bool user);

/// Where the instance itself is in the hierarchy: "" for the system's.
std::string systemd_base(const SystemdUnit& unit);

/// Makes the unit with process `pid` in it and waits until it is there. `annotations` may set properties by
/// org.systemd.property.NAME.
void start_unit(const SystemdUnit& unit, const std::string& id, pid_t pid, const Resources& resources,
                const std::vector<std::pair<std::string, std::string>>& annotations, bool v2);

/// Tells systemd of changed limits, so that it does not put back the old ones.
void update_unit(const SystemdUnit& unit, const Resources& resources, bool v2);

/// Stops the unit. Forgives one that is gone.
void stop_unit(const SystemdUnit& unit);

}  // namespace gantry::runtime
