#include <fcntl.h>
#include <rapidjson/prettywriter.h>
#include <rapidjson/stringbuffer.h>
#include <stdio.h>
#include <unistd.h>

#include "capability.h"
#include "commands.h"
#include "gantry/error.h"

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

constexpr char kTemplate[] = R"({
  "ociVersion": "1.0.2",
  "process": {
    "terminal": true,
    "user": {"uid": 0, "gid": 0},
    "args": ["sh"],
    "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
    "cwd": "/",
    "capabilities": {
      "bounding": ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"],
      "effective": ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"],
      "permitted": ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]
    },
    "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
    "noNewPrivileges": true
  },
  "root": {"path": "rootfs", "readonly": true},
  "hostname": "gantry",
  "mounts": [
    {"destination": "/proc", "type": "proc", "source": "proc"},
    {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
     "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
    {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
     "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
    {"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
     "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]},
    {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": ["nosuid", "noexec", "nodev"]},
    {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]},
    {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
     "options": ["nosuid", "noexec", "nodev", "relatime", "ro"]}
  ],
  "linux": {
    "resources": {"devices": [{"allow": false, "access": "rwm"}]},
    "namespaces": [{"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"},
                   {"type": "cgroup"}],
    "maskedPaths": ["/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
                    "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi"],
    "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
  }
}
)";

}  // namespace

int spec_command(const Context&, const CommandLine& line) {
  std::string bundle = line.value("bundle");
  std::string path = (bundle.empty() ? "" : bundle + "/") + "config.json";
  UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
  if (!fd) {
    if (errno == EEXIST) throw InvalidInput("file " + path + " exists. Remove it first");
    throw_errno("create", path);
  }
  std::string text = kTemplate;
  if (::write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) throw_errno("write", path);
  return 0;
}

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
  list(w, "mountOptions", {"async",       "atime",          "bind",        "defaults",
                           "dev",         "diratime",       "dirsync",     "exec",
                           "lazytime",    "mand",           "noatime",     "nodev",
                           "nodiratime",  "noexec",         "nolazytime",  "nomand",
                           "norelatime",  "nostrictatime",  "nosuid",      "nosymfollow",
                           "private",     "ratime",         "rbind",       "rdev",
                           "rdiratime",   "relatime",       "remount",     "rexec",
                           "rnoatime",    "rnodev",         "rnodiratime", "rnoexec",
                           "rnorelatime", "rnostrictatime", "rnosuid",     "rnosymfollow",
                           "ro",          "rprivate",       "rrelatime",   "rro",
                           "rrw",         "rshared",        "rslave",      "rstrictatime",
                           "rsuid",       "rsymfollow",     "runbindable", "rw",
                           "shared",      "slave",          "strictatime", "suid",
                           "symfollow",   "sync",           "tmpcopyup",   "unbindable",
                           "idmap",       "ridmap"});
  w.Key("linux");
  w.StartObject();
  list(w, "namespaces", {"cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"});
  list(w, "capabilities", capability_names());
  w.Key("cgroup");
  w.StartObject();
  for (auto [name, value] : {std::pair("v1", true), std::pair("v2", true), std::pair("systemd", false),
                             std::pair("systemdUser", false), std::pair("rdma", true)}) {
    w.Key(name);
    w.Bool(value);
  }
  w.EndObject();
  w.Key("seccomp");
  w.StartObject();
  w.Key("enabled");
  w.Bool(true);
  list(w, "actions",
       {"SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD",
        "SCMP_ACT_LOG", "SCMP_ACT_TRACE", "SCMP_ACT_TRAP"});
  list(
      w, "operators",
      {"SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_LE", "SCMP_CMP_LT", "SCMP_CMP_MASKED_EQ", "SCMP_CMP_NE"});
  list(w, "archs",
       {"SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM", "SCMP_ARCH_MIPS", "SCMP_ARCH_MIPS64", "SCMP_ARCH_MIPS64N32",
        "SCMP_ARCH_MIPSEL", "SCMP_ARCH_MIPSEL64", "SCMP_ARCH_MIPSEL64N32", "SCMP_ARCH_PPC", "SCMP_ARCH_PPC64",
        "SCMP_ARCH_PPC64LE", "SCMP_ARCH_RISCV64", "SCMP_ARCH_S390", "SCMP_ARCH_S390X", "SCMP_ARCH_X32", "SCMP_ARCH_X86",
        "SCMP_ARCH_X86_64"});
  for (const char* name : {"knownFlags", "supportedFlags"}) {
    list(w, name, {"SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_SPEC_ALLOW", "SECCOMP_FILTER_FLAG_LOG"});
  }
  w.EndObject();
  flag(w, "apparmor", true);
  flag(w, "selinux", true);
  flag(w, "intelRdt", false);
  w.Key("mountExtensions");
  w.StartObject();
  flag(w, "idmap", true);
  w.EndObject();
  w.EndObject();
  w.EndObject();
  std::printf("%s\n", buffer.GetString());
  return 0;
}

}  // namespace gantry::runtime
