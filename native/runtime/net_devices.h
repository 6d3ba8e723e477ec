#pragma once

#include "plan.h"

namespace gantry::runtime {

/// Brings up "lo" of the network namespace that we are in.
void bring_up_loopback();

/// Moves linux.netDevices into the network namespace of `init`, under the names that they have there, with the
/// permanent addresses of global scope that they have here, and brings them up. Physical devices return by themselves
/// when that namespace ends.
void move_net_devices(const Plan& plan, pid_t init);

}  // namespace gantry::runtime
