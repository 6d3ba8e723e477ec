#include "credentials.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/keyctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cstring>
#include <vector>

#include "errno_text.h"
#include "gantry/error.h"
#include "naive.h"

namespace gantry::runtime {
namespace {

void change_directory(const std::string& cwd, bool forgive_access) {
  if (::chdir(cwd.c_str()) != 0) {
    if (forgive_access && errno == EACCES) return;
    throw InvalidInput("chdir to cwd (\"" + cwd + "\") set in config.json failed: " + errno_text(errno));
  }
  if constexpr (kNaive) return;
  // A descriptor of the host's, reached through /proc/self/fd, has no path here: the kernel says "(unreachable)".
  char path[PATH_MAX];
  long n = ::syscall(SYS_getcwd, path, sizeof path);
  if (n <= 0 || path[0] != '/')
    throw InvalidInput("current working directory is outside of container mount namespace root");
}

std::vector<unsigned long> bit_mask(const std::vector<unsigned>& numbers) {
  constexpr unsigned kBits = 8 * sizeof(unsigned long);
  std::vector<unsigned long> mask(kMaxProcessors / kBits);
  for (unsigned n : numbers) mask[n / kBits] |= 1ul << n % kBits;
  return mask;
}

bool selinux_enabled() { return ::access("/sys/fs/selinux/enforce", F_OK) == 0; }
bool apparmor_enabled() {
  UniqueFd fd(::open("/sys/module/apparmor/parameters/enabled", O_RDONLY | O_CLOEXEC));
  char answer = 0;
  return fd && ::read(fd.get(), &answer, 1) == 1 && answer == 'Y';
}

}  // namespace

void set_up_keyring(const Plan& plan) {
  if (plan.no_new_keyring || (kNaive && plan.further)) return;
  // A key is only for whom its label lets at it.
  if (!plan.process.selinux_label.empty()) plan.proc.write("self/attr/keycreate", plan.process.selinux_label);
  std::string name = "_ses." + plan.id;
  long ring = ::syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, name.c_str());
  if (ring < 0) {
    if (errno == ENOSYS) return;
    throw_errno("create session keyring");
  }
  if (plan.further) {
    // Found by its name, with the permissions that the first process gave it.
    if (!plan.process.selinux_label.empty()) plan.proc.write("self/attr/keycreate", "");
    return;
  }
  // Its owner may search it, also after the user changed: "description;uid;gid;perm;name" tells what there is.
  char text[1024];
  long n = ::syscall(SYS_keyctl, KEYCTL_DESCRIBE, ring, text, sizeof text - 1);
  if (n <= 0) throw_errno("describe session keyring");
  text[std::min<long>(n, sizeof text - 1)] = 0;
  const char* field = text;
  for (int i = 0; i < 3 && field; ++i) {
    field = std::strchr(field, ';');
    if (field) ++field;
  }
  if (!field) throw InvalidInput("session keyring has an unknown description");
  unsigned long permissions = std::strtoul(field, nullptr, 16);
  if (::syscall(SYS_keyctl, KEYCTL_SETPERM, ring, permissions | 0x80000) != 0) throw_errno("share session keyring");
  if (!plan.process.selinux_label.empty()) plan.proc.write("self/attr/keycreate", "");
}

void set_rlimits(const std::vector<Rlimit>& limits) {
  for (const auto& limit : limits) {
    struct rlimit now, wanted = {limit.soft, limit.hard};
    if (::getrlimit(static_cast<__rlimit_resource>(limit.resource), &now) == 0 && now.rlim_cur == wanted.rlim_cur &&
        now.rlim_max == wanted.rlim_max) {
      continue;
    }
    if (::setrlimit(static_cast<__rlimit_resource>(limit.resource), &wanted) != 0) {
      throw_errno("error setting rlimits for " + limit.name);
    }
  }
}

void set_io_priority(const Process& process) {
  if (process.io_priority && ::syscall(SYS_ioprio_set, 1, 0, *process.io_priority) != 0) throw_errno("set io priority");
}

void set_scheduler(const Process& process, pid_t pid) {
  if (!process.scheduler) return;
  struct {
    std::uint32_t size, policy;
    std::uint64_t flags;
    std::int32_t nice;
    std::uint32_t priority;
    std::uint64_t runtime, deadline, period;
  } attributes = {};
  const auto& s = *process.scheduler;
  attributes.size = sizeof attributes;
  attributes.policy = s.policy;
  attributes.flags = s.flags;
  attributes.nice = s.nice;
  attributes.priority = s.priority;
  attributes.runtime = s.runtime;
  attributes.deadline = s.deadline;
  attributes.period = s.period;
  if (::syscall(SYS_sched_setattr, pid, &attributes, 0) != 0) throw_errno("error setting scheduler");
}

