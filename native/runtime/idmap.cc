#include "idmap.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "child.h"
#include "gantry/error.h"
#include "mount_fd.h"

namespace gantry::runtime {
namespace {

/// A user namespace that exists only for its mappings.
UniqueFd user_namespace(const Plan& plan, const std::vector<IdMapping>& uids, const std::vector<IdMapping>& gids) {
  pid_t parent = ::getpid();
  struct clone_args args = {};
  args.flags = CLONE_NEWUSER;
  args.exit_signal = SIGCHLD;
  pid_t pid = static_cast<pid_t>(::syscall(SYS_clone3, &args, sizeof args));
  if (pid < 0) throw_errno("make a user namespace for an id-mapped mount");
  if (pid == 0) {
    // It is in no cgroup of the container, so nobody would find it if we were killed.
    ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    if (::getppid() != parent) ::_exit(1);
    for (;;) ::pause();
  }
  Child holder(pid, UniqueFd());
  Spec mappings;
  mappings.uid_mappings = uids;
  mappings.gid_mappings = gids;
  write_id_maps(plan.proc, pid, mappings);
  UniqueFd dir = plan.proc.open(std::to_string(pid) + "/ns", O_RDONLY | O_DIRECTORY);
  UniqueFd fd(::openat(dir.get(), "user", O_RDONLY | O_CLOEXEC));
  if (!fd) throw_errno("open the user namespace of an id-mapped mount");
  return fd;
}

}  // namespace

std::vector<std::pair<std::size_t, UniqueFd>> map_mounts(const Plan& plan) {
  std::vector<std::pair<std::size_t, UniqueFd>> all;
  for (std::size_t i = 0; i < plan.spec.mounts.size(); ++i) {
    const auto& entry = plan.spec.mounts[i];
    MountOptions options = parse_mount_options(entry.options);
    bool own = !entry.uid_mappings.empty();
    if (!own && !options.id_map) continue;
    if (!options.bind && entry.type != "bind")
      throw InvalidInput("id-mapped mounts are bind mounts: " + entry.destination);
    const auto& uids = own ? entry.uid_mappings : plan.spec.uid_mappings;
    const auto& gids = own ? entry.gid_mappings : plan.spec.gid_mappings;
    if (uids.empty() || gids.empty()) throw InvalidInput("idmap without mappings: " + entry.destination);
    UniqueFd ns = user_namespace(plan, uids, gids);
    std::string source = entry.source[0] == '/' ? entry.source : plan.bundle + "/" + entry.source;
    UniqueFd mount = clone_mount(AT_FDCWD, source, options.recursive_bind);
    map_mount_ids(mount.get(), ns.get(), options.id_map_tree, entry.destination);
    all.emplace_back(i, std::move(mount));
  }
  return all;
}

}  // namespace gantry::runtime
