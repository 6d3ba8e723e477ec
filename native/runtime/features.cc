#include <linux/seccomp.h>
#include <rapidjson/prettywriter.h>
#include <rapidjson/stringbuffer.h>
#include <seccomp.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "capability.h"
#include "commands.h"
#include "mount_options.h"
#include "seccomp_filter.h"

namespace gantry::runtime {
namespace {

using Writer = rapidjson::PrettyWriter<rapidjson::StringBuffer>;

void list(Writer& w, const char* name, const std::vector<std::string>& values) {
  w.Key(name);
  w.StartArray();
  for (const auto& value : values) w.String(value.c_str());
  w.EndArray();
}

void flag(Writer& w, const char* name, bool value) {
  w.Key(name);
  w.StartObject();
  w.Key("enabled");
  w.Bool(value);
  w.EndObject();
}

/// A filter that is not there is a bad address where the flag is known, and else the flag is invalid.
bool kernel_takes(unsigned flag) {
  // A listener is asked for as well where the flag is about one.
  if (flag == kWaitKillable) flag |= SECCOMP_FILTER_FLAG_NEW_LISTENER;
  return ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flag, nullptr) < 0 && errno == EFAULT;
}

void write_seccomp(Writer& w) {
  w.Key("seccomp");
  w.StartObject();
  w.Key("enabled");
  w.Bool(true);
  list(w, "actions",
       {"SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD",
        "SCMP_ACT_LOG", "SCMP_ACT_NOTIFY", "SCMP_ACT_TRACE", "SCMP_ACT_TRAP"});
  list(
      w, "operators",
      {"SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_LE", "SCMP_CMP_LT", "SCMP_CMP_MASKED_EQ", "SCMP_CMP_NE"});
  list(w, "archs",
       {"SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM", "SCMP_ARCH_MIPS", "SCMP_ARCH_MIPS64", "SCMP_ARCH_MIPS64N32",
        "SCMP_ARCH_MIPSEL", "SCMP_ARCH_MIPSEL64", "SCMP_ARCH_MIPSEL64N32", "SCMP_ARCH_PARISC", "SCMP_ARCH_PARISC64",
        "SCMP_ARCH_PPC", "SCMP_ARCH_PPC64", "SCMP_ARCH_PPC64LE", "SCMP_ARCH_RISCV64", "SCMP_ARCH_S390",
        "SCMP_ARCH_S390X", "SCMP_ARCH_X32", "SCMP_ARCH_X86", "SCMP_ARCH_X86_64"});
  std::vector<std::string> known, supported;
  for (const auto& [name, value] : kSeccompFlags) {
    known.push_back(name);
    if (kernel_takes(value)) supported.push_back(name);
  }
  list(w, "knownFlags", known);
  list(w, "supportedFlags", supported);
  w.EndObject();
}

}  // namespace

int features_command(const Context&, const CommandLine&) {
  rapidjson::StringBuffer buffer;
  Writer w(buffer);
  w.SetIndent(' ', 2);
  w.StartObject();
  w.Key("ociVersionMin");
  w.String("1.0.0");
  w.Key("ociVersionMax");
  w.String("1.2.0");
  list(w, "hooks", {"prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"});
  list(w, "mountOptions", mount_option_names());
  w.Key("linux");
  w.StartObject();
  list(w, "namespaces", {"cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"});
  list(w, "capabilities", capability_names());
  w.Key("cgroup");
  w.StartObject();
  for (const char* name : {"v1", "v2", "systemd", "systemdUser", "rdma"}) {
    w.Key(name);
    w.Bool(true);
  }
  w.EndObject();
  write_seccomp(w);
  flag(w, "apparmor", true);
  flag(w, "selinux", true);
  flag(w, "intelRdt", false);
  w.Key("memoryPolicy");
  w.StartObject();
  list(w, "modes",
       {"MPOL_BIND", "MPOL_DEFAULT", "MPOL_INTERLEAVE", "MPOL_LOCAL", "MPOL_PREFERRED", "MPOL_PREFERRED_MANY",
        "MPOL_WEIGHTED_INTERLEAVE"});
  list(w, "flags", {"MPOL_F_NUMA_BALANCING", "MPOL_F_RELATIVE_NODES", "MPOL_F_STATIC_NODES"});
  w.EndObject();
  w.Key("mountExtensions");
  w.StartObject();
  flag(w, "idmap", true);
  w.EndObject();
  flag(w, "netDevices", true);
  w.EndObject();
  w.Key("annotations");
  w.StartObject();
  w.Key("io.github.seccomp.libseccomp.version");
  std::string version =
      std::to_string(SCMP_VER_MAJOR) + "." + std::to_string(SCMP_VER_MINOR) + "." + std::to_string(SCMP_VER_MICRO);
  w.String(version.c_str());
  // Who manages checkpoints asks runtimes by the name that runc gave it.
  w.Key("org.opencontainers.runc.checkpoint.enabled");
  w.String("true");
  w.EndObject();
  list(w, "potentiallyUnsafeConfigAnnotations", {"org.systemd.property."});
  w.EndObject();
  std::printf("%s\n", buffer.GetString());
  return 0;
}

}  // namespace gantry::runtime
