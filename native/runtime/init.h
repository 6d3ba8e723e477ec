#pragma once

#include "plan.h"

namespace gantry::runtime {

/// Body of the cloned process that becomes a container's first: never returns. Errors go to the runtime over plan.sync.
[[noreturn]] void container_init(Plan& plan);

/// The same for a further process, which finds the container made.
[[noreturn]] void exec_init(Plan& plan);

/// Body of the process that makes such a one: see handover.h.
[[noreturn]] void exec_between(Plan& plan);

}  // namespace gantry::runtime
