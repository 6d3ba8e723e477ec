#include "gantry/address.h"

#include <arpa/inet.h>

#include <charconv>
#include <cstdio>

#include "gantry/error.h"

namespace gantry {

IpAddress parse_address(const std::string& text) {
  IpAddress address;
  size_t slash = text.find('/');
  std::string host = text.substr(0, slash);
  address.family = host.find(':') == std::string::npos ? AF_INET : AF_INET6;
  if (::inet_pton(address.family, host.c_str(), address.bytes) != 1) throw InvalidInput("invalid address: " + text);
  unsigned most = address.family == AF_INET ? 32 : 128;
  unsigned prefix = most;
  if (slash != std::string::npos) {
    const char* first = text.data() + slash + 1;
    const char* last = text.data() + text.size();
    auto [end, error] = std::from_chars(first, last, prefix);
    if (error != std::errc{} || end != last || first == last || prefix > most)
      throw InvalidInput("invalid prefix length: " + text);
  }
  address.prefix = static_cast<uint8_t>(prefix);
  return address;
}

std::string format_address(int family, const void* bytes) {
  char text[INET6_ADDRSTRLEN];
  return ::inet_ntop(family, bytes, text, sizeof text) ? text : "";
}

std::vector<uint8_t> parse_mac(const std::string& text) {
  std::vector<uint8_t> mac;
  const char* at = text.data();
  const char* end = text.data() + text.size();
  while (mac.size() < 6) {
    unsigned byte = 0;
    auto [next, error] = std::from_chars(at, end, byte, 16);
    if (error != std::errc{} || next - at != 2) break;
    mac.push_back(static_cast<uint8_t>(byte));
    at = next;
    if (mac.size() < 6) {
      if (at == end || *at != ':') break;
      at++;
    }
  }
  if (mac.size() != 6 || at != end) throw InvalidInput("invalid mac address: " + text);
  return mac;
}

std::string format_mac(const uint8_t* bytes, size_t size) {
  std::string text;
  char part[4];
  for (size_t i = 0; i < size; i++) {
    std::snprintf(part, sizeof part, i ? ":%02x" : "%02x", bytes[i]);
    text += part;
  }
  return text;
}

}  // namespace gantry
