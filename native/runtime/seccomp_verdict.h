#pragma once

#include <array>
#include <cstdint>

#include "seccomp_filter.h"

namespace gantry::runtime {

/// What the filter answers to a call of this machine's own architecture: a SECCOMP_RET value. An instruction that the
/// kernel would not load counts as SECCOMP_RET_KILL_PROCESS; without a filter every call is allowed.
std::uint32_t verdict(const SeccompFilter& filter, long call, const std::array<std::uint64_t, 6>& arguments);

/// Whether the call is made, be it logged or not. False also where somebody else is asked for the answer.
bool allows(const SeccompFilter& filter, long call, const std::array<std::uint64_t, 6>& arguments);

}  // namespace gantry::runtime
