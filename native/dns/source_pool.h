#pragma once

#include <sys/socket.h>

#include <functional>
#include <unordered_map>
#include <vector>

#include "gantry/fd.h"

namespace gantry::dns {

/// Sockets in a sandbox's network namespace by which its questions leave. This process cannot enter the namespace, so
/// the daemon made them; each serves one question after the other, every time with another port of the kernel's choice.
class SourcePool {
 public:
  /// IPv6 that reach IPv4 too, or IPv4 where the kernel has nothing else; bound to nothing.
  SourcePool(std::vector<UniqueFd> udp, std::vector<UniqueFd> tcp);

  /// A socket for one question, or -1 while all are in use. `end` is called when the pool closes before `give_back`;
  /// whoever took the socket must be through with it then.
  int take(bool tcp, std::function<void()> end);
  void give_back(int fd, bool tcp);

  /// Ends what is under way and closes the sockets: open ones would keep the namespace alive.
  void close();

 private:
  std::vector<UniqueFd> all_;
  std::vector<int> free_udp_;
  std::vector<int> free_tcp_;
  std::unordered_map<int, std::function<void()>> taken_;
};

/// Connects a socket that may have been connected before to a server of either family. Returns 0 or the errno.
int reconnect(int fd, const sockaddr_storage& server);

}  // namespace gantry::dns
