#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "gantry/fd.h"

namespace gantry {

/// What a new program is given. Nothing of the caller's reaches it that is not listed here.
struct SpawnRequest {
  std::string path;
  std::vector<std::string> args;
  std::vector<std::string> env;
  /// Empty keeps the caller's.
  std::string cwd;
  /// Descriptors that become 0, 1, 2 … in the child; -1 is /dev/null.
  std::vector<int> fds;
  bool new_session = false;
};

struct SpawnedChild {
  pid_t pid = -1;
  UniqueFd pidfd;
};

/// Starts a program without copying the caller's page tables. Throws SysError when it cannot be executed; there is no
/// child to reap then.
SpawnedChild spawn(const SpawnRequest& request);

/// Field 22 of /proc/PID/stat, or nothing when there is no such process or it is dead and only waits to be reaped.
std::optional<uint64_t> process_start_time(pid_t pid);

/// Sends `signal` to the process that has this pid and start time; false when it is gone.
bool signal_process(pid_t pid, uint64_t start_time, int signal);

/// A connected pair of stream sockets, close-on-exec.
std::pair<UniqueFd, UniqueFd> make_socket_pair();
/// Read end and write end, close-on-exec.
std::pair<UniqueFd, UniqueFd> make_pipe();

/// Reaps children on one thread of its own, each through its pidfd, so that nobody else's wait(2) and no signal handler
/// is involved.
class Reaper {
 public:
  /// Called on the reaper's thread with the key given to `watch` and the exit code, or 128 + signal. A key and not the
  /// pid: the kernel may give a reaped child's pid to the next one before the caller heard of the first.
  using OnExit = std::function<void(uint64_t key, int code)>;

  explicit Reaper(OnExit on_exit);
  ~Reaper();
  Reaper(const Reaper&) = delete;
  Reaper& operator=(const Reaper&) = delete;

  void watch(uint64_t key, SpawnedChild child);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace gantry
