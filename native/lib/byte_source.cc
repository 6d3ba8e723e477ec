#include "gantry/byte_source.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "gantry/error.h"

namespace gantry {
Cancel::Cancel() : event_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (!event_) throw_errno("eventfd");
}

void Cancel::request() noexcept {
  requested_.store(true, std::memory_order_release);
  uint64_t one = 1;
  [[maybe_unused]] ssize_t written = ::write(event_.get(), &one, sizeof one);
}

FdSource::FdSource(int fd, const Cancel* cancel) : fd_(fd), cancel_(cancel) {
  struct stat st;
  if (fstat(fd, &st) != 0) throw_errno("fstat");
  may_block_ = !S_ISREG(st.st_mode);
}

void FdSource::wait() {
  struct pollfd fds[2] = {{fd_, POLLIN, 0}, {cancel_ ? cancel_->fd() : -1, POLLIN, 0}};
  while (poll(fds, 2, -1) < 0) {
    if (errno != EINTR) throw_errno("poll");
  }
}

size_t FdSource::read(uint8_t* to, size_t capacity) {
  for (;;) {
    if (may_block_) wait();
    if (cancel_ && cancel_->requested()) throw SysError(ECANCELED, "read");
    ssize_t count = ::read(fd_, to, capacity);
    if (count >= 0) {
      consumed_.fetch_add(static_cast<uint64_t>(count), std::memory_order_relaxed);
      return static_cast<size_t>(count);
    }
    if (errno == EAGAIN) {
      may_block_ = true;
    } else if (errno != EINTR) {
      throw_errno("read");
    }
  }
}

}  // namespace gantry
