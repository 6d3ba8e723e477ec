#include "loop.h"

#include <errno.h>
#include <sys/epoll.h>

#include "sys.h"

namespace shim {

static int epoll_fd = -1;

bool loop_open() {
  epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  return epoll_fd >= 0;
}

bool watch_set(Watch& watch, uint32_t events) {
  if (watch.fd < 0 || watch.events == events) return true;
  epoll_event event = {};
  event.events = events;
  event.data.ptr = &watch;
  int operation = events == 0 ? EPOLL_CTL_DEL : watch.events == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
  if (epoll_ctl(epoll_fd, operation, watch.fd, &event) < 0) {
    note_errno("epoll_ctl");
    return false;
  }
  watch.events = events;
  return true;
}

int loop_turn(int timeout_ms) {
  epoll_event events[16];
  int count = epoll_wait(epoll_fd, events, 16, timeout_ms);
  if (count < 0) return 0;
  for (int i = 0; i < count; ++i) {
    Watch* watch = static_cast<Watch*>(events[i].data.ptr);
    if (watch->fd >= 0 && watch->events != 0) watch->ready(watch->owner, events[i].events);
  }
  return count;
}

}  // namespace shim