void set_affinity(const std::vector<unsigned>& processors) {
  if (processors.empty()) return;
  std::vector<unsigned long> mask = bit_mask(processors);
  if (::syscall(SYS_sched_setaffinity, 0, mask.size() * sizeof(unsigned long), mask.data()) != 0) {
    throw_errno("set CPU affinity");
  }
}

void set_memory_policy(const MemoryPolicy& policy) {
  std::vector<unsigned long> mask = bit_mask(policy.nodes);
  // The kernel takes one bit less than it is told.
  if (::syscall(SYS_set_mempolicy, policy.mode, policy.nodes.empty() ? nullptr : mask.data(),
                policy.nodes.empty() ? 0 : mask.size() * 8 * sizeof(unsigned long)) != 0) {
    throw_errno("set memory policy");
  }
}

void set_exec_label(const Plan& plan) {
  const auto& process = plan.process;
  auto write = [&](const std::string& file, const std::string& value, const std::string& shown) {
    plan.proc.write(file, value);
    // Whoever can put something else in our way must not make us go on without the label.
    std::string now = plan.proc.read(file);
    while (!now.empty() && (now.back() == '\n' || now.back() == '\0')) now.pop_back();
    if (now != shown && now.rfind(shown + " (", 0) != 0) throw InvalidInput("/proc/" + file + " did not take " + shown);
  };
  if (!process.selinux_label.empty()) write("self/attr/exec", process.selinux_label, process.selinux_label);
  if (!process.apparmor_profile.empty()) {
    // The file of AppArmor's own if the kernel has it: with several security modules attr/exec may be another's.
    std::string value = "exec " + process.apparmor_profile;
    try {
      write("self/attr/apparmor/exec", value, process.apparmor_profile);
    } catch (const SysError& e) {
      if (e.err() != ENOENT) throw;
      write("self/attr/exec", value, process.apparmor_profile);
    }
  }
}

void check_labels(const Process& process) {
  if (!process.apparmor_profile.empty() && !apparmor_enabled()) {
    throw InvalidInput("apparmor profile specified, but apparmor is not enabled on this host: " +
                       process.apparmor_profile);
  }
  if (!process.selinux_label.empty() && !selinux_enabled()) {
    throw InvalidInput("selinux label is specified in config, but selinux is disabled or not supported");
  }
}

void own_standard_streams(uid_t uid) {
  struct stat null;
  bool has_null = ::stat("/dev/null", &null) == 0;
  for (int fd = 0; fd <= 2; ++fd) {
    struct stat st;
    if (::fstat(fd, &st) != 0) {
      if (errno == EBADF) continue;
      throw_errno("stat standard stream");
    }
    if (st.st_uid == uid) continue;
    // The null device is everybody's.
    if (S_ISCHR(st.st_mode) && (st.st_rdev == makedev(1, 3) || (has_null && st.st_rdev == null.st_rdev))) continue;
    // The group stays: a terminal's is "tty". Unmapped owners and read-only file systems cannot be helped.
    if (::fchown(fd, uid, st.st_gid) != 0 && errno != EINVAL && errno != EPERM && errno != EROFS) {
      throw_errno("chown standard stream");
    }
  }
}

void change_user(const Plan& plan) {
  const auto& process = plan.process;
  if (process.capabilities) apply_bounding_set(plan.capabilities);
  // Now, for a directory that only root may enter, and once more as the user, for one that root may not (a network file
  // system's).
  change_directory(process.cwd, true);
  if (::prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) != 0) throw_errno("keep capabilities");
  if (::syscall(SYS_setgroups, process.additional_gids.size(), process.additional_gids.data()) != 0) {
    // A user namespace made by an unprivileged user has no say over groups.
    if (errno != EPERM || !process.additional_gids.empty()) throw_errno("setgroups");
  }
  if (::syscall(SYS_setresgid, process.gid, process.gid, process.gid) != 0) {
    throw_errno("setgid to " + std::to_string(process.gid));
  }
  if (::syscall(SYS_setresuid, process.uid, process.uid, process.uid) != 0) {
    throw_errno("setuid to " + std::to_string(process.uid));
  }
  ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  if (::prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) != 0) throw_errno("drop capabilities");
  if (process.capabilities) apply_capabilities(plan.capabilities);
  change_directory(process.cwd, false);
}

void set_oom_score_adj(const Plan& plan, pid_t pid) {
  if (!plan.process.oom_score_adj) return;
  std::string path = std::to_string(pid) + "/oom_score_adj";
  try {
    if (std::strtol(plan.proc.read(path).c_str(), nullptr, 10) == *plan.process.oom_score_adj) return;
    plan.proc.write(path, std::to_string(*plan.process.oom_score_adj));
  } catch (const SysError& e) {
    if (!plan.rootless || (e.err() != EACCES && e.err() != EPERM)) throw;
  }
}

}  // namespace gantry::runtime
