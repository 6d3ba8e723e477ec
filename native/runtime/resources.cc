#include "resources.h"

namespace gantry::runtime {
namespace {

std::vector<BlkioDevice> blkio_devices(const Json& list) {
  std::vector<BlkioDevice> all;
  list.each([&](const Json& device) {
    all.push_back({device["major"].int64(), device["minor"].int64(), device["rate"].uint64()});
  });
  return all;
}

DeviceRule device_rule(const Json& json) {
  DeviceRule rule;
  rule.allow = json["allow"].boolean_or(false);
  std::string type = json["type"].string_or("a");
  if (type.empty()) type = "a";
  if (type == "u") type = "c";
  if (type != "a" && type != "b" && type != "c") json["type"].refuse("one of a, b, c");
  rule.type = type[0];
  // Docker writes -1 for "all" in some versions.
  auto number = [](const Json& value) -> std::optional<std::int64_t> {
    auto got = value.int64_if();
    if (got && *got == -1) return std::nullopt;
    if (got && (*got < 0 || *got > 0xffffffffLL)) value.refuse("a device number");
    return got;
  };
  rule.major = number(json["major"]);
  rule.minor = number(json["minor"]);
  rule.access = json["access"].string_or("");
  if (rule.access.empty()) rule.access = "rwm";
  if (rule.access.find_first_not_of("rwm") != std::string::npos) json["access"].refuse("some of r, w, m");
  return rule;
}

}  // namespace

Resources parse_resources(const Json& json) {
  Resources r;
  auto memory = json["memory"];
  r.memory_limit = memory["limit"].int64_if();
  r.memory_reservation = memory["reservation"].int64_if();
  r.memory_swap = memory["swap"].int64_if();
  r.memory_kernel = memory["kernel"].int64_if();
  r.memory_kernel_tcp = memory["kernelTCP"].int64_if();
  r.memory_swappiness = memory["swappiness"].uint64_if();
  if (memory["disableOOMKiller"].present()) r.memory_disable_oom_killer = memory["disableOOMKiller"].boolean();
  if (memory["useHierarchy"].present()) r.memory_use_hierarchy = memory["useHierarchy"].boolean();
  if (memory["checkBeforeUpdate"].present()) r.memory_check_before_update = memory["checkBeforeUpdate"].boolean();

  auto cpu = json["cpu"];
  r.cpu_shares = cpu["shares"].uint64_if();
  r.cpu_quota = cpu["quota"].int64_if();
  r.cpu_period = cpu["period"].uint64_if();
  r.cpu_burst = cpu["burst"].uint64_if();
  r.cpu_realtime_runtime = cpu["realtimeRuntime"].int64_if();
  r.cpu_realtime_period = cpu["realtimePeriod"].uint64_if();
  r.cpu_idle = cpu["idle"].int64_if();
  r.cpuset_cpus = cpu["cpus"].string_or("");
  r.cpuset_mems = cpu["mems"].string_or("");

  r.pids_limit = json["pids"]["limit"].int64_if();

  auto blkio = json["blockIO"];
  r.blkio_weight = blkio["weight"].uint64_if();
  r.blkio_leaf_weight = blkio["leafWeight"].uint64_if();
  blkio["weightDevice"].each([&](const Json& device) {
    r.blkio_weight_device.push_back({device["major"].int64(), device["minor"].int64(), device["weight"].uint64_if(),
                                     device["leafWeight"].uint64_if()});
  });
  r.read_bps = blkio_devices(blkio["throttleReadBpsDevice"]);
  r.write_bps = blkio_devices(blkio["throttleWriteBpsDevice"]);
  r.read_iops = blkio_devices(blkio["throttleReadIOPSDevice"]);
  r.write_iops = blkio_devices(blkio["throttleWriteIOPSDevice"]);

  json["hugepageLimits"].each(
      [&](const Json& limit) { r.hugepage_limits.emplace_back(limit["pageSize"].string(), limit["limit"].uint64()); });
  r.network_class_id = json["network"]["classID"].uint32_if();
  json["network"]["priorities"].each([&](const Json& priority) {
    r.network_priorities.emplace_back(priority["name"].string(), priority["priority"].uint32());
  });
  json["rdma"].each_member([&](const std::string& device, const Json& limits) {
    r.rdma.push_back({device, limits["hcaHandles"].uint32_if(), limits["hcaObjects"].uint32_if()});
  });
  r.unified = json["unified"].string_map();
  json["devices"].each([&](const Json& rule) { r.devices.push_back(device_rule(rule)); });
  return r;
}

}  // namespace gantry::runtime
