#include "capability.h"

#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "gantry/error.h"
#include "naive.h"

namespace gantry::runtime {
namespace {

constexpr const char* kNames[] = {
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
};
constexpr int kCount = static_cast<int>(sizeof kNames / sizeof kNames[0]);

/// One more than the last capability of this kernel.
int kernel_count() {
  int n = 0;
  while (n < 64 && ::prctl(PR_CAPBSET_READ, n, 0, 0, 0) >= 0) ++n;
  return n;
}

}  // namespace

int capability_number(const std::string& name) {
  for (int i = 0; i < kCount; ++i) {
    if (name == kNames[i]) return i;
  }
  return -1;
}

std::vector<std::string> capability_names() { return {kNames, kNames + kCount}; }

CapabilityMasks capability_masks(const Capabilities& capabilities, std::vector<std::string>& unknown) {
  int known = kernel_count();
  auto mask = [&](const std::vector<std::string>& names) {
    std::uint64_t bits = 0;
    for (const auto& name : names) {
      int number = capability_number(name);
      if (number < 0 || number >= known) {
        unknown.push_back(name);
      } else {
        bits |= std::uint64_t{1} << number;
      }
    }
    return bits;
  };
  const auto& inheritable = kNaive ? capabilities.bounding : capabilities.inheritable;
  return {mask(capabilities.bounding), mask(capabilities.effective), mask(inheritable), mask(capabilities.permitted),
          mask(capabilities.ambient)};
}

void apply_bounding_set(const CapabilityMasks& masks) {
  for (int cap = 0; cap < 64; ++cap) {
    if (masks.bounding >> cap & 1) continue;
    if (::prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) == 0) continue;
    if (errno == EINVAL) break;
    throw_errno("drop capability " + std::to_string(cap) + " from the bounding set");
  }
}

void apply_capabilities(const CapabilityMasks& masks) {
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct data[2];
  for (int i = 0; i < 2; ++i) {
    data[i].effective = static_cast<std::uint32_t>(masks.effective >> (32 * i));
    data[i].permitted = static_cast<std::uint32_t>(masks.permitted >> (32 * i));
    data[i].inheritable = static_cast<std::uint32_t>(masks.inheritable >> (32 * i));
  }
  if (::syscall(SYS_capset, &header, data) != 0) throw_errno("set capabilities");
  if (::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0 && errno != EINVAL) {
    throw_errno("clear ambient capabilities");
  }
  for (int cap = 0; cap < 64; ++cap) {
    if (!(masks.ambient >> cap & 1)) continue;
    // Raising one that is not inheritable is refused by the kernel; runc lets that pass too.
    if (::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0) != 0 && errno != EPERM) {
      throw_errno("raise ambient capability " + std::to_string(cap));
    }
  }
}

}  // namespace gantry::runtime
