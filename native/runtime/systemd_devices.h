#pragma once

#include <string>
#include <utility>
#include <vector>

#include "resources.h"

namespace gantry::runtime {

/// Which devices systemd is to allow a unit, on cgroup v1: it writes its own list again whenever it reads its units
/// anew, and without one that is "all".
struct SystemdDevices {
  /// DevicePolicy: "strict", or "auto" where everything is allowed.
  std::string policy;
  /// DeviceAllow: what, and how ("rwm").
  std::vector<std::pair<std::string, std::string>> allow;
};

/// Of a container's list. systemd has only things that are allowed, so what the list takes away again from something
/// wider stays allowed there. `drivers` is the text of /proc/devices: by their names systemd knows all devices of one.
SystemdDevices systemd_devices(const std::vector<DeviceRule>& rules, const std::string& drivers);

}  // namespace gantry::runtime
