#include "gantry/workers.h"

#include <sched.h>

#include <chrono>
#include <system_error>
#include <thread>
#include <utility>

#include "gantry/error.h"

namespace gantry {
namespace {

constexpr size_t kMostIdle = 8;
constexpr std::chrono::seconds kIdleTime(20);

thread_local bool changed = false;

}  // namespace

void unshare_thread(int flags, const char* what) {
  if (::unshare(flags) != 0) throw_errno("unshare", what);
  changed = true;
}

void enter_with_thread(int fd, int type, const char* what) {
  if (::setns(fd, type) != 0) throw_errno("setns", what);
  changed = true;
}

bool thread_is_changed() noexcept { return changed; }

void Workers::run(std::function<void()> work) {
  {
    std::lock_guard lock(mutex_);
    if (waiting_.size() < idle_) {
      waiting_.push_back(std::move(work));
      more_.notify_one();
      return;
    }
  }
  try {
    std::thread(&Workers::serve, this, std::move(work)).detach();
  } catch (const std::system_error& error) {
    throw SysError(error.code().value(), "clone", "a worker thread");
  }
}

size_t Workers::idle() {
  std::lock_guard lock(mutex_);
  return idle_;
}

void Workers::serve(std::function<void()> work) {
  do {
    work();
    // What it holds must not live until the next piece comes.
    work = nullptr;
  } while (!changed && next(work));
}

/// False when this thread shall end.
bool Workers::next(std::function<void()>& work) {
  std::unique_lock lock(mutex_);
  if (idle_ == kMostIdle) return false;
  idle_++;
  more_.wait_for(lock, kIdleTime, [&] { return !waiting_.empty(); });
  idle_--;
  if (waiting_.empty()) return false;
  work = std::move(waiting_.front());
  waiting_.pop_front();
  return true;
}

}  // namespace gantry
