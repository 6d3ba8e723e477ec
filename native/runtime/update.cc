#include <unistd.h>

#include <algorithm>
#include <charconv>

#include "commands.h"
#include "gantry/error.h"

namespace gantry::runtime {
namespace {

/// Bytes, as "512m" or "1.5g" with powers of 1024; -1 is without limit.
std::int64_t parse_bytes(const std::string& text) {
  if (text == "-1") return -1;
  double value = 0;
  auto [end, err] = std::from_chars(text.data(), text.data() + text.size(), value);
  std::string unit(end, text.data() + text.size());
  for (char& c : unit) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
  if (unit.size() > 1 && unit.back() == 'b') unit.pop_back();
  if (unit.size() > 1 && unit.back() == 'i') unit.pop_back();
  int power = unit.empty() || unit == "b" ? 0
              : unit == "k"               ? 1
              : unit == "m"               ? 2
              : unit == "g"               ? 3
              : unit == "t"               ? 4
              : unit == "p"               ? 5
                                          : -1;
  if (err != std::errc() || power < 0 || value < 0) throw UsageError("invalid size: '" + text + "'");
  for (int i = 0; i < power; ++i) value *= 1024;
  if (value > 9e18) throw UsageError("invalid size: '" + text + "'");
  return static_cast<std::int64_t>(value);
}

template <typename Number>
Number parse_number(const std::string& text, const char* flag) {
  Number n = 0;
  auto [end, err] = std::from_chars(text.data(), text.data() + text.size(), n);
  if (err != std::errc() || end != text.data() + text.size()) {
    throw UsageError(std::string("invalid value \"") + text + "\" for flag -" + flag);
  }
  return n;
}

std::string read_standard_input() {
  std::string text;
  char chunk[16384];
  for (ssize_t n; (n = ::read(0, chunk, sizeof chunk)) != 0;) {
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw_errno("read", "standard input");
    if (text.size() > kMaxConfigBytes) throw InvalidInput("standard input: too large");
    text.append(chunk, static_cast<std::size_t>(n));
  }
  return text;
}

Resources wanted_resources(const CommandLine& line) {
  if (std::string path = line.value("resources"); !path.empty()) {
    JsonDocument document(path == "-" ? read_standard_input() : read_file(path), "resources");
    return parse_resources(document.root());
  }
  Resources r;
  auto number = [&](const char* flag, auto& field) {
    using Number = typename std::remove_reference_t<decltype(field)>::value_type;
    if (line.has(flag)) field = parse_number<Number>(line.value(flag), flag);
  };
  auto bytes = [&](const char* flag, std::optional<std::int64_t>& field) {
    if (line.has(flag)) field = parse_bytes(line.value(flag));
  };
  number("blkio-weight", r.blkio_weight);
  number("cpu-period", r.cpu_period);
  number("cpu-quota", r.cpu_quota);
  number("cpu-burst", r.cpu_burst);
  number("cpu-share", r.cpu_shares);
  number("cpu-rt-period", r.cpu_realtime_period);
  number("cpu-rt-runtime", r.cpu_realtime_runtime);
  number("cpu-idle", r.cpu_idle);
  number("pids-limit", r.pids_limit);
  bytes("memory", r.memory_limit);
  bytes("memory-reservation", r.memory_reservation);
  bytes("memory-swap", r.memory_swap);
  bytes("kernel-memory", r.memory_kernel);
  bytes("kernel-memory-tcp", r.memory_kernel_tcp);
  r.cpuset_cpus = line.value("cpuset-cpus");
  r.cpuset_mems = line.value("cpuset-mems");
  return r;
}

}  // namespace

int update_command(const Context& context, const CommandLine& line) {
  State state = context.root.load(line.arguments()[0]);
  if (status_of(context.root, state) == Status::kStopped) throw InvalidInput("cannot update a stopped container");
  if (line.has("l3-cache-schema") || line.has("mem-bw-schema")) {
    throw InvalidInput("cache and memory bandwidth allocation (resctrl) is not supported");
  }
  Resources resources = wanted_resources(line);
  Cgroups cgroups = state.cgroup_dirs();
  if (state.systemd_unit) update_unit(*state.systemd_unit, resources, cgroups.v2());
  cgroups.apply(resources);
  cgroups.apply_cpu_quota(resources);
  return 0;
}

}  // namespace gantry::runtime
