#include "source_pool.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace gantry::dns {

namespace {

void disconnect(int fd) {
  sockaddr nobody{};
  nobody.sa_family = AF_UNSPEC;
  static_cast<void>(::connect(fd, &nobody, sizeof nobody));
}

}  // namespace

SourcePool::SourcePool(std::vector<UniqueFd> udp, std::vector<UniqueFd> tcp) {
  for (UniqueFd& fd : udp) {
    free_udp_.push_back(fd.get());
    all_.push_back(std::move(fd));
  }
  for (UniqueFd& fd : tcp) {
    free_tcp_.push_back(fd.get());
    all_.push_back(std::move(fd));
  }
}

int SourcePool::take(bool tcp, std::function<void()> end) {
  std::vector<int>& free = tcp ? free_tcp_ : free_udp_;
  if (free.empty()) return -1;
  int fd = free.back();
  free.pop_back();
  taken_.emplace(fd, std::move(end));
  return fd;
}

void SourcePool::give_back(int fd, bool tcp) {
  if (taken_.erase(fd) == 0) return;
  // Nobody's answer may come to the next question.
  disconnect(fd);
  (tcp ? free_tcp_ : free_udp_).push_back(fd);
}

void SourcePool::close() {
  free_udp_.clear();
  free_tcp_.clear();
  for (auto& [fd, end] : std::exchange(taken_, {})) end();
  all_.clear();
}

int reconnect(int fd, const sockaddr_storage& server) {
  disconnect(fd);
  int family = 0;
  socklen_t size = sizeof family;
  ::getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &size);
  sockaddr_storage to = server;
  socklen_t to_size = family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
  if (family == AF_INET6 && server.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(server);
    auto& mapped = reinterpret_cast<sockaddr_in6&>(to);
    mapped = {};
    mapped.sin6_family = AF_INET6;
    mapped.sin6_port = v4.sin_port;
    mapped.sin6_addr.s6_addr[10] = mapped.sin6_addr.s6_addr[11] = 0xff;
    std::memcpy(&mapped.sin6_addr.s6_addr[12], &v4.sin_addr, sizeof v4.sin_addr);
  }
  return ::connect(fd, reinterpret_cast<const sockaddr*>(&to), to_size) < 0 ? errno : 0;
}

}  // namespace gantry::dns
