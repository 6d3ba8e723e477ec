#include "port.h"

#include <fcntl.h>
#include <unistd.h>

namespace gantry::proxy {

namespace {
constexpr size_t kSparePipes = 32;
}

std::unique_ptr<Pipe> Common::take_pipe() {
  if (!spare_.empty()) {
    std::unique_ptr<Pipe> pipe = std::move(spare_.back());
    spare_.pop_back();
    return pipe;
  }
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0) return nullptr;
  auto pipe = std::make_unique<Pipe>();
  pipe->read = UniqueFd(ends[0]);
  pipe->write = UniqueFd(ends[1]);
  return pipe;
}

void Common::give_back(std::unique_ptr<Pipe> pipe) {
  if (spare_.size() < kSparePipes) spare_.push_back(std::move(pipe));
}

void end_reservation(int fd) {
  int ignored = 0;
  // ENOENT where there is no filter.
  ::setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &ignored, sizeof ignored);
}

}  // namespace gantry::proxy
