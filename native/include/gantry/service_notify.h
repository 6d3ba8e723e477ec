#pragma once

#include <string>

namespace gantry {

/// Sends `state` (lines of NAME=value) as one datagram to the service manager's socket at `address`: a path, or after
/// an '@' a name in the abstract namespace (sd_notify(3)). Never waits: a manager that does not read is EAGAIN.
void notify_service(const std::string& address, const std::string& state);

}  // namespace gantry
