#include "gantry/net_socket.h"

#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cstring>

#include "gantry/error.h"

namespace gantry {

namespace {

struct Endpoint {
  sockaddr_storage storage{};
  socklen_t size = 0;
  sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
};

Endpoint parse_endpoint(const std::string& address, uint16_t port) {
  Endpoint endpoint;
  auto* v4 = reinterpret_cast<sockaddr_in*>(&endpoint.storage);
  if (::inet_pton(AF_INET, address.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    endpoint.size = sizeof *v4;
    return endpoint;
  }
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&endpoint.storage);
  endpoint.storage = {};
  if (::inet_pton(AF_INET6, address.c_str(), &v6->sin6_addr) != 1) throw InvalidInput("invalid address: " + address);
  v6->sin6_family = AF_INET6;
  v6->sin6_port = htons(port);
  endpoint.size = sizeof *v6;
  return endpoint;
}

UniqueFd open_socket(SocketType type, const Endpoint& endpoint) {
  int kind = (type == SocketType::udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC | SOCK_NONBLOCK;
  UniqueFd fd(::socket(endpoint.storage.ss_family, kind, type == SocketType::sctp ? IPPROTO_SCTP : 0));
  if (!fd) throw_errno("socket", type == SocketType::tcp ? "tcp" : type == SocketType::udp ? "udp" : "sctp");
  if (endpoint.storage.ss_family == AF_INET6) {
    // The two families are reserved and served apart from each other.
    int on = 1;
    ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
  }
  return fd;
}

void set_reuse(int fd) {
  int on = 1;
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
}

/// What still reaches the socket is dropped by the kernel before it costs memory.
void drop_everything(int fd) {
  sock_filter code[] = {{BPF_RET | BPF_K, 0, 0, 0}};
  sock_fprog program{1, code};
  if (::setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) < 0)
    throw_errno("setsockopt SO_ATTACH_FILTER");
}

uint16_t port_of(int fd) {
  Endpoint endpoint;
  endpoint.size = sizeof endpoint.storage;
  if (::getsockname(fd, endpoint.get(), &endpoint.size) < 0) throw_errno("getsockname");
  // sin_port and sin6_port are at the same place.
  return ntohs(reinterpret_cast<sockaddr_in*>(&endpoint.storage)->sin_port);
}

std::string label(const std::string& address, uint16_t port) { return address + ":" + std::to_string(port); }

}  // namespace

BoundSocket open_server_socket(SocketType type, const std::string& address, uint16_t port) {
  Endpoint endpoint = parse_endpoint(address, port);
  UniqueFd fd = open_socket(type, endpoint);
  if (type != SocketType::udp) set_reuse(fd.get());
  if (::bind(fd.get(), endpoint.get(), endpoint.size) < 0) throw_errno("bind", label(address, port));
  if (type != SocketType::udp && ::listen(fd.get(), 128) < 0) throw_errno("listen", label(address, port));
  uint16_t bound = port_of(fd.get());
  return {std::move(fd), bound};
}

std::vector<UniqueFd> open_client_sockets(SocketType type, unsigned count) {
  int kind = (type == SocketType::udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC | SOCK_NONBLOCK;
  std::vector<UniqueFd> sockets;
  int family = AF_INET6;
  while (sockets.size() < count) {
    UniqueFd fd(::socket(family, kind, 0));
    if (!fd && errno == EAFNOSUPPORT && family == AF_INET6) {
      family = AF_INET;
      continue;
    }
    if (!fd) throw_errno("socket", "inet");
    int off = 0;
    if (family == AF_INET6) ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    sockets.push_back(std::move(fd));
  }
  return sockets;
}

BoundSocket reserve_port(SocketType type, const std::string& address, uint16_t port) {
  Endpoint endpoint = parse_endpoint(address, port);
  UniqueFd fd = open_socket(type, endpoint);
  if (type == SocketType::udp) drop_everything(fd.get());
  if (::bind(fd.get(), endpoint.get(), endpoint.size) == 0) {
    uint16_t bound = port_of(fd.get());
    return {std::move(fd), bound};
  }
  if (errno != EADDRINUSE || type != SocketType::tcp || port == 0) throw_errno("bind", label(address, port));
  // Connections that a former server closed a moment ago forbid a plain bind for a minute, although nobody has the
  // port. Only listening tells the two apart; the filter keeps such a socket from answering anybody.
  UniqueFd second = open_socket(type, endpoint);
  set_reuse(second.get());
  drop_everything(second.get());
  if (::bind(second.get(), endpoint.get(), endpoint.size) < 0) throw_errno("bind", label(address, port));
  if (::listen(second.get(), 1) < 0) throw_errno("bind", label(address, port));
  return {std::move(second), port};
}

int unsent_bytes(int fd) {
  int bytes = 0;
  if (::ioctl(fd, SIOCOUTQ, &bytes) < 0) throw_errno("ioctl SIOCOUTQ");
  return bytes;
}

PeerCredentials peer_credentials(int fd) {
  ucred credentials{};
  socklen_t size = sizeof credentials;
  if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) < 0) throw_errno("getsockopt SO_PEERCRED");
  return {credentials.pid, credentials.uid, credentials.gid};
}

}  // namespace gantry
