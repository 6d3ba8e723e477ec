#pragma once

#include "plan.h"

namespace gantry::runtime {

/// Throws InvalidInput for a setting that would reach beyond the container's own namespaces.
void check_sysctls(const Spec& spec);
void write_sysctls(const Plan& plan);

}  // namespace gantry::runtime
