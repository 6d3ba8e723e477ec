#include <poll.h>
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>
#include <stdio.h>

#include <charconv>

#include "commands.h"
#include "gantry/error.h"

namespace gantry::runtime {
namespace {

using Writer = rapidjson::Writer<rapidjson::StringBuffer>;

/// A file's number; `otherwise` when there is no such file or it says "max".
std::uint64_t number(const std::string& dir, const std::string& file, std::uint64_t otherwise = 0) {
  if (dir.empty() || !has_control(dir, file)) return otherwise;
  std::string text = read_control(dir, file);
  std::uint64_t n = otherwise;
  std::from_chars(text.data(), text.data() + text.size(), n);
  return n;
}

/// "key value" lines.
std::vector<std::pair<std::string, std::uint64_t>> table(const std::string& dir, const std::string& file) {
  std::vector<std::pair<std::string, std::uint64_t>> all;
  if (dir.empty() || !has_control(dir, file)) return all;
  std::string text = read_control(dir, file);
  for (std::size_t start = 0; start < text.size();) {
    auto end = std::min(text.find('\n', start), text.size());
    std::string line = text.substr(start, end - start);
    start = end + 1;
    auto space = line.find(' ');
    if (space == std::string::npos) continue;
    std::uint64_t n = 0;
    std::from_chars(line.data() + space + 1, line.data() + line.size(), n);
    all.emplace_back(line.substr(0, space), n);
  }
  return all;
}

std::uint64_t lookup(const std::vector<std::pair<std::string, std::uint64_t>>& rows, const char* key) {
  for (const auto& [name, value] : rows) {
    if (name == key) return value;
  }
  return 0;
}

void field(Writer& w, const char* name, std::uint64_t value) {
  w.Key(name);
  w.Uint64(value);
}

constexpr std::uint64_t kUnlimited = 0x7ffffffffffff000;

void write_cpu(Writer& w, const Cgroups& cgroups) {
  w.Key("cpu");
  w.StartObject();
  w.Key("usage");
  w.StartObject();
  std::string throttling_dir;
  std::uint64_t unit = 1;
  if (cgroups.v2()) {
    throttling_dir = cgroups.path_of("unified");
    auto rows = table(throttling_dir, "cpu.stat");
    unit = 1000;
    field(w, "total", lookup(rows, "usage_usec") * 1000);
    field(w, "kernel", lookup(rows, "system_usec") * 1000);
    field(w, "user", lookup(rows, "user_usec") * 1000);
  } else {
    throttling_dir = cgroups.path_of("cpu");
    std::string dir = cgroups.path_of("cpuacct");
    if (dir.empty()) dir = throttling_dir;
    field(w, "total", number(dir, "cpuacct.usage"));
    w.Key("percpu");
    w.StartArray();
    if (!dir.empty() && has_control(dir, "cpuacct.usage_percpu")) {
      std::string text = read_control(dir, "cpuacct.usage_percpu");
      const char* at = text.data();
      const char* end = at + text.size();
      while (at < end) {
        std::uint64_t n = 0;
        auto [next, err] = std::from_chars(at, end, n);
        if (err == std::errc()) w.Uint64(n);
        at = next + 1;
      }
    }
    w.EndArray();
    field(w, "kernel", number(dir, "cpuacct.usage_sys"));
    field(w, "user", number(dir, "cpuacct.usage_user"));
  }
  w.EndObject();
  auto rows = table(throttling_dir, "cpu.stat");
  w.Key("throttling");
  w.StartObject();
  field(w, "periods", lookup(rows, "nr_periods"));
  field(w, "throttledPeriods", lookup(rows, "nr_throttled"));
  field(w, "throttledTime", cgroups.v2() ? lookup(rows, "throttled_usec") * unit : lookup(rows, "throttled_time"));
  w.EndObject();
  w.EndObject();
}

void write_memory(Writer& w, const Cgroups& cgroups) {
  bool v2 = cgroups.v2();
  std::string dir = cgroups.path_of(v2 ? "unified" : "memory");
  auto entry = [&](const char* name, const std::string& usage, const std::string& max, const std::string& limit,
                   const std::string& failures) {
    w.Key(name);
    w.StartObject();
    field(w, "limit", number(dir, limit, kUnlimited));
    field(w, "usage", number(dir, usage));
    if (!max.empty()) field(w, "max", number(dir, max));
    field(w, "failcnt", failures.empty() ? 0 : number(dir, failures));
    w.EndObject();
  };
  w.Key("memory");
  w.StartObject();
  auto rows = table(dir, "memory.stat");
  field(w, "cache", lookup(rows, v2 ? "file" : "total_cache"));
  if (v2) {
    entry("usage", "memory.current", "memory.peak", "memory.max", "");
    entry("swap", "memory.swap.current", "", "memory.swap.max", "");
  } else {
    entry("usage", "memory.usage_in_bytes", "memory.max_usage_in_bytes", "memory.limit_in_bytes", "memory.failcnt");
    entry("swap", "memory.memsw.usage_in_bytes", "memory.memsw.max_usage_in_bytes", "memory.memsw.limit_in_bytes",
          "memory.memsw.failcnt");
  }
  w.Key("raw");
  w.StartObject();
  for (const auto& [name, value] : rows) field(w, name.c_str(), value);
  w.EndObject();
  w.EndObject();
}

void write_io(Writer& w, const Cgroups& cgroups) {
  w.Key("blkio");
  w.StartObject();
  auto list = [&](const char* name, const std::string& text, const char* bytes_or_ios) {
    w.Key(name);
    w.StartArray();
    for (std::size_t start = 0; start < text.size();) {
      auto end = std::min(text.find('\n', start), text.size());
      std::string line = text.substr(start, end - start);
      start = end + 1;
      unsigned major = 0, minor = 0;
      int used = 0;
      if (std::sscanf(line.c_str(), "%u:%u %n", &major, &minor, &used) < 2) continue;
      std::string rest = line.substr(static_cast<std::size_t>(used));
      auto row = [&](const std::string& operation, std::uint64_t value) {
        w.StartObject();
        field(w, "major", major);
        field(w, "minor", minor);
        w.Key("op");
        w.String(operation.c_str());
        field(w, "value", value);
        w.EndObject();
      };
      if (!cgroups.v2()) {
        char operation[32];
        unsigned long long value = 0;
        if (std::sscanf(rest.c_str(), "%31s %llu", operation, &value) == 2) row(operation, value);
        continue;
      }
      for (const auto& [key, operation] : {std::pair("r", "Read"), std::pair("w", "Write")}) {
        std::string wanted = std::string(key) + bytes_or_ios + "=";
        auto at = rest.find(wanted);
        if (at != std::string::npos) row(operation, std::strtoull(rest.c_str() + at + wanted.size(), nullptr, 10));
      }
    }
    w.EndArray();
  };
  std::string dir = cgroups.path_of(cgroups.v2() ? "unified" : "blkio");
  auto text = [&](const char* file) {
    return !dir.empty() && has_control(dir, file) ? read_control(dir, file) : std::string();
  };
  list("ioServiceBytesRecursive", text(cgroups.v2() ? "io.stat" : "blkio.throttle.io_service_bytes_recursive"),
       "bytes");
  list("ioServicedRecursive", text(cgroups.v2() ? "io.stat" : "blkio.throttle.io_serviced_recursive"), "ios");
  w.EndObject();
}

std::string stats(const State& state) {
  Cgroups cgroups = state.cgroup_dirs();
  rapidjson::StringBuffer buffer;
  Writer w(buffer);
  w.StartObject();
  w.Key("type");
  w.String("stats");
  w.Key("id");
  w.String(state.id.c_str());
  w.Key("data");
  w.StartObject();
  write_cpu(w, cgroups);
  write_memory(w, cgroups);
  std::string pids = cgroups.path_of(cgroups.v2() ? "unified" : "pids");
  w.Key("pids");
  w.StartObject();
  field(w, "current", number(pids, "pids.current"));
  field(w, "limit", number(pids, "pids.max"));
  w.EndObject();
  write_io(w, cgroups);
  w.EndObject();
  w.EndObject();
  return std::string(buffer.GetString(), buffer.GetSize());
}

std::uint64_t oom_kills(const State& state) {
  Cgroups cgroups = state.cgroup_dirs();
  bool v2 = cgroups.v2();
  std::string dir = cgroups.path_of(v2 ? "unified" : "memory");
  return lookup(table(dir, v2 ? "memory.events" : "memory.oom_control"), "oom_kill");
}

}  // namespace

int events_command(const Context& context, const CommandLine& line) {
  State state = context.root.load(line.arguments()[0]);
  UniqueFd init = open_init(state);
  if (!init) throw InvalidInput("container with id " + state.id + " is not running");
  std::string every = line.value("interval");
  if (!every.empty() && every.back() == 's') every.pop_back();
  int seconds = 5;
  if (!every.empty()) {
    auto [end, err] = std::from_chars(every.data(), every.data() + every.size(), seconds);
    if (err != std::errc() || end != every.data() + every.size() || seconds <= 0 || seconds > 86400) {
      throw UsageError("duration interval must be greater than 0");
    }
  }
  if (line.has("stats")) {
    std::printf("%s\n", stats(state).c_str());
    return 0;
  }
  std::uint64_t kills = oom_kills(state);
  for (;;) {
    struct pollfd wait = {init.get(), POLLIN, 0};
    if (::poll(&wait, 1, seconds * 1000) > 0) return 0;
    try {
      std::uint64_t now = oom_kills(state);
      if (now > kills) std::printf("{\"type\":\"oom\",\"id\":\"%s\"}\n", state.id.c_str());
      kills = now;
      std::printf("%s\n", stats(state).c_str());
      std::fflush(stdout);
    } catch (const SysError&) {
      // Its cgroups are being removed.
      return 0;
    }
  }
}

}  // namespace gantry::runtime
