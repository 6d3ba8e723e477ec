#include "console.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "sys.h"

namespace shim {
namespace {

void receive(Console& console) {
  char text[4096];
  iovec part = {text, sizeof text};
  alignas(cmsghdr) char control[CMSG_SPACE(4 * sizeof(int))];
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t size = recvmsg(console.peer.fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (size > 0) {
    for (cmsghdr* header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header)) {
      if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
      size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
      for (size_t i = 0; i < count; ++i) {
        int fd;
        memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof fd);
        // One terminal; whatever else is sent along is not wanted.
        if (console.master < 0 && isatty(fd)) {
          console.master = fd;
          // At once: an exec's program may ask for it before the runtime has ended.
          winsize size = {console.rows, console.columns, 0, 0};
          if (console.rows > 0 || console.columns > 0) ioctl(fd, TIOCSWINSZ, &size);
        } else {
          close(fd);
        }
      }
    }
  }
  watch_set(console.peer, 0);
  close_fd(console.peer.fd);
}

void accept_peer(Console& console) {
  int fd = accept4(console.listener.fd, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (fd < 0) return;
  ucred peer;
  socklen_t size = sizeof peer;
  bool ours = getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.uid == geteuid();
  if (!ours || console.peer.fd >= 0 || console.master >= 0) {
    close(fd);
    return;
  }
  console.peer.fd = fd;
  console.peer.owner = &console;
  console.peer.ready = [](void* owner, uint32_t) { receive(*static_cast<Console*>(owner)); };
  watch_set(console.peer, EPOLLIN);
}

}  // namespace

void run_path(char* to, size_t size, const char* name) { snprintf(to, size, "/proc/%d/cwd/%s", getpid(), name); }

bool console_open(Console& console, const char* name) {
  console.master = -1;
  snprintf(console.name, sizeof console.name, "%s", name);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return false;
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  snprintf(address.sun_path, sizeof address.sun_path, "%s", name);
  unlink(name);
  if (bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) < 0 || listen(fd, 2) < 0) {
    close(fd);
    return false;
  }
  console.listener.fd = fd;
  console.listener.owner = &console;
  console.listener.ready = [](void* owner, uint32_t) { accept_peer(*static_cast<Console*>(owner)); };
  return watch_set(console.listener, EPOLLIN);
}

void console_settle(Console& console) {
  if (console.master < 0 && console.peer.fd < 0) accept_peer(console);
  if (console.master < 0 && console.peer.fd >= 0) receive(console);
}

void console_close(Console& console) {
  if (console.peer.fd >= 0) {
    watch_set(console.peer, 0);
    close_fd(console.peer.fd);
  }
  if (console.listener.fd >= 0) {
    watch_set(console.listener, 0);
    close_fd(console.listener.fd);
    unlink(console.name);
  }
}

}  // namespace shim
