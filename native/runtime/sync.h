#pragma once

#include <string>

#include "gantry/fd.h"

namespace gantry::runtime {

/// How the runtime and the process it makes talk, over one SOCK_SEQPACKET pair that closes on exec:
///
///   runtime (host)                              init (the container's first process, or exec's)
///   ─────────────────                           ─────────────────────────────────────────────
///   make cgroups, limits, exec.fifo
///   clone3 with the new namespaces ───────────▶ join cgroups, given namespaces
///     only with a new user namespace:
///                                  ◀─ kMapIds ─ (has no id of its own yet)
///   write uid_map, gid_map ─────────── kGo ───▶ become root there
///   write state.json meanwhile                  the root becomes a mount
///     only in a joined mount namespace:
///                               ◀─ kRootMade ─
///                                               mounts, devices
///     only with prestart or createRuntime:
///                             ◀─ kRuntimeHooks ─
///   run them ───────────────────────── kGo ───▶ createContainer hooks, pivot, console, user,
///                                               capabilities, seccomp, find the executable
///     only with a filter that asks somebody else:
///                               ◀─ kListener ─ (the number of the descriptor)
///   fetch it, hand it on ───────────── kGo ───▶ close it
///                                  ◀── kReady ─
///   pid file, exit 0
///   (create) open exec.fifo for reading ······▶ blocked opening exec.fifo for writing; wakes, writes
///   read until the end                          one byte, startContainer hooks, exec
///   (run) ──────────────────────────── kGo ───▶ exec
///   (exec) reads: end of file is success ─────▶ exec; the socket closes with it
///
/// An exec into a container's pid namespace has one more process, which handover.h is about:
///
///   runtime (host)                 in between (host's pid namespace)             last (the container's)
///   ─────────────────              ─────────────────────────────────             ─────────────────────
///   clone3 ───────────────────────▶ joins, user, capabilities, filter,
///                   ◀─ kListener ─  as above; closes all but the socket
///                                   clone(CLONE_PARENT), ends ──────────────────▶ setsid, controlling terminal
///                                                                    ◀─ kReady ─
///   see that it is our child,
///   scheduler ──────────────────────────────────────────────────────── kGo ─────▶ exec; the socket closes with it
///                                                                   ◀─ kFailed ─
///
/// Instead of any of its messages init may send kError with the text for the user, and exits. If the runtime dies, init
/// sees the closed socket and exits: it never waits for `start` unless the runtime has heard that it is ready.
enum class SyncType : char {
  kMapIds = 'M',
  kRuntimeHooks = 'H',
  kRootMade = 'A',
  kListener = 'L',
  kReady = 'R',
  kGo = 'G',
  kError = 'E',
  /// The same from a process that cannot make texts: an errno, a space, and the step.
  kFailed = 'F',
  kEnd = 0
};

struct SyncMessage {
  /// kEnd when the other side is gone.
  SyncType type = SyncType::kEnd;
  std::string text;
  /// Of kError and kFailed: what it is about.
  std::string error() const;
};

class Sync {
 public:
  /// Init's end works by read(2) and write(2) alone: a system call filter may know no other calls of sockets.
  Sync(UniqueFd fd, bool inits) : fd_(std::move(fd)), inits_(inits) {}
  /// Both ends; the first for the runtime.
  static std::pair<Sync, Sync> pair();

  void send(SyncType type, const std::string& text = {}) const;
  SyncMessage receive() const;
  /// The same, but it is also the end when the process of `pidfd` has ended: whoever could take the socket from it may
  /// keep it open.
  SyncMessage receive_from(int pidfd) const;
  /// Sends `question` and waits for kGo; throws when the other side is gone.
  void ask(SyncType question, const std::string& text = {}) const;
  void close() { fd_.reset(); }
  int get() const { return fd_.get(); }

 private:
  UniqueFd fd_;
  bool inits_;
};

}  // namespace gantry::runtime
