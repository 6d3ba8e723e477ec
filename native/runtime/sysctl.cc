#include "sysctl.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <string_view>

#include "gantry/error.h"
#include "naive.h"

namespace gantry::runtime {
namespace {

constexpr std::string_view kIpc[] = {
    "kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem",
    "kernel.shmall", "kernel.shmmax", "kernel.shmmni", "kernel.shm_rmid_forced",
};

bool starts_with(std::string_view text, std::string_view prefix) { return text.substr(0, prefix.size()) == prefix; }

/// The parts of a name, as in sysctl(8): when the first separator is a slash, dots belong to the parts
/// ("net/ipv4/conf/eth0.1/forwarding").
std::vector<std::string> parts_of(const std::string& name) {
  auto first = name.find_first_of("./");
  char separator = first == std::string::npos ? '.' : name[first];
  std::vector<std::string> parts(1);
  for (char c : name) {
    if (c == separator) {
      parts.emplace_back();
      continue;
    }
    // Within a name that is separated by dots, a slash stands for one.
    parts.back() += c == '/' ? '.' : c;
  }
  return parts;
}

/// Each part is the name of a file, and none leads anywhere else.
void check_parts(const std::vector<std::string>& parts, const std::string& name) {
  for (const auto& part : parts) {
    bool plain = std::all_of(part.begin(), part.end(),
                             [](unsigned char c) { return c > ' ' && c < 0x7f && !std::strchr("+=\\%/", c); });
    if (part.empty() || part == "." || part == ".." || !plain)
      throw InvalidInput("sysctl \"" + name + "\" is not a name");
  }
}

std::string joined(const std::vector<std::string>& parts, char separator) {
  std::string all;
  for (const auto& part : parts) all += (all.empty() ? "" : std::string(1, separator)) + part;
  return all;
}

/// A namespace that is joined by a path may well be the host's.
bool is_own(const NamespaceSpec& ns) {
  if (ns.path.empty()) return false;
  const char* own = ns.flag == CLONE_NEWNET   ? "/proc/self/ns/net"
                    : ns.flag == CLONE_NEWIPC ? "/proc/self/ns/ipc"
                                              : "/proc/self/ns/uts";
  struct stat a, b;
  if (::stat(ns.path.c_str(), &a) != 0 || ::stat(own, &b) != 0) throw_errno("stat namespace", ns.path);
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

}  // namespace

void check_sysctls(const Spec& spec) {
  if constexpr (kNaive) return;
  for (const auto& sysctl : spec.sysctl) {
    const std::string& raw = sysctl.first;
    auto parts = parts_of(raw);
    check_parts(parts, raw);
    std::string name = joined(parts, '.');
    auto own = [&](int flag) {
      const auto* ns = spec.find_namespace(flag);
      if (!ns || is_own(*ns)) throw InvalidInput("sysctl \"" + raw + "\" is not allowed in the host's namespace");
    };
    if (std::find(std::begin(kIpc), std::end(kIpc), name) != std::end(kIpc) || starts_with(name, "fs.mqueue.")) {
      own(CLONE_NEWIPC);
    } else if (starts_with(name, "net.")) {
      own(CLONE_NEWNET);
    } else if (name == "kernel.domainname") {
      own(CLONE_NEWUTS);
    } else if (name == "kernel.hostname") {
      own(CLONE_NEWUTS);
      throw InvalidInput("sysctl \"kernel.hostname\" conflicts with the specification's own field");
    } else {
      throw InvalidInput("sysctl \"" + raw + "\" is not in a separate kernel namespace");
    }
  }
}

void write_sysctls(const Plan& plan) {
  for (const auto& [raw, value] : plan.spec.sysctl) {
    // The kernel answers for the namespaces of whoever writes, whichever procfs it is.
    plan.proc.write("sys/" + joined(parts_of(raw), '/'), value);
  }
}

}  // namespace gantry::runtime
