#include "gantry/workers.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <atomic>
#include <future>
#include <thread>

namespace gantry {
namespace {

/// Runs `work` and waits for its result.
template <typename Work>
auto result_of(Workers& workers, Work work) {
  auto promise = std::make_shared<std::promise<decltype(work())>>();
  auto future = promise->get_future();
  workers.run([promise, work] { promise->set_value(work()); });
  return future.get();
}

void until_idle(Workers& workers, size_t threads) {
  while (workers.idle() < threads) std::this_thread::yield();
}

// Objects of the class live until the process ends.
Workers& made() { return *new Workers; }

TEST(Workers, GiveTheNextPieceToAThreadThatIsIdle) {
  Workers& workers = made();
  auto who = [] { return std::this_thread::get_id(); };
  std::thread::id first = result_of(workers, who);
  until_idle(workers, 1);
  EXPECT_EQ(result_of(workers, who), first);
}

TEST(Workers, NeverLetWorkWaitForWorkThatIsBlocked) {
  Workers& workers = made();
  std::promise<void> open;
  std::shared_future<void> gate = open.get_future().share();
  std::atomic<int> left = 40;
  for (int i = 0; i < 40; i++) {
    workers.run([gate, &left] {
      gate.wait();
      left--;
    });
  }
  EXPECT_EQ(result_of(workers, [] { return 7; }), 7);
  open.set_value();
  while (left > 0) std::this_thread::yield();
}

TEST(Workers, KeepFewIdleThreads) {
  Workers& workers = made();
  std::atomic<int> left = 100;
  for (int i = 0; i < 100; i++) workers.run([&left] { left--; });
  while (left > 0) std::this_thread::yield();
  for (int i = 0; i < 1000; i++) EXPECT_LE(workers.idle(), 8u);
}

TEST(Workers, EndAThreadThatChangedItself) {
  Workers& workers = made();
  // Needs no privilege, and is not undone.
  auto change = [] {
    unshare_thread(CLONE_FS, "CLONE_FS");
    return thread_is_changed();
  };
  for (int i = 0; i < 20; i++) {
    EXPECT_TRUE(result_of(workers, change));
    EXPECT_FALSE(result_of(workers, [] { return thread_is_changed(); }));
  }
}

}  // namespace
}  // namespace gantry
