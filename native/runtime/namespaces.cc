#include "namespaces.h"

#include <fcntl.h>
#include <linux/nsfs.h>
#include <linux/sched.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gantry/error.h"

namespace gantry::runtime {
namespace {

/// As /proc/PID/ns and setns(2) name them. The user namespace first: it gives the rights over the others. The mount
/// namespace last: it changes what paths are.
constexpr struct {
  const char* name;
  int flag;
} kKinds[] = {
    {"user", CLONE_NEWUSER}, {"ipc", CLONE_NEWIPC},   {"uts", CLONE_NEWUTS},       {"net", CLONE_NEWNET},
    {"pid", CLONE_NEWPID},   {"time", CLONE_NEWTIME}, {"cgroup", CLONE_NEWCGROUP}, {"mnt", CLONE_NEWNS},
};

const char* name_of(int flag) {
  for (const auto& kind : kKinds) {
    if (kind.flag == flag) return kind.name;
  }
  return "unknown";
}

void add(Plan& plan, int flag, UniqueFd fd) {
  if (flag == CLONE_NEWPID) {
    plan.join_pid = std::move(fd);
  } else {
    plan.join.emplace_back(flag, std::move(fd));
  }
}

void make_time_namespace(const Plan& plan) {
  if (::unshare(CLONE_NEWTIME) != 0) throw_errno("unshare the time namespace");
  std::string offsets;
  for (const auto& offset : plan.spec.time_offsets) {
    offsets += offset.clock + " " + std::to_string(offset.seconds) + " " + std::to_string(offset.nanoseconds) + "\n";
  }
  // In a user namespace the files of a process that is not dumpable are not ours; the caller takes it back.
  ::prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
  if (!offsets.empty()) plan.proc.write("self/timens_offsets", offsets);
  UniqueFd dir = plan.proc.open("self/ns", O_RDONLY | O_DIRECTORY);
  UniqueFd made(::openat(dir.get(), "time_for_children", O_RDONLY | O_CLOEXEC));
  if (!made) throw_errno("open", "/proc/self/ns/time_for_children");
  if (::setns(made.get(), CLONE_NEWTIME) != 0) throw_errno("join the new time namespace");
}

}  // namespace

UniqueFd open_namespace(const std::string& path, int flag) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) throw_errno("open namespace", path);
  int type = ::ioctl(fd.get(), NS_GET_NSTYPE);
  if (type < 0) throw InvalidInput(path + " is not a namespace");
  if (type != flag) throw InvalidInput(path + " is a namespace of another kind than " + name_of(flag));
  return fd;
}

bool in_user_namespace() {
  // The first one maps every id to itself.
  std::string map = read_file("/proc/self/uid_map");
  unsigned long inside = 0, outside = 0, size = 0;
  bool read = std::sscanf(map.c_str(), "%lu %lu %lu", &inside, &outside, &size) == 3;
  return !read || inside != 0 || outside != 0 || size != 0xffffffff;
}

int prepare_new_namespaces(Plan& plan) {
  int fresh = plan.spec.new_namespaces();
  for (const auto& kind : kKinds) {
    const auto* ns = plan.spec.find_namespace(kind.flag);
    if (ns && !ns->path.empty()) add(plan, kind.flag, open_namespace(ns->path, kind.flag));
  }
  plan.new_cgroup_namespace = fresh & CLONE_NEWCGROUP;
  plan.new_time_namespace = fresh & CLONE_NEWTIME;
  plan.new_user_namespace = fresh & CLONE_NEWUSER;
  plan.new_network_namespace = fresh & CLONE_NEWNET;
  plan.new_mount_namespace = fresh & CLONE_NEWNS;
  return fresh & ~(CLONE_NEWCGROUP | CLONE_NEWTIME);
}

void prepare_namespaces_of(Plan& plan, pid_t init) {
  UniqueFd theirs = plan.proc.open(std::to_string(init) + "/ns", O_RDONLY | O_DIRECTORY);
  UniqueFd ours = plan.proc.open("self/ns", O_RDONLY | O_DIRECTORY);
  for (const auto& kind : kKinds) {
    struct stat a, b;
    if (::fstatat(theirs.get(), kind.name, &a, 0) != 0) {
      if (errno == ENOENT) continue;
      throw_errno("stat namespace", kind.name);
    }
    if (::fstatat(ours.get(), kind.name, &b, 0) == 0 && a.st_ino == b.st_ino) continue;
    UniqueFd fd(::openat(theirs.get(), kind.name, O_RDONLY | O_CLOEXEC));
    if (!fd) throw_errno("open namespace", kind.name);
    if (kind.flag == CLONE_NEWUSER) plan.new_user_namespace = true;
    add(plan, kind.flag, std::move(fd));
  }
}

void join_namespaces(Plan& plan) {
  for (const auto& [flag, fd] : plan.join) {
    if (::setns(fd.get(), flag) != 0) throw_errno(std::string("join namespace ") + name_of(flag));
  }
  plan.join.clear();
  plan.join_pid.reset();
}

void detach_root(const std::string& mount_namespace, const std::string& rootfs) {
  UniqueFd fd = open_namespace(mount_namespace, CLONE_NEWNS);
  pid_t pid = ::fork();
  if (pid < 0) throw_errno("fork");
  if (pid == 0) {
    bool gone = ::setns(fd.get(), CLONE_NEWNS) == 0 && ::umount2(rootfs.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) == 0;
    ::_exit(gone ? 0 : errno);
  }
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0) {
    if (errno != EINTR) throw_errno("wait for process", std::to_string(pid));
  }
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) throw SysError(WEXITSTATUS(status), "unmount", rootfs);
}

void make_late_namespaces(const Plan& plan) {
  if (plan.new_cgroup_namespace && ::unshare(CLONE_NEWCGROUP) != 0) throw_errno("unshare the cgroup namespace");
  if (plan.new_time_namespace) make_time_namespace(plan);
}

}  // namespace gantry::runtime
