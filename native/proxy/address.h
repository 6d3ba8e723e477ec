#pragma once

#include <sys/socket.h>

#include <string>

namespace gantry::proxy {

/// Where a published port leads to.
struct Target {
  sockaddr_storage address{};
  socklen_t size = 0;
};

/// Throws for what is no address with a port.
Target parse_target(const std::string& address, const std::string& port);

}  // namespace gantry::proxy
