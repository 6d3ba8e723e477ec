#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "address.h"
#include "gantry/fd.h"
#include "loop.h"

namespace gantry::proxy {

/// A published port while it is served; its end closes all that came through it.
class Port {
 public:
  Port() = default;
  virtual ~Port() = default;
  Port(const Port&) = delete;
  Port& operator=(const Port&) = delete;
};

/// The two ends of a pipe: bytes pass through it from one socket to another without being copied to this program.
struct Pipe {
  UniqueFd read;
  UniqueFd write;
};

/// What all ports share: pipes that hold nothing, and how much there is of everything.
class Common {
 public:
  /// Nothing when the kernel has none.
  std::unique_ptr<Pipe> take_pipe();
  /// `pipe` must be empty.
  void give_back(std::unique_ptr<Pipe> pipe);

  size_t connections = 0;
  size_t flows = 0;

 private:
  std::vector<std::unique_ptr<Pipe>> spare_;
};

/// A socket that reserved its port until now drops all that it gets.
void end_reservation(int fd);

/// `fd` is a bound TCP socket. Throws when it cannot listen.
std::unique_ptr<Port> serve_stream(Loop& loop, Common& common, UniqueFd fd, const Target& target);
/// `fd` is a bound UDP socket of IPv6.
std::unique_ptr<Port> serve_datagrams(Loop& loop, Common& common, UniqueFd fd, const Target& target);

}  // namespace gantry::proxy
