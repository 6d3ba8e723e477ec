/// gantry-shim: one for each container. It is the parent of the container's first process and of every process that
/// joins it, owns their standard streams, writes the log, puts the exit on disk and tells who is connected. The daemon
/// may come and go.
///
///   gantry-shim CONTAINER-ID      working directory: the task's run folder; descriptor 3: a socket to the daemon
///
/// The argument is for people who read `ps`; everything else is asked over the socket (PROTOCOL.md). One thread, one
/// loop, no heap: memory that is only sometimes needed is mapped and given back.

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client.h"
#include "log.h"
#include "loop.h"
#include "process.h"
#include "spawn.h"
#include "sys.h"
#include "task.h"

namespace {

using namespace shim;

constexpr int kDaemonFd = 3;
/// How long clients may take for what was sent to them when nothing else is left to do.
constexpr uint64_t kLingerMs = 10000;
/// Quiet time after which buffers are given back.
constexpr int kTrimMs = 1000;

Watch children;

void children_ready(void*, uint32_t) {
  signalfd_siginfo info;
  while (read(children.fd, &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
  }
  task_child_ended();
}

bool watch_children() {
  // Blocked and never read is ignored, but, unlike ignored, does not reach the programs that are started from here.
  sigset_t all, chld;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, nullptr);
  sigemptyset(&chld);
  sigaddset(&chld, SIGCHLD);
  children.fd = signalfd(-1, &chld, SFD_CLOEXEC | SFD_NONBLOCK);
  children.ready = children_ready;
  return children.fd >= 0 && watch_set(children, EPOLLIN);
}

int run() {
  uint64_t linger_until = 0;
  bool used = false;
  for (;;) {
    uint64_t now = monotonic_ms();
    uint64_t next = task_check(now);
    uint64_t stalled = clients_check_progress(now);
    if (stalled > 0 && (next == 0 || stalled < next)) next = stalled;

    if (task_state() == TaskState::kDone) {
      clients_stop_listening();
      if (linger_until == 0) linger_until = now + kLingerMs;
      if (!clients_pending() || now >= linger_until) return 0;
      if (next == 0 || linger_until < next) next = linger_until;
    }
    // Whoever started it is gone and has asked for nothing.
    if (task_state() == TaskState::kIdle && clients_count() == 0) return 0;

    int timeout = used ? kTrimMs : -1;
    if (next > 0) {
      int until = next > now ? static_cast<int>(next - now) : 0;
      if (timeout < 0 || until < timeout) timeout = until;
    }
    if (loop_turn(timeout) > 0) {
      used = true;
    } else if (used && timeout == kTrimMs) {
      log_trim();
      process_trim();
      clients_trim();
      used = false;
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    dprintf(2, "usage: gantry-shim CONTAINER-ID (started by gantryd, with a socket as descriptor 3)\n");
    return 2;
  }
  (void)argv;
  int type;
  socklen_t size = sizeof type;
  if (getsockopt(kDaemonFd, SOL_SOCKET, SO_TYPE, &type, &size) < 0 || type != SOCK_STREAM) {
    dprintf(2, "gantry-shim: descriptor 3 is no stream socket\n");
    return 2;
  }
  fcntl(kDaemonFd, F_SETFD, FD_CLOEXEC);
  setsid();
  spawn_prepare();
  // Orphans of the container come here, and so do processes whose maker, the runtime, has ended.
  if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0 || !loop_open() || !watch_children() || !clients_listen()) {
    note_errno("start");
    return 1;
  }
  process_slot();
  client_add(kDaemonFd);
  return run();
}
