#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <unordered_map>
#include <vector>

#include "gantry/fd.h"

namespace gantry {

/// Something with a descriptor that the loop watches.
class Source {
 public:
  explicit Source(UniqueFd fd) : fd_(std::move(fd)) {}
  virtual ~Source() = default;
  Source(const Source&) = delete;
  Source& operator=(const Source&) = delete;

  virtual void on_ready(uint32_t events) = 0;
  /// The time that was set by `Loop::set_deadline` has come.
  virtual void on_deadline() {}
  int fd() const noexcept { return fd_.get(); }

 private:
  UniqueFd fd_;
};

/// One thread that waits for descriptors and times. It owns its sources.
class Loop {
 public:
  Loop();

  /// Adds a source; `events` are epoll's. Returns nothing and drops it when the kernel has no room.
  Source* add(std::unique_ptr<Source> source, uint32_t events);
  void set_events(Source* source, uint32_t events);
  /// The source is closed at once and freed when the present event was handled, so it may end itself.
  void remove(Source* source);
  void set_deadline(Source* source, int64_t milliseconds_from_now);

  /// Of the clock that deadlines are measured by.
  static int64_t now_ms();

  /// Runs until `stop`.
  void run();
  void stop() noexcept { stopped_ = true; }

 private:
  struct Entry {
    std::unique_ptr<Source> source;
    int64_t deadline = 0;
  };

  void forget_deadline(Source* source);
  int until_next() const;
  void expire();

  UniqueFd epoll_;
  bool stopped_ = false;
  std::unordered_map<Source*, Entry> sources_;
  std::multimap<int64_t, Source*> deadlines_;
  std::vector<std::unique_ptr<Source>> removed_;
};

}  // namespace gantry
