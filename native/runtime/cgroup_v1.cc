#include <fcntl.h>
#include <unistd.h>

#include "cgroup.h"
#include "gantry/error.h"
#include "naive.h"

namespace gantry::runtime {
namespace {

std::string device_rule_text(const DeviceRule& rule) {
  if (rule.type == 'a' && !rule.major && !rule.minor) return "a";
  auto number = [](const std::optional<std::int64_t>& n) { return n ? std::to_string(*n) : std::string("*"); };
  return std::string(1, rule.type) + " " + number(rule.major) + ":" + number(rule.minor) + " " + rule.access;
}

void apply_memory(const std::string& dir, const Resources& r) {
  auto set = [&](const char* file, const std::optional<std::int64_t>& value) {
    if (value && *value != 0) write_control(dir, file, std::to_string(*value));
  };
  const char* limit = "memory.limit_in_bytes";
  const char* swap = "memory.memsw.limit_in_bytes";
  bool has_swap = has_control(dir, swap);
  bool wants_swap = r.memory_swap && *r.memory_swap != 0;
  if (wants_swap && *r.memory_swap != -1 && !has_swap) {
    throw SysError(ENOENT, "set memory and swap limit: the kernel has no swap accounting:", dir + "/" + swap);
  }
  if (r.memory_use_hierarchy && has_control(dir, "memory.use_hierarchy")) {
    std::string wanted = *r.memory_use_hierarchy ? "1" : "0";
    // Kernels of today know nothing else than 1.
    if (read_control(dir, "memory.use_hierarchy") != wanted) write_control(dir, "memory.use_hierarchy", wanted);
  }
  if (r.memory_check_before_update && *r.memory_check_before_update && r.memory_limit && *r.memory_limit > 0 &&
      std::stoull(read_control(dir, "memory.usage_in_bytes")) > static_cast<std::uint64_t>(*r.memory_limit)) {
    throw InvalidInput("rejecting memory limit " + std::to_string(*r.memory_limit) + ": usage in " + dir +
                       " is above it");
  }
  // The kernel keeps memory <= memory + swap at every moment, so the order depends on which way they move.
  bool swap_first = false;
  if (wants_swap && has_swap && r.memory_limit && *r.memory_limit != 0) {
    std::uint64_t current = std::stoull(read_control(dir, swap));
    swap_first = *r.memory_swap == -1 || current < static_cast<std::uint64_t>(*r.memory_swap);
  }
  if (has_swap && swap_first) set(swap, r.memory_swap);
  if (has_swap && !wants_swap && r.memory_limit && *r.memory_limit == -1) write_control(dir, swap, "-1");
  try {
    set(limit, r.memory_limit);
  } catch (const SysError& e) {
    if (e.err() != EBUSY) throw;
    throw InvalidInput("unable to set memory limit to " + std::to_string(*r.memory_limit) +
                       " (current usage: " + read_control(dir, "memory.usage_in_bytes") +
                       ", peak usage: " + read_control(dir, "memory.max_usage_in_bytes") + ")");
  }
  if (has_swap && !swap_first) set(swap, r.memory_swap);
  set("memory.soft_limit_in_bytes", r.memory_reservation);
  if (has_control(dir, "memory.kmem.limit_in_bytes") && r.memory_kernel && *r.memory_kernel > 0) {
    // Answered with an error by kernels that have given it up; runc ignores the setting altogether.
    try {
      set("memory.kmem.limit_in_bytes", r.memory_kernel);
    } catch (const SysError& e) {
      if (e.err() != EOPNOTSUPP) throw;
    }
  }
  if (r.memory_kernel_tcp && *r.memory_kernel_tcp > 0) set("memory.kmem.tcp.limit_in_bytes", r.memory_kernel_tcp);
  if (r.memory_disable_oom_killer && *r.memory_disable_oom_killer) write_control(dir, "memory.oom_control", "1");
  if (r.memory_swappiness) {
    if (*r.memory_swappiness > 100) throw InvalidInput("invalid memory swappiness value: use 0 to 100");
    write_control(dir, "memory.swappiness", std::to_string(*r.memory_swappiness));
  }
}

void apply_blkio(const std::string& dir, const Resources& r) {
  // BFQ took the weights over from CFQ and named them after itself.
  std::string prefix = has_control(dir, "blkio.weight") ? "blkio." : "blkio.bfq.";
  if (r.blkio_weight && *r.blkio_weight) write_control(dir, prefix + "weight", std::to_string(*r.blkio_weight));
  if (r.blkio_leaf_weight && *r.blkio_leaf_weight) {
    write_control(dir, "blkio.leaf_weight", std::to_string(*r.blkio_leaf_weight));
  }
  for (const auto& d : r.blkio_weight_device) {
    if (d.weight)
      write_control(dir, prefix + "weight_device", device_value(d.major, d.minor, std::to_string(*d.weight)));
    if (d.leaf_weight) {
      write_control(dir, "blkio.leaf_weight_device", device_value(d.major, d.minor, std::to_string(*d.leaf_weight)));
    }
  }
  auto throttle = [&](const char* file, const std::vector<BlkioDevice>& devices) {
    for (const auto& d : devices) write_control(dir, file, device_value(d.major, d.minor, std::to_string(d.value)));
  };
  throttle("blkio.throttle.read_bps_device", r.read_bps);
  throttle("blkio.throttle.write_bps_device", r.write_bps);
  throttle("blkio.throttle.read_iops_device", r.read_iops);
  throttle("blkio.throttle.write_iops_device", r.write_iops);
}

void apply_devices(const std::string& dir, const std::vector<DeviceRule>& rules) {
  if (kNaive || rules.empty()) return;
  // Some twenty rules go to two files, in their order.
  std::string allow = dir + "/devices.allow", deny = dir + "/devices.deny";
  UniqueFd allowing(::open(allow.c_str(), O_WRONLY | O_CLOEXEC)), denying(::open(deny.c_str(), O_WRONLY | O_CLOEXEC));
  if (!allowing) throw_errno("open", allow);
  if (!denying) throw_errno("open", deny);
  auto write = [&](const DeviceRule& rule) {
    std::string text = device_rule_text(rule);
    while (::write((rule.allow ? allowing : denying).get(), text.data(), text.size()) < 0) {
      if (errno != EINTR) throw_errno("write \"" + text + "\" to", rule.allow ? allow : deny);
    }
  };
  for (const auto& rule : rules) write(rule);
  for (const auto& rule : implied_device_rules()) write(rule);
}

}  // namespace

void Cgroups::apply_v1(const Resources& r) const {
  // A limit that this host cannot keep is an error rather than a surprise later.
  auto need = [&](const char* controller) {
    std::string dir = path_of(controller);
    if (dir.empty()) {
      throw InvalidInput(std::string("this host has no cgroup controller ") + controller +
                         ", or we have no right to it");
    }
    return dir;
  };
  auto positive = [](const auto& value) { return value && *value != 0; };

  if (positive(r.memory_limit) || positive(r.memory_swap) || positive(r.memory_reservation) ||
      positive(r.memory_kernel) || positive(r.memory_kernel_tcp) || r.memory_swappiness || r.memory_use_hierarchy ||
      (r.memory_disable_oom_killer && *r.memory_disable_oom_killer)) {
    apply_memory(need("memory"), r);
  }
  if (positive(r.cpu_shares)) {
    std::string dir = need("cpu");
    write_control(dir, "cpu.shares", std::to_string(*r.cpu_shares));
    // The kernel clamps silently; say so as runc does.
    auto now = std::stoull(read_control(dir, "cpu.shares"));
    if (*r.cpu_shares > now) throw InvalidInput("the maximum allowed cpu-shares is " + std::to_string(now));
    if (*r.cpu_shares < now) throw InvalidInput("the minimum allowed cpu-shares is " + std::to_string(now));
  }
  if (r.cpu_idle) write_control(need("cpu"), "cpu.idle", std::to_string(*r.cpu_idle));
  if (!r.cpuset_cpus.empty()) write_control(need("cpuset"), "cpuset.cpus", r.cpuset_cpus);
  if (!r.cpuset_mems.empty()) write_control(need("cpuset"), "cpuset.mems", r.cpuset_mems);
  if (positive(r.pids_limit)) {
    write_control(need("pids"), "pids.max", *r.pids_limit < 0 ? "max" : std::to_string(*r.pids_limit));
  }
  if (positive(r.blkio_weight) || positive(r.blkio_leaf_weight) || !r.blkio_weight_device.empty() ||
      !r.read_bps.empty() || !r.write_bps.empty() || !r.read_iops.empty() || !r.write_iops.empty()) {
    apply_blkio(need("blkio"), r);
  }
  for (const auto& [size, limit] : r.hugepage_limits) {
    std::string dir = need("hugetlb");
    write_control(dir, "hugetlb." + size + ".limit_in_bytes", std::to_string(limit));
    std::string reserved = "hugetlb." + size + ".rsvd.limit_in_bytes";
    if (has_control(dir, reserved)) write_control(dir, reserved, std::to_string(limit));
  }
  if (positive(r.network_class_id))
    write_control(need("net_cls"), "net_cls.classid", std::to_string(*r.network_class_id));
  for (const auto& [name, priority] : r.network_priorities) {
    write_control(need("net_prio"), "net_prio.ifpriomap", name + " " + std::to_string(priority));
  }
  for (const auto& device : r.rdma) {
    std::string line = device.device;
    if (device.hca_handles) line += " hca_handle=" + std::to_string(*device.hca_handles);
    if (device.hca_objects) line += " hca_object=" + std::to_string(*device.hca_objects);
    write_control(need("rdma"), "rdma.max", line);
  }
  if (!r.unified.empty()) throw InvalidInput("linux.resources.unified needs a host with cgroup v2");
  if (!r.devices.empty()) apply_devices(need("devices"), r.devices);
}

void Cgroups::apply_cpu_quota(const Resources& r) const {
  auto positive = [](const auto& value) { return value && *value != 0; };
  bool wanted = positive(r.cpu_quota) || positive(r.cpu_period) || r.cpu_burst || positive(r.cpu_realtime_period) ||
                positive(r.cpu_realtime_runtime);
  if (!wanted) return;
  std::string dir = path_of(v2_ ? "unified" : "cpu");
  if (dir.empty()) throw InvalidInput("this host has no cgroup controller cpu");
  if (v2_) {
    if (r.cpu_quota || r.cpu_period) {
      // "QUOTA PERIOD" in one file: what is not asked for stays as it is.
      std::string now = read_control(dir, "cpu.max");
      std::string quota = now.substr(0, now.find(' ')), period = now.substr(now.find(' ') + 1);
      if (positive(r.cpu_quota)) quota = *r.cpu_quota > 0 ? std::to_string(*r.cpu_quota) : "max";
      if (positive(r.cpu_period)) period = std::to_string(*r.cpu_period);
      write_control(dir, "cpu.max", quota + " " + period);
    }
    if (r.cpu_burst) write_control(dir, "cpu.max.burst", std::to_string(*r.cpu_burst));
    return;
  }
  if (positive(r.cpu_realtime_period)) write_control(dir, "cpu.rt_period_us", std::to_string(*r.cpu_realtime_period));
  if (positive(r.cpu_realtime_runtime)) {
    write_control(dir, "cpu.rt_runtime_us", std::to_string(*r.cpu_realtime_runtime));
  }
  // A new period may be refused against the old quota, then it fits after the quota.
  bool period_later = false;
  if (positive(r.cpu_period)) {
    try {
      write_control(dir, "cpu.cfs_period_us", std::to_string(*r.cpu_period));
    } catch (const SysError& e) {
      if (e.err() != EINVAL || !positive(r.cpu_quota)) throw;
      period_later = true;
    }
  }
  if (positive(r.cpu_quota)) write_control(dir, "cpu.cfs_quota_us", std::to_string(*r.cpu_quota));
  if (period_later) write_control(dir, "cpu.cfs_period_us", std::to_string(*r.cpu_period));
  if (r.cpu_burst) write_control(dir, "cpu.cfs_burst_us", std::to_string(*r.cpu_burst));
}

}  // namespace gantry::runtime
