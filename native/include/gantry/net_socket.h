#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "gantry/fd.h"

namespace gantry {

enum class SocketType { tcp, udp, sctp };

struct BoundSocket {
  UniqueFd fd;
  uint16_t port = 0;
};

/// A non-blocking socket bound to an IPv4 or IPv6 address in the calling thread's namespace; TCP and
/// SCTP listen as well.
BoundSocket open_server_socket(SocketType type, const std::string& address, uint16_t port);

/// Non-blocking sockets of the calling thread's namespace that are bound to nothing, for a process that cannot enter
/// it: IPv6 that reach IPv4 too, or IPv4 where the kernel has nothing else.
std::vector<UniqueFd> open_client_sockets(SocketType type, unsigned count);

/// Keeps a port of the host from being taken by anybody else for as long as the descriptor is open, without serving
/// it. Fails with EADDRINUSE when someone has it, with EADDRNOTAVAIL when the address is not
/// this host's, and with EPROTONOSUPPORT when the kernel has no such protocol, where nobody can have the port either.
BoundSocket reserve_port(SocketType type, const std::string& address, uint16_t port);

/// Bytes that were written to a socket and not yet taken by the other side.
int unsent_bytes(int fd);

struct PeerCredentials {
  pid_t pid;
  uid_t uid;
  gid_t gid;
};
PeerCredentials peer_credentials(int fd);

}  // namespace gantry
