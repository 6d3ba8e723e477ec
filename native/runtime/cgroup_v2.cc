#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>

#include "cgroup.h"
#include "device_filter.h"
#include "gantry/error.h"
#include "spec.h"

namespace gantry::runtime {
namespace {

const std::string kRoot = "/sys/fs/cgroup";

/// Lets the children of `dir` use every controller that it has itself. One that cannot be given on is left; a limit
/// that needs it will say so.
void enable_controllers(const std::string& dir) {
  std::string available = read_control(dir, "cgroup.controllers");
  std::string enabled = " " + read_control(dir, "cgroup.subtree_control") + " ";
  std::string all;
  std::vector<std::string> missing;
  for (std::size_t start = 0; start < available.size();) {
    auto end = std::min(available.find(' ', start), available.size());
    std::string name = available.substr(start, end - start);
    start = end + 1;
    if (name.empty() || enabled.find(" " + name + " ") != std::string::npos) continue;
    missing.push_back(name);
    all += (all.empty() ? "+" : " +") + name;
  }
  if (all.empty()) return;
  try {
    write_control(dir, "cgroup.subtree_control", all);
  } catch (const SysError&) {
    for (const auto& name : missing) {
      try {
        write_control(dir, "cgroup.subtree_control", "+" + name);
      } catch (const SysError&) {
      }
    }
  }
}

/// 0 for "max".
std::int64_t number_or_zero(const std::string& text) {
  std::int64_t number = 0;
  auto [end, err] = std::from_chars(text.data(), text.data() + text.size(), number);
  return err == std::errc() ? number : 0;
}

/// Settings of v1 that v2 has no place for. Passing them over would leave a container with less than its owner asked
/// for.
void refuse_v1_settings(const Resources& r) {
  auto refuse = [](const char* field) {
    throw InvalidInput(std::string("linux.resources.") + field + " cannot be set with cgroup v2");
  };
  auto positive = [](const auto& value) { return value && *value > 0; };
  if (positive(r.memory_kernel)) refuse("memory.kernel");
  if (positive(r.memory_kernel_tcp)) refuse("memory.kernelTCP");
  if (r.memory_swappiness) refuse("memory.swappiness");
  if (r.memory_disable_oom_killer && *r.memory_disable_oom_killer) refuse("memory.disableOOMKiller");
  if (positive(r.cpu_realtime_period)) refuse("cpu.realtimePeriod");
  if (r.cpu_realtime_runtime && *r.cpu_realtime_runtime != 0) refuse("cpu.realtimeRuntime");
  if (positive(r.blkio_leaf_weight)) refuse("blockIO.leafWeight");
  if (positive(r.network_class_id)) refuse("network.classID");
  if (!r.network_priorities.empty()) refuse("network.priorities");
}

/// A limit below what is in use makes the kernel kill processes until it fits.
void check_usage(const std::string& dir, const Resources& r) {
  if (!r.memory_check_before_update || !*r.memory_check_before_update) return;
  auto below = [&](std::int64_t limit, const char* file) {
    return limit > 0 && has_control(dir, file) && number_or_zero(read_control(dir, file)) > limit;
  };
  if (r.memory_limit && below(*r.memory_limit, "memory.current")) {
    throw InvalidInput("rejecting memory limit " + std::to_string(*r.memory_limit) + ": memory.current of " + dir +
                       " is above it");
  }
  if (r.memory_swap && r.memory_limit && *r.memory_swap > 0 &&
      below(*r.memory_swap - *r.memory_limit, "memory.swap.current")) {
    throw InvalidInput("rejecting memory+swap limit " + std::to_string(*r.memory_swap) + ": memory.swap.current of " +
                       dir + " is above it");
  }
}

}  // namespace

std::uint64_t cpu_weight(std::uint64_t shares) {
  shares = std::clamp<std::uint64_t>(shares, 2, 262144);
  return 1 + ((shares - 2) * 9999) / 262142;
}

std::uint64_t io_weight(std::uint64_t weight) {
  weight = std::clamp<std::uint64_t>(weight, 10, 1000);
  return 1 + (weight - 10) * 9999 / 990;
}

std::string swap_max(std::int64_t swap, std::int64_t memory) {
  if (swap == -1) return "max";
  if (memory <= 0) throw InvalidInput("unable to set swap limit without memory limit");
  if (swap < memory) throw InvalidInput("memory+swap limit should be >= memory limit");
  return std::to_string(swap - memory);
}

void Cgroups::create_v2(const CgroupDir& dir, bool inhabited) const {
  std::size_t slash = kRoot.size();
  while (slash != std::string::npos) {
    enable_controllers(dir.path.substr(0, slash));
    std::size_t next = dir.path.find('/', slash + 1);
    std::string level = dir.path.substr(0, next);
    if (::mkdir(level.c_str(), 0755) != 0) {
      if (errno != EEXIST) throw_errno("mkdir", level);
      if (next == std::string::npos && !inhabited && used(level)) {
        throw InvalidInput("container's cgroup is not empty: " + level);
      }
    }
    slash = next;
  }
}

void Cgroups::give_to(uid_t uid) const {
  std::string dir = path_of("unified");
  if (::chown(dir.c_str(), uid, static_cast<gid_t>(-1)) != 0) throw_errno("chown", dir);
  // The kernel lists what whoever a cgroup is delegated to must be able to write.
  std::string files = "cgroup.procs\ncgroup.subtree_control\ncgroup.threads\n";
  try {
    files = read_file("/sys/kernel/cgroup/delegate");
  } catch (const SysError&) {
  }
  for (std::size_t start = 0; start < files.size();) {
    auto end = std::min(files.find('\n', start), files.size());
    std::string file = dir + "/" + files.substr(start, end - start);
    start = end + 1;
    // Controllers that are not enabled here have no files.
    if (::chown(file.c_str(), uid, static_cast<gid_t>(-1)) != 0 && errno != ENOENT) throw_errno("chown", file);
  }
}

void Cgroups::apply_v2(const Resources& r) const {
  std::string dir = path_of("unified");
  auto positive = [](const auto& value) { return value && *value != 0; };
  auto limit = [](std::int64_t value) { return value == -1 ? std::string("max") : std::to_string(value); };

  refuse_v1_settings(r);
  check_usage(dir, r);
  if (positive(r.pids_limit)) write_control(dir, "pids.max", *r.pids_limit < 0 ? "max" : std::to_string(*r.pids_limit));
  if (positive(r.memory_swap)) {
    std::int64_t memory = r.memory_limit.value_or(0);
    // A change of the sum alone counts from the memory limit that is in force.
    if (memory == 0 && *r.memory_swap != -1) memory = number_or_zero(read_control(dir, "memory.max"));
    std::string value = swap_max(*r.memory_swap, memory);
    // Without swap accounting "none" and "unlimited" are both what is there.
    if (has_control(dir, "memory.swap.max") || (value != "max" && value != "0")) {
      write_control(dir, "memory.swap.max", value);
    }
  } else if (r.memory_limit && *r.memory_limit == -1 && has_control(dir, "memory.swap.max")) {
    write_control(dir, "memory.swap.max", "max");
  }
  if (positive(r.memory_limit)) write_control(dir, "memory.max", limit(*r.memory_limit));
  if (positive(r.memory_reservation)) write_control(dir, "memory.low", limit(*r.memory_reservation));

  if (positive(r.cpu_shares)) write_control(dir, "cpu.weight", std::to_string(cpu_weight(*r.cpu_shares)));
  if (r.cpu_idle) write_control(dir, "cpu.idle", std::to_string(*r.cpu_idle));
  if (!r.cpuset_cpus.empty()) write_control(dir, "cpuset.cpus", r.cpuset_cpus);
  if (!r.cpuset_mems.empty()) write_control(dir, "cpuset.mems", r.cpuset_mems);

  bool bfq = has_control(dir, "io.bfq.weight");
  if (positive(r.blkio_weight)) {
    if (bfq) {
      write_control(dir, "io.bfq.weight", std::to_string(*r.blkio_weight));
    } else {
      write_control(dir, "io.weight", "default " + std::to_string(io_weight(*r.blkio_weight)));
    }
  }
  for (const auto& d : r.blkio_weight_device) {
    if (!d.weight) continue;
    write_control(dir, bfq ? "io.bfq.weight" : "io.weight",
                  device_value(d.major, d.minor, std::to_string(bfq ? *d.weight : io_weight(*d.weight))));
  }
  auto throttle = [&](const char* key, const std::vector<BlkioDevice>& devices) {
    for (const auto& d : devices) {
      std::string value = d.value ? std::to_string(d.value) : "max";
      write_control(dir, "io.max", device_value(d.major, d.minor, std::string(key) + "=" + value));
    }
  };
  throttle("rbps", r.read_bps);
  throttle("wbps", r.write_bps);
  throttle("riops", r.read_iops);
  throttle("wiops", r.write_iops);

  for (const auto& [size, bytes] : r.hugepage_limits) {
    write_control(dir, "hugetlb." + size + ".max", std::to_string(bytes));
    std::string reserved = "hugetlb." + size + ".rsvd.max";
    if (has_control(dir, reserved)) write_control(dir, reserved, std::to_string(bytes));
  }
  for (const auto& device : r.rdma) {
    std::string line = device.device;
    if (device.hca_handles) line += " hca_handle=" + std::to_string(*device.hca_handles);
    if (device.hca_objects) line += " hca_object=" + std::to_string(*device.hca_objects);
    write_control(dir, "rdma.max", line);
  }
  for (const auto& [file, value] : r.unified) {
    if (file.empty() || file.find('/') != std::string::npos) {
      throw InvalidInput("linux.resources.unified: \"" + file + "\" is not a file name");
    }
    // One line at a time: files such as io.max take no more.
    for (std::size_t start = 0; start < value.size();) {
      auto end = std::min(value.find('\n', start), value.size());
      if (end > start) write_control(dir, file, value.substr(start, end - start));
      start = end + 1;
    }
  }
  if (!r.devices.empty()) {
    UniqueFd fd = open_unified();
    attach_device_filter(fd.get(), r.devices);
  }
}

}  // namespace gantry::runtime
