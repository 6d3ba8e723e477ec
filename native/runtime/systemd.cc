#include "systemd.h"

#include <stdlib.h>
#include <unistd.h>

#include <charconv>

#include "cgroup.h"
#include "dbus.h"
#include "gantry/error.h"
#include "spec.h"
#include "systemd_devices.h"

namespace gantry::runtime {
namespace {

constexpr char kManagerPath[] = "/org/freedesktop/systemd1";
constexpr char kManager[] = "org.freedesktop.systemd1.Manager";
constexpr std::string_view kPropertyPrefix = "org.systemd.property.";
constexpr std::uint64_t kUnlimited = ~std::uint64_t{0};

bool ends_with(std::string_view text, std::string_view end) {
  return text.size() >= end.size() && text.substr(text.size() - end.size()) == end;
}

/// Path of a bus out of an address such as "unix:path=/run/bus,guid=1;tcp:...".
std::string path_in_address(const std::string& address) {
  constexpr std::string_view kWord = "unix:path=";
  auto at = address.find(kWord);
  if (at == std::string::npos) throw InvalidInput("D-Bus address " + address + " is not of a socket with a path");
  auto start = at + kWord.size();
  return address.substr(start, address.find_first_of(",;", start) - start);
}

DBus connect(const SystemdUnit& unit) {
  if (unit.user) {
    if (const char* address = ::getenv("DBUS_SESSION_BUS_ADDRESS")) return DBus(path_in_address(address), true);
    const char* runtime = ::getenv("XDG_RUNTIME_DIR");
    if (!runtime) throw InvalidInput("the user's systemd is not reached: XDG_RUNTIME_DIR is not set");
    return DBus(std::string(runtime) + "/bus", true);
  }
  if (const char* address = ::getenv("DBUS_SYSTEM_BUS_ADDRESS")) return DBus(path_in_address(address), true);
  // Root needs no bus to speak with systemd.
  if (::access("/run/systemd/private", F_OK) == 0) return DBus("/run/systemd/private", false);
  return DBus("/run/dbus/system_bus_socket", true);
}

void limit_properties(DBusBody& body, const Resources& r, bool v2) {
  auto positive = [](const auto& value) { return value && *value > 0; };
  auto limit = [](std::int64_t value) { return value < 0 ? kUnlimited : static_cast<std::uint64_t>(value); };
  if (r.memory_limit && *r.memory_limit != 0) {
    body.property(v2 ? "MemoryMax" : "MemoryLimit", limit(*r.memory_limit));
  }
  if (v2 && r.memory_reservation && *r.memory_reservation != 0) {
    body.property("MemoryLow", limit(*r.memory_reservation));
  }
  if (v2 && r.memory_swap && *r.memory_swap != 0 && (*r.memory_swap < 0 || positive(r.memory_limit))) {
    std::string swap = swap_max(*r.memory_swap, r.memory_limit.value_or(0));
    body.property("MemorySwapMax", swap == "max" ? kUnlimited : std::uint64_t{std::stoull(swap)});
  }
  if (positive(r.cpu_shares)) {
    v2 ? body.property("CPUWeight", cpu_weight(*r.cpu_shares)) : body.property("CPUShares", *r.cpu_shares);
  }
  if (r.cpu_quota && *r.cpu_quota != 0) {
    std::uint64_t period = positive(r.cpu_period) ? *r.cpu_period : 100000;
    std::uint64_t per_second = kUnlimited;
    if (*r.cpu_quota > 0) {
      per_second = static_cast<std::uint64_t>(*r.cpu_quota) * 1000000 / period;
      // systemd keeps whole hundredths of a processor.
      if (per_second % 10000) per_second = (per_second / 10000 + 1) * 10000;
    }
    body.property("CPUQuotaPerSecUSec", per_second);
    body.property("CPUQuotaPeriodUSec", period);
  }
  if (r.pids_limit && *r.pids_limit != 0) body.property("TasksMax", limit(*r.pids_limit));
}

/// On v2 our own program for devices stands beside systemd's, and stays.
void device_properties(DBusBody& body, const Resources& r, bool v2) {
  if (v2 || r.devices.empty()) return;
  SystemdDevices devices = systemd_devices(r.devices, read_file("/proc/devices"));
  body.property("DevicePolicy", devices.policy);
  // An empty list takes away what was there before.
  body.property("DeviceAllow", std::vector<std::pair<std::string, std::string>>{});
  if (!devices.allow.empty()) body.property("DeviceAllow", devices.allow);
}

/// A property of an annotation, written as GVariant's text form has strings, booleans and numbers.
void annotated_property(DBusBody& body, std::string name, const std::string& text) {
  auto fail = [&]() {
    throw InvalidInput("annotation " + std::string(kPropertyPrefix) + name + ": cannot read the value " + text);
  };
  if (text.size() >= 2 && (text[0] == '\'' || text[0] == '"') && text.back() == text[0]) {
    return body.property(name, text.substr(1, text.size() - 2));
  }
  if (text == "true" || text == "false") return body.property(name, text == "true");
  std::string type = "int32", digits = text;
  if (auto space = text.find(' '); space != std::string::npos) {
    type = text.substr(0, space);
    digits = text.substr(space + 1);
  }
  std::int64_t n = 0;
  auto [end, err] = std::from_chars(digits.data(), digits.data() + digits.size(), n);
  if (err != std::errc() || end != digits.data() + digits.size()) fail();
  // What people write in seconds systemd takes in microseconds, under another name.
  if (ends_with(name, "Sec") && !ends_with(name, "USec") && n >= 0) {
    name.replace(name.size() - 3, 3, "USec");
    return body.property(name, static_cast<std::uint64_t>(n) * 1000000);
  }
  if (type == "uint64" && n >= 0) return body.property(name, static_cast<std::uint64_t>(n));
  if (type == "uint32" && n >= 0 && n <= 0xffffffff) return body.property32(name, static_cast<std::uint32_t>(n));
  if (type == "int32" && n >= INT32_MIN && n <= INT32_MAX) {
    return body.property_signed32(name, static_cast<std::int32_t>(n));
  }
  fail();
}

}  // namespace

std::string SystemdUnit::cgroup_path() const {
  std::string path;
  // "a-b.slice" is in "a.slice".
  if (slice != "-.slice") {
    std::string stem = slice.substr(0, slice.size() - 6);
    for (std::size_t dash = stem.find('-');; dash = stem.find('-', dash + 1)) {
      path += "/" + stem.substr(0, dash) + ".slice";
      if (dash == std::string::npos) break;
    }
  }
  return path + "/" + name;
}

SystemdUnit parse_systemd_unit(const std::string& cgroups_path, const std::string& id, bool user) {
  SystemdUnit unit;
  unit.user = user;
  std::string slice = user ? "user.slice" : "system.slice", prefix = "gantry", name = id;
  if (!cgroups_path.empty()) {
    auto first = cgroups_path.find(':');
    auto second = first == std::string::npos ? first : cgroups_path.find(':', first + 1);
    if (second == std::string::npos || cgroups_path.find(':', second + 1) != std::string::npos) {
      throw InvalidInput("expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got \"" +
                         cgroups_path + "\" instead");
    }
    if (first > 0) slice = cgroups_path.substr(0, first);
    prefix = cgroups_path.substr(first + 1, second - first - 1);
    name = cgroups_path.substr(second + 1);
  }
  bool plain = ends_with(slice, ".slice") && slice.find('/') == std::string::npos &&
               (slice == "-.slice" || (slice[0] != '-' && slice.size() > 6 && slice[slice.size() - 7] != '-' &&
                                       slice.find("--") == std::string::npos));
  if (!plain) throw InvalidInput("invalid slice name: " + slice);
  if (name.empty() || name.find('/') != std::string::npos || prefix.find('/') != std::string::npos) {
    throw InvalidInput("invalid unit name: " + cgroups_path);
  }
  unit.slice = slice;
  unit.name = ends_with(name, ".slice") ? name : (prefix.empty() ? "" : prefix + "-") + name + ".scope";
  return unit;
}

std::string systemd_base(const SystemdUnit& unit) {
  if (!unit.user) return "";
  DBus bus = connect(unit);
  DBusBody body;
  body.string(kManager).string("ControlGroup");
  auto answer = bus.call(kManagerPath, "org.freedesktop.DBus.Properties", "Get", body).strings();
  if (answer.empty()) throw InvalidInput("systemd does not say which cgroup is its own");
  return answer.front();
}

void start_unit(const SystemdUnit& unit, const std::string& id, pid_t pid, const Resources& resources,
                const std::vector<std::pair<std::string, std::string>>& annotations, bool v2) {
  DBus bus = connect(unit);
  if (bus.bus()) {
    DBusBody match;
    match.string("type='signal',interface='org.freedesktop.systemd1.Manager',member='JobRemoved'");
    bus.call("/org/freedesktop/DBus", "org.freedesktop.DBus", "AddMatch", match, "org.freedesktop.DBus");
    bus.call(kManagerPath, kManager, "Subscribe", {});
  }
  bool scope = ends_with(unit.name, ".scope");
  DBusBody body;
  body.string(unit.name).string("replace");
  auto properties = body.begin_array("(sv)", 8);
  body.property("Description", "container " + id);
  if (!scope) {
    // A slice is where its name says.
    body.property("Wants", std::vector<std::string>{unit.slice});
  } else {
    body.property("Slice", unit.slice);
    body.property("Delegate", true);
    body.property("PIDs", std::vector<std::uint32_t>{static_cast<std::uint32_t>(pid)});
  }
  for (const char* name : {"MemoryAccounting", "CPUAccounting", "TasksAccounting"}) body.property(name, true);
  body.property(v2 ? "IOAccounting" : "BlockIOAccounting", true);
  // Nothing of the host's start-up or shut-down orders it.
  body.property("DefaultDependencies", false);
  limit_properties(body, resources, v2);
  if (!unit.user) device_properties(body, resources, v2);
  for (const auto& [name, value] : annotations) {
    if (name.rfind(kPropertyPrefix, 0) == 0) annotated_property(body, name.substr(kPropertyPrefix.size()), value);
  }
  body.end_array(properties);
  body.end_array(body.begin_array("(sa(sv))", 8));
  try {
    auto answer = bus.call(kManagerPath, kManager, "StartTransientUnit", body).strings();
    for (;;) {
      // Number, job, unit, result.
      auto removed = bus.await_signal("JobRemoved").strings();
      if (answer.empty() || removed.size() < 3 || removed[0] != answer.front()) continue;
      if (removed[2] == "done") return;
      throw InvalidInput("error creating systemd unit " + unit.name + ": got " + removed[2]);
    }
  } catch (const DBusError& e) {
    throw InvalidInput("error creating systemd unit " + unit.name + ": " + e.what());
  }
}

void update_unit(const SystemdUnit& unit, const Resources& resources, bool v2) {
  DBus bus = connect(unit);
  DBusBody body;
  body.string(unit.name).boolean(true);
  auto properties = body.begin_array("(sv)", 8);
  limit_properties(body, resources, v2);
  if (!unit.user) device_properties(body, resources, v2);
  body.end_array(properties);
  try {
    bus.call(kManagerPath, kManager, "SetUnitProperties", body);
  } catch (const DBusError& e) {
    throw InvalidInput("error setting properties of systemd unit " + unit.name + ": " + e.what());
  }
}

void stop_unit(const SystemdUnit& unit) {
  DBus bus = connect(unit);
  DBusBody stop, reset;
  stop.string(unit.name).string("replace");
  reset.string(unit.name);
  auto forgiving = [&](const char* member, const DBusBody& body) {
    try {
      bus.call(kManagerPath, kManager, member, body);
    } catch (const DBusError& e) {
      if (e.name() != "org.freedesktop.systemd1.NoSuchUnit") throw;
    }
  };
  forgiving("StopUnit", stop);
  // A unit whose processes were killed stays as failed until this.
  forgiving("ResetFailedUnit", reset);
}

}  // namespace gantry::runtime
