#pragma once

#include <string>
#include <vector>

namespace gantry {

/// Connects to the stream socket at `path`, sends `text` with descriptors (which stay the caller's; 253 at most) and
/// its end, and returns what comes back until the other side closes. Fails with ETIMEDOUT when that takes longer than
/// `timeout_ms`.
std::string unix_exchange(const std::string& path, const std::string& text, const std::vector<int>& descriptors,
                          int timeout_ms);

}  // namespace gantry
