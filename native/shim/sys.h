#pragma once

#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/// What the C library's headers do not have yet, and the clocks.
namespace shim {

inline int pidfd_open(pid_t pid) { return static_cast<int>(syscall(SYS_pidfd_open, pid, 0)); }
inline int pidfd_send_signal(int pidfd, int signal) {
  return static_cast<int>(syscall(SYS_pidfd_send_signal, pidfd, signal, nullptr, 0));
}
inline int close_range_from(unsigned first) { return static_cast<int>(syscall(SYS_close_range, first, ~0U, 0U)); }

/// For deadlines.
inline uint64_t monotonic_ms() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1000 + static_cast<uint64_t>(now.tv_nsec) / 1000000;
}

inline void close_fd(int& fd) {
  if (fd >= 0) close(fd);
  fd = -1;
}

/// Non-blocking, close-on-exec.
inline void set_nonblocking(int fd) { fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK); }

/// Pages that cost nothing until they are touched; nullptr when there are none.
void* map_pages(size_t size);
void unmap_pages(void* pages, size_t size);

/// Notes a failure in shim.log of the run folder, for people; bounded. errno is kept.
void note(const char* what);
void note_errno(const char* what);

}  // namespace shim
