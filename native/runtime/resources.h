#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "json.h"

namespace gantry::runtime {

/// One line of linux.resources.devices. Absent numbers match all.
struct DeviceRule {
  bool allow = false;
  /// 'a', 'b' or 'c'.
  char type = 'a';
  std::optional<std::int64_t> major, minor;
  /// Some of "rwm".
  std::string access;
};

struct BlkioDevice {
  std::int64_t major = 0, minor = 0;
  std::uint64_t value = 0;
};

struct BlkioWeight {
  std::int64_t major = 0, minor = 0;
  std::optional<std::uint64_t> weight, leaf_weight;
};

/// linux.resources of the OCI specification. Absent means: leave as it is.
struct Resources {
  std::optional<std::int64_t> memory_limit, memory_reservation, memory_swap, memory_kernel, memory_kernel_tcp;
  std::optional<std::uint64_t> memory_swappiness;
  std::optional<bool> memory_disable_oom_killer, memory_use_hierarchy, memory_check_before_update;

  std::optional<std::uint64_t> cpu_shares, cpu_period, cpu_realtime_period, cpu_burst;
  std::optional<std::int64_t> cpu_quota, cpu_realtime_runtime, cpu_idle;
  std::string cpuset_cpus, cpuset_mems;

  std::optional<std::int64_t> pids_limit;

  std::optional<std::uint64_t> blkio_weight, blkio_leaf_weight;
  std::vector<BlkioWeight> blkio_weight_device;
  std::vector<BlkioDevice> read_bps, write_bps, read_iops, write_iops;

  /// Page size such as "2MB", bytes.
  std::vector<std::pair<std::string, std::uint64_t>> hugepage_limits;
  std::optional<std::uint32_t> network_class_id;
  std::vector<std::pair<std::string, std::uint32_t>> network_priorities;
  struct Rdma {
    std::string device;
    std::optional<std::uint32_t> hca_handles, hca_objects;
  };
  std::vector<Rdma> rdma;
  std::vector<std::pair<std::string, std::string>> unified;
  std::vector<DeviceRule> devices;
};

/// Throws InvalidInput naming the field.
Resources parse_resources(const Json& json);

}  // namespace gantry::runtime
