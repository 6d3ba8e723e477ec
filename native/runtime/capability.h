#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "spec.h"

namespace gantry::runtime {

/// Capability sets as bit masks, ready to be applied without allocating.
struct CapabilityMasks {
  std::uint64_t bounding = 0, effective = 0, inheritable = 0, permitted = 0, ambient = 0;
};

/// "CAP_CHOWN" to its number; -1 when unknown.
int capability_number(const std::string& name);
/// Names known to this program, by number.
std::vector<std::string> capability_names();

/// Names to masks. What this kernel does not know is left out and named in `unknown`, as runc does.
CapabilityMasks capability_masks(const Capabilities& capabilities, std::vector<std::string>& unknown);

/// Reduces the bounding set; needs CAP_SETPCAP, so before the user changes.
void apply_bounding_set(const CapabilityMasks& masks);
/// Effective, permitted, inheritable and ambient sets; after the user changed.
void apply_capabilities(const CapabilityMasks& masks);

}  // namespace gantry::runtime
