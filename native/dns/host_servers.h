#pragma once

#include <sys/stat.h>

#include <string>
#include <vector>

#include "table.h"

namespace gantry::dns {

/// The name servers of the host, read again when its resolv.conf changes.
class HostServers {
 public:
  explicit HostServers(std::string path = "/etc/resolv.conf") : path_(std::move(path)) {}

  const std::vector<Upstream>& get();

 private:
  std::string path_;
  struct timespec modified_ {};
  ino_t inode_ = 0;
  time_t looked_at_ = 0;
  std::vector<Upstream> servers_;
};

/// `10.0.0.1`, `fd00::1`; port 53. False when it is no address.
bool parse_server(const std::string& text, Upstream& server);

/// The first three `nameserver` lines, as resolvers have it.
std::vector<Upstream> parse_resolv_conf(const std::string& text);

}  // namespace gantry::dns
