#pragma once

#include <linux/bpf.h>

#include <vector>

#include "resources.h"

namespace gantry::runtime {

/// The program that cgroup v2 asks for every opening and making of a device node: the rules from last to first, so that
/// a later one wins, with the implied ones last; refusal when none matches.
std::vector<bpf_insn> compile_device_filter(const std::vector<DeviceRule>& rules);

/// Replaces the device filters of a cgroup (a directory's descriptor) by one for `rules`.
void attach_device_filter(int cgroup, const std::vector<DeviceRule>& rules);

}  // namespace gantry::runtime
