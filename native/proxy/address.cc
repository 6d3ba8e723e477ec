#include "address.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <charconv>
#include <stdexcept>

namespace gantry::proxy {

Target parse_target(const std::string& address, const std::string& port) {
  uint16_t number = 0;
  const char* last = port.data() + port.size();
  auto [end, error] = std::from_chars(port.data(), last, number);
  if (error != std::errc{} || end != last || number == 0) throw std::invalid_argument("invalid port: " + port);
  Target target;
  auto* v4 = reinterpret_cast<sockaddr_in*>(&target.address);
  if (::inet_pton(AF_INET, address.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(number);
    target.size = sizeof *v4;
    return target;
  }
  target.address = {};
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&target.address);
  if (::inet_pton(AF_INET6, address.c_str(), &v6->sin6_addr) != 1)
    throw std::invalid_argument("invalid address: " + address);
  v6->sin6_family = AF_INET6;
  v6->sin6_port = htons(number);
  target.size = sizeof *v6;
  return target;
}

}  // namespace gantry::proxy
