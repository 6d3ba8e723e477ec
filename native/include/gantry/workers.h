#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>

namespace gantry {

/// unshare(2) and setns(2) of the calling thread alone, which is another one from then on: {@link Workers} ends such a
/// thread instead of giving it more work. `what` names the thing in the error.
void unshare_thread(int flags, const char* what);
void enter_with_thread(int fd, int type, const char* what);

/// Whether one of the two has succeeded on the calling thread.
bool thread_is_changed() noexcept;

/// Threads for work that a path or a dead network file system may block for ever. Work never waits for other work: when
/// no thread is idle a new one is started. Idle threads wait for more, since starting one costs more than most work
/// does. Any thread may call. An object of this class lives until the process ends: its threads are detached.
class Workers {
 public:
  Workers() = default;
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;

  /// Runs `work`, which must not throw, on a thread that has no other. Fails with SysError when the kernel gives none.
  void run(std::function<void()> work);

  /// Threads that wait for work now. For tests.
  size_t idle();

 private:
  void serve(std::function<void()> first);
  bool next(std::function<void()>& work);

  std::mutex mutex_;
  std::condition_variable more_;
  /// Never longer than there are idle threads.
  std::deque<std::function<void()>> waiting_;
  size_t idle_ = 0;
};

}  // namespace gantry
