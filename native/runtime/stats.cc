#include "stats.h"

#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>
#include <stdio.h>

#include <charconv>

#include "gantry/error.h"
#include "spec.h"

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

/// Pressure stall information, where the kernel keeps it.
void write_pressure(Writer& w, const std::string& dir, const std::string& file) {
  if (dir.empty() || !has_control(dir, file)) return;
  std::string text;
  try {
    text = read_control(dir, file);
  } catch (const SysError&) {
    // The file is there when the kernel was built for it, and EOPNOTSUPP when it was not switched on.
    return;
  }
  w.Key("psi");
  w.StartObject();
  for (std::size_t start = 0; start < text.size();) {
    auto end = std::min(text.find('\n', start), text.size());
    std::string line = text.substr(start, end - start);
    start = end + 1;
    char kind[8];
    double avg10 = 0, avg60 = 0, avg300 = 0;
    unsigned long long total = 0;
    if (std::sscanf(line.c_str(), "%7s avg10=%lf avg60=%lf avg300=%lf total=%llu", kind, &avg10, &avg60, &avg300,
                    &total) != 5) {
      continue;
    }
    w.Key(kind);
    w.StartObject();
    for (const auto& [name, value] :
         {std::pair("avg10", avg10), std::pair("avg60", avg60), std::pair("avg300", avg300)}) {
      w.Key(name);
      w.Double(value);
    }
    field(w, "total", total);
    w.EndObject();
  }
  w.EndObject();
}

void write_cpuset(Writer& w, const Cgroups& cgroups) {
  std::string dir = cgroups.path_of(cgroups.v2() ? "unified" : "cpuset");
  auto list = [&](const char* name, const char* file) {
    if (dir.empty() || !has_control(dir, file)) return;
    auto numbers = expand_number_list(read_control(dir, file));
    w.Key(name);
    w.StartArray();
    if (numbers) {
      for (unsigned n : *numbers) w.Uint(n);
    }
    w.EndArray();
  };
  w.Key("cpuset");
  w.StartObject();
  // What is in force: an empty list of v2 means the parent's.
  list("cpus", cgroups.v2() ? "cpuset.cpus.effective" : "cpuset.cpus");
  list("mems", cgroups.v2() ? "cpuset.mems.effective" : "cpuset.mems");
  if (!cgroups.v2()) {
    for (const char* name : {"cpu_exclusive", "mem_hardwall", "mem_exclusive", "memory_migrate", "memory_spread_page",
                             "memory_spread_slab", "memory_pressure", "sched_load_balance"}) {
      field(w, name, number(dir, std::string("cpuset.") + name));
    }
  }
  w.EndObject();
}

void write_hugetlb(Writer& w, const Cgroups& cgroups) {
  std::string dir = cgroups.path_of(cgroups.v2() ? "unified" : "hugetlb");
  w.Key("hugetlb");
  w.StartObject();
  for (const auto& size : hugepage_sizes()) {
    std::string base = "hugetlb." + size + ".";
    if (dir.empty() || !has_control(dir, base + (cgroups.v2() ? "current" : "usage_in_bytes"))) continue;
    w.Key(size.c_str());
    w.StartObject();
    field(w, "usage", number(dir, base + (cgroups.v2() ? "current" : "usage_in_bytes")));
    if (!cgroups.v2()) field(w, "max", number(dir, base + "max_usage_in_bytes"));
    field(w, "failcnt",
          cgroups.v2() ? lookup(control_table(dir, base + "events"), "max") : number(dir, base + "failcnt"));
    w.EndObject();
  }
  w.EndObject();
}

void write_cpu(Writer& w, const Cgroups& cgroups) {
  w.Key("cpu");
  w.StartObject();
  w.Key("usage");
  w.StartObject();
  std::string throttling_dir;
  std::uint64_t unit = 1;
  if (cgroups.v2()) {
    throttling_dir = cgroups.path_of("unified");
    auto rows = control_table(throttling_dir, "cpu.stat");
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
  auto rows = control_table(throttling_dir, "cpu.stat");
  w.Key("throttling");
  w.StartObject();
  field(w, "periods", lookup(rows, "nr_periods"));
  field(w, "throttledPeriods", lookup(rows, "nr_throttled"));
  field(w, "throttledTime", cgroups.v2() ? lookup(rows, "throttled_usec") * unit : lookup(rows, "throttled_time"));
  w.EndObject();
  if (cgroups.v2()) write_pressure(w, throttling_dir, "cpu.pressure");
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
  auto rows = control_table(dir, "memory.stat");
  field(w, "cache", lookup(rows, v2 ? "file" : "total_cache"));
  if (v2) {
    entry("usage", "memory.current", "memory.peak", "memory.max", "");
    entry("swap", "memory.swap.current", "", "memory.swap.max", "");
  } else {
    entry("usage", "memory.usage_in_bytes", "memory.max_usage_in_bytes", "memory.limit_in_bytes", "memory.failcnt");
    entry("swap", "memory.memsw.usage_in_bytes", "memory.memsw.max_usage_in_bytes", "memory.memsw.limit_in_bytes",
          "memory.memsw.failcnt");
    entry("kernel", "memory.kmem.usage_in_bytes", "memory.kmem.max_usage_in_bytes", "memory.kmem.limit_in_bytes",
          "memory.kmem.failcnt");
    entry("kernelTCP", "memory.kmem.tcp.usage_in_bytes", "memory.kmem.tcp.max_usage_in_bytes",
          "memory.kmem.tcp.limit_in_bytes", "memory.kmem.tcp.failcnt");
  }
  w.Key("raw");
  w.StartObject();
  for (const auto& [name, value] : rows) field(w, name.c_str(), value);
  w.EndObject();
  if (v2) write_pressure(w, dir, "memory.pressure");
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
  if (cgroups.v2()) write_pressure(w, dir, "io.pressure");
  w.EndObject();
}

}  // namespace

/// "key value" lines.
std::vector<std::pair<std::string, std::uint64_t>> control_table(const std::string& dir, const std::string& file) {
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

std::string stats_event(const State& state) {
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
  write_cpuset(w, cgroups);
  write_memory(w, cgroups);
  std::string pids = cgroups.path_of(cgroups.v2() ? "unified" : "pids");
  w.Key("pids");
  w.StartObject();
  field(w, "current", number(pids, "pids.current"));
  field(w, "limit", number(pids, "pids.max"));
  w.EndObject();
  write_io(w, cgroups);
  write_hugetlb(w, cgroups);
  w.EndObject();
  w.EndObject();
  return std::string(buffer.GetString(), buffer.GetSize());
}

}  // namespace gantry::runtime
