#include "host_mounts.h"

#include <fcntl.h>
#include <sched.h>

#include "child.h"
#include "gantry/error.h"
#include "mount_fd.h"
#include "namespaces.h"

namespace gantry::runtime {
namespace {

/// A user namespace that exists only for its mappings.
UniqueFd user_namespace(const Plan& plan, const std::vector<IdMapping>& uids, const std::vector<IdMapping>& gids) {
  Child holder = spawn_idle(CLONE_NEWUSER);
  Spec mappings;
  mappings.uid_mappings = uids;
  mappings.gid_mappings = gids;
  write_id_maps(plan.proc, holder.pid(), mappings);
  UniqueFd dir = plan.proc.open(std::to_string(holder.pid()) + "/ns", O_RDONLY | O_DIRECTORY);
  UniqueFd fd(::openat(dir.get(), "user", O_RDONLY | O_CLOEXEC));
  if (!fd) throw_errno("open the user namespace of an id-mapped mount");
  return fd;
}

/// The user namespace whose mappings an id-mapped mount takes: its own, or the container's.
UniqueFd mapping_of(const Plan& plan, const MountSpec& entry) {
  if (!entry.uid_mappings.empty()) return user_namespace(plan, entry.uid_mappings, entry.gid_mappings);
  const auto* ns = plan.spec.find_namespace(CLONE_NEWUSER);
  if (!ns) throw InvalidInput("idmap without mappings: " + entry.destination);
  if (!ns->path.empty()) return open_namespace(ns->path, CLONE_NEWUSER);
  return user_namespace(plan, plan.spec.uid_mappings, plan.spec.gid_mappings);
}

}  // namespace

UniqueFd clone_source(const Plan& plan, const MountSpec& entry, bool recursive) {
  if (entry.source.empty()) throw InvalidInput("bind mount without a source for " + entry.destination);
  std::string source = entry.source[0] == '/' ? entry.source : plan.bundle + "/" + entry.source;
  try {
    return clone_mount(AT_FDCWD, source, recursive);
  } catch (const SysError& e) {
    throw SysError(e.err(), "error mounting \"" + source + "\" to rootfs at \"" + entry.destination + "\": open",
                   source);
  }
}

std::vector<std::pair<std::size_t, UniqueFd>> make_host_mounts(const Plan& plan) {
  std::vector<std::pair<std::size_t, UniqueFd>> all;
  bool user_namespace = plan.spec.find_namespace(CLONE_NEWUSER) != nullptr;
  for (std::size_t i = 0; i < plan.spec.mounts.size(); ++i) {
    const auto& entry = plan.spec.mounts[i];
    MountOptions options = parse_mount_options(entry.options);
    bool bind = (options.bind || entry.type == "bind") && !options.remount;
    bool mapped = !entry.uid_mappings.empty() || options.id_map;
    if (mapped && !bind) throw InvalidInput("id-mapped mounts are bind mounts: " + entry.destination);
    // Without rights over the host there is nothing that we can and init cannot.
    if (!bind || (!mapped && (!user_namespace || plan.rootless))) continue;
    UniqueFd mount = clone_source(plan, entry, options.recursive_bind);
    if (mapped) {
      map_mount_ids(mount.get(), mapping_of(plan, entry).get(), options.id_map_tree, entry.destination);
    }
    all.emplace_back(i, std::move(mount));
  }
  return all;
}

}  // namespace gantry::runtime
