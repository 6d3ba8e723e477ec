#include "loop.h"

#include <sys/epoll.h>
#include <time.h>

#include <algorithm>
#include <array>

#include "gantry/error.h"

namespace gantry {

int64_t Loop::now_ms() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<int64_t>(now.tv_sec) * 1000 + now.tv_nsec / 1'000'000;
}

Loop::Loop() : epoll_(::epoll_create1(EPOLL_CLOEXEC)) {
  if (!epoll_) throw_errno("epoll_create1");
}

Source* Loop::add(std::unique_ptr<Source> source, uint32_t events) {
  Source* key = source.get();
  epoll_event event{};
  event.events = events;
  event.data.ptr = key;
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, key->fd(), &event) < 0) return nullptr;
  sources_.emplace(key, Entry{std::move(source)});
  return key;
}

void Loop::set_events(Source* source, uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.ptr = source;
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, source->fd(), &event);
}

void Loop::remove(Source* source) {
  auto found = sources_.find(source);
  if (found == sources_.end()) return;
  forget_deadline(source);
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, source->fd(), nullptr);
  removed_.push_back(std::move(found->second.source));
  sources_.erase(found);
}

void Loop::set_deadline(Source* source, int64_t milliseconds_from_now) {
  auto found = sources_.find(source);
  if (found == sources_.end()) return;
  forget_deadline(source);
  found->second.deadline = now_ms() + milliseconds_from_now;
  deadlines_.emplace(found->second.deadline, source);
}

void Loop::forget_deadline(Source* source) {
  Entry& entry = sources_.at(source);
  if (entry.deadline == 0) return;
  auto [first, last] = deadlines_.equal_range(entry.deadline);
  auto found = std::find_if(first, last, [&](const auto& item) { return item.second == source; });
  if (found != last) deadlines_.erase(found);
  entry.deadline = 0;
}

int Loop::until_next() const {
  if (deadlines_.empty()) return -1;
  return static_cast<int>(std::clamp<int64_t>(deadlines_.begin()->first - now_ms(), 0, 60'000));
}

void Loop::expire() {
  int64_t now = now_ms();
  while (!deadlines_.empty() && deadlines_.begin()->first <= now) {
    Source* source = deadlines_.begin()->second;
    forget_deadline(source);
    source->on_deadline();
  }
}

void Loop::run() {
  std::array<epoll_event, 256> events;
  while (!stopped_) {
    int count = ::epoll_wait(epoll_.get(), events.data(), events.size(), until_next());
    if (count < 0 && errno != EINTR) throw_errno("epoll_wait");
    for (int i = 0; i < count; i++) {
      auto* source = static_cast<Source*>(events[static_cast<size_t>(i)].data.ptr);
      // One that was removed by an earlier event of this round is not in the map any more.
      if (sources_.contains(source)) source->on_ready(events[static_cast<size_t>(i)].events);
    }
    expire();
    removed_.clear();
  }
}

}  // namespace gantry
