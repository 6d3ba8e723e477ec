#include "sysctl.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/stat.h>

#include <algorithm>
#include <string_view>

#include "gantry/error.h"

namespace gantry::runtime {
namespace {

constexpr std::string_view kIpc[] = {
    "kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem",
    "kernel.shmall", "kernel.shmmax", "kernel.shmmni", "kernel.shm_rmid_forced",
};

bool starts_with(std::string_view text, std::string_view prefix) { return text.substr(0, prefix.size()) == prefix; }

/// As in sysctl(8): when the first separator is a slash, dots belong to names ("net/ipv4/conf/eth0.1/forwarding").
std::string dotted(std::string name) {
  auto first = name.find_first_of("./");
  if (first == std::string::npos || name[first] == '.') return name;
  for (char& c : name) c = c == '/' ? '.' : c == '.' ? '/' : c;
  return name;
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
  for (const auto& [raw, value] : spec.sysctl) {
    std::string name = dotted(raw);
    auto own = [&](int flag) {
      const auto* ns = spec.find_namespace(flag);
      if (!ns || is_own(*ns)) throw InvalidInput("sysctl \"" + raw + "\" is not allowed in the host's namespace");
    };
    if (name.find("..") != std::string::npos) throw InvalidInput("sysctl \"" + raw + "\" is not a name");
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
    std::string path = dotted(raw);
    for (char& c : path) c = c == '.' ? '/' : c == '/' ? '.' : c;
    // The kernel answers for the namespaces of whoever writes, whichever procfs it is.
    plan.proc.write("sys/" + path, value);
  }
}

}  // namespace gantry::runtime
