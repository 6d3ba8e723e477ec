#include "systemd_devices.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "cgroup.h"

namespace gantry::runtime {
namespace {

/// Name of the driver that has a major number, from the section of /proc/devices for its kind.
std::optional<std::string> driver_of(char type, std::int64_t major, const std::string& drivers) {
  bool section = false;
  for (std::size_t start = 0; start < drivers.size();) {
    auto end = std::min(drivers.find('\n', start), drivers.size());
    std::string line = drivers.substr(start, end - start);
    start = end + 1;
    if (line.find("devices:") != std::string::npos) section = line[0] == (type == 'c' ? 'C' : 'B');
    auto digits = line.find_first_not_of(' ');
    if (!section || digits == std::string::npos) continue;
    std::int64_t number = -1;
    auto [rest, err] = std::from_chars(line.data() + digits, line.data() + line.size(), number);
    if (err == std::errc() && number == major && *rest == ' ') return std::string(rest + 1);
  }
  return std::nullopt;
}

/// What systemd calls the devices of a rule; nothing where no driver has them, so that nobody can open them either.
std::optional<std::string> specifier(char type, const DeviceRule& rule, const std::string& drivers) {
  std::string kind = type == 'c' ? "char" : "block";
  if (!rule.major) return kind + "-*";
  if (rule.minor) return "/dev/" + kind + "/" + std::to_string(*rule.major) + ":" + std::to_string(*rule.minor);
  auto driver = driver_of(type, *rule.major, drivers);
  if (!driver) return std::nullopt;
  return kind + "-" + *driver;
}

}  // namespace

SystemdDevices systemd_devices(const std::vector<DeviceRule>& rules, const std::string& drivers) {
  SystemdDevices devices{"strict", {}};
  auto add = [&](char type, const DeviceRule& rule) {
    if (auto name = specifier(type, rule, drivers)) devices.allow.emplace_back(*name, rule.access);
  };
  for (const auto& rule : rules) {
    bool all = rule.type == 'a' && !rule.major && !rule.minor;
    if (all && rule.access.size() == 3) {
      devices = {rule.allow ? "auto" : "strict", {}};
    } else if (rule.allow && devices.policy == "strict") {
      if (rule.type != 'b') add('c', rule);
      if (rule.type != 'c') add('b', rule);
    }
  }
  if (devices.policy == "auto") return devices;
  for (const auto& rule : implied_device_rules()) add(rule.type, rule);
  return devices;
}

}  // namespace gantry::runtime
