#pragma once

#include <netinet/in.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace gantry {

/// An IPv4 or IPv6 address with the length of its prefix.
struct IpAddress {
  int family = AF_INET;
  /// In network byte order.
  uint8_t bytes[16] = {};
  uint8_t prefix = 32;
  size_t size() const { return family == AF_INET ? 4 : 16; }
};

/// `10.0.0.1/24`, `10.0.0.1`, `fd00::1/64`; without a length the prefix is the whole address. InvalidInput for all
/// else.
IpAddress parse_address(const std::string& text);

/// `family` is AF_INET or AF_INET6 and `bytes` as long as that has them.
std::string format_address(int family, const void* bytes);

/// Six octets in hexadecimal with colons. InvalidInput for all else.
std::vector<uint8_t> parse_mac(const std::string& text);

std::string format_mac(const uint8_t* bytes, size_t size);

}  // namespace gantry
