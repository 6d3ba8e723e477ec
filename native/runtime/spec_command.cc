#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "commands.h"
#include "gantry/error.h"

namespace gantry::runtime {
namespace {

// What differs for an unprivileged user stands as @NAME@.
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
     "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"@TTY_GROUP@]},
    {"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
     "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]},
    {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": ["nosuid", "noexec", "nodev"]},
    {"destination": "/sys", @SYS@"nosuid", "noexec", "nodev", "ro"]},
    {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
     "options": ["nosuid", "noexec", "nodev", "relatime", "ro"]}
  ],
  "linux": {
    @RESOURCES@,
    "namespaces": [{"type": "pid"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"}, {"type": "cgroup"},
                   @NAMESPACE@],
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
  bool rootless = line.has("rootless");
  std::string text = kTemplate;
  auto fill = [&](const std::string& name, const std::string& value) {
    text.replace(text.find("@" + name + "@"), name.size() + 2, value);
  };
  auto map = [](const char* name, unsigned id) {
    return "\"" + std::string(name) + "\": [{\"containerID\": 0, \"hostID\": " + std::to_string(id) + ", \"size\": 1}]";
  };
  fill("TTY_GROUP", rootless ? "" : ", \"gid=5\"");
  // A sysfs may be mounted only by the owner of the network namespace that it shows.
  fill("SYS", rootless ? R"("type": "none", "source": "/sys", "options": ["rbind", )"
                       : R"("type": "sysfs", "source": "sysfs", "options": [)");
  fill("NAMESPACE", rootless ? R"({"type": "user"})" : R"({"type": "network"})");
  fill("RESOURCES", rootless ? map("uidMappings", ::geteuid()) + ",\n    " + map("gidMappings", ::getegid())
                             : R"("resources": {"devices": [{"allow": false, "access": "rwm"}]})");
  if (::write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) throw_errno("write", path);
  return 0;
}

}  // namespace gantry::runtime
