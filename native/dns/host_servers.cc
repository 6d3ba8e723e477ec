#include "host_servers.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <time.h>
#include <unistd.h>

#include <cstring>
#include <sstream>

#include "gantry/fd.h"

namespace gantry::dns {

namespace {

constexpr uint16_t kPort = 53;
constexpr size_t kMostServers = 3;
constexpr size_t kMostBytes = 64 * 1024;

std::string read_file(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) return {};
  std::string text(kMostBytes, '\0');
  size_t size = 0;
  for (;;) {
    ssize_t got = ::read(fd.get(), text.data() + size, text.size() - size);
    if (got <= 0) break;
    size += static_cast<size_t>(got);
  }
  text.resize(size);
  return text;
}

}  // namespace

bool parse_server(const std::string& text, Upstream& server) {
  server = {};
  auto* v4 = reinterpret_cast<sockaddr_in*>(&server.address);
  if (::inet_pton(AF_INET, text.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(kPort);
    server.size = sizeof *v4;
    return true;
  }
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&server.address);
  if (::inet_pton(AF_INET6, text.c_str(), &v6->sin6_addr) != 1) return false;
  v6->sin6_family = AF_INET6;
  v6->sin6_port = htons(kPort);
  server.size = sizeof *v6;
  return true;
}

std::vector<Upstream> parse_resolv_conf(const std::string& text) {
  std::vector<Upstream> servers;
  std::istringstream lines(text);
  std::string line;
  while (servers.size() < kMostServers && std::getline(lines, line)) {
    std::istringstream words(line);
    std::string keyword;
    std::string address;
    Upstream server;
    if (words >> keyword >> address && keyword == "nameserver" && parse_server(address, server))
      servers.push_back(server);
  }
  return servers;
}

const std::vector<Upstream>& HostServers::get() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  if (looked_at_ != 0 && now.tv_sec == looked_at_) return servers_;
  looked_at_ = now.tv_sec;
  struct stat info {};
  if (::stat(path_.c_str(), &info) < 0) {
    servers_.clear();
    inode_ = 0;
    return servers_;
  }
  bool same = info.st_ino == inode_ && std::memcmp(&info.st_mtim, &modified_, sizeof modified_) == 0;
  if (same) return servers_;
  inode_ = info.st_ino;
  modified_ = info.st_mtim;
  servers_ = parse_resolv_conf(read_file(path_));
  return servers_;
}

}  // namespace gantry::dns
