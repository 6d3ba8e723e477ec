#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <charconv>

#include "commands.h"
#include "gantry/error.h"
#include "stats.h"

namespace gantry::runtime {
namespace {

/// Tells when the kernel has run out of a container's memory.
class OomWatch {
 public:
  explicit OomWatch(const Cgroups& cgroups) : v2_(cgroups.v2()), dir_(cgroups.path_of(v2_ ? "unified" : "memory")) {
    if (dir_.empty() || !has_control(dir_, v2_ ? "memory.events" : "memory.oom_control")) return;
    kills_ = kills();
    if (v2_) {
      fd_.reset(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
      if (!fd_ || ::inotify_add_watch(fd_.get(), (dir_ + "/memory.events").c_str(), IN_MODIFY) < 0) {
        throw_errno("watch", dir_ + "/memory.events");
      }
      return;
    }
    fd_.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    control_.reset(::open((dir_ + "/memory.oom_control").c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd_ || !control_) throw_errno("watch", dir_ + "/memory.oom_control");
    write_control(dir_, "cgroup.event_control", std::to_string(fd_.get()) + " " + std::to_string(control_.get()));
  }

  int fd() const { return fd_.get(); }

  /// Whether it happened since the last call. Throws SysError when the cgroup is gone.
  bool happened() {
    char events[4096];
    while (::read(fd_.get(), events, sizeof events) > 0) {
    }
    auto now = kills();
    bool more = now > kills_;
    kills_ = now;
    return more;
  }

 private:
  std::uint64_t kills() const {
    for (const auto& [name, value] : control_table(dir_, v2_ ? "memory.events" : "memory.oom_control")) {
      if (name == "oom_kill") return value;
    }
    return 0;
  }
  bool v2_;
  std::string dir_;
  UniqueFd fd_, control_;
  std::uint64_t kills_ = 0;
};

/// Seconds out of Go's form of a duration ("5s", "1m30s", "1h").
int parse_interval(const std::string& text) {
  long total = 0;
  const char* at = text.data();
  const char* end = at + text.size();
  while (at < end) {
    long n = 0;
    auto [next, err] = std::from_chars(at, end, n);
    if (err != std::errc() || n < 0 || n > 86400)
      throw UsageError("invalid duration \"" + text + "\" for flag -interval");
    at = next;
    char unit = at < end ? *at++ : 's';
    if (unit != 's' && unit != 'm' && unit != 'h')
      throw UsageError("invalid duration \"" + text + "\" for flag -interval");
    total += n * (unit == 'h' ? 3600 : unit == 'm' ? 60 : 1);
  }
  if (total <= 0 || total > 86400) throw UsageError("duration interval must be greater than 0");
  return static_cast<int>(total);
}

}  // namespace

int events_command(const Context& context, const CommandLine& line) {
  int seconds = line.has("interval") ? parse_interval(line.value("interval")) : 5;
  State state = context.root.load(line.arguments()[0]);
  UniqueFd init = open_init(state);
  if (!init) throw InvalidInput("container with id " + state.id + " is not running");
  if (line.has("stats")) {
    std::printf("%s\n", stats_event(state).c_str());
    return 0;
  }
  OomWatch oom(state.cgroup_dirs());
  auto next = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
  for (;;) {
    auto left = std::chrono::duration_cast<std::chrono::milliseconds>(next - std::chrono::steady_clock::now());
    struct pollfd wait[2] = {{init.get(), POLLIN, 0}, {oom.fd(), POLLIN, 0}};
    int ready = ::poll(wait, 2, static_cast<int>(std::max<std::int64_t>(0, left.count() + 1)));
    if (ready < 0 && errno != EINTR) throw_errno("poll");
    try {
      if (oom.fd() >= 0 && oom.happened()) std::printf("{\"type\":\"oom\",\"id\":\"%s\"}\n", state.id.c_str());
      if (std::chrono::steady_clock::now() >= next) {
        std::printf("%s\n", stats_event(state).c_str());
        next += std::chrono::seconds(seconds);
      }
    } catch (const SysError&) {
      // Its cgroups are being removed.
      return 0;
    }
    std::fflush(stdout);
    // The death of the first process by lack of memory is told before its end.
    if (ready > 0 && wait[0].revents) return 0;
  }
}

}  // namespace gantry::runtime
