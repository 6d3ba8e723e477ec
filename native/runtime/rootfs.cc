#include "rootfs.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "gantry/error.h"
#include "mount_fd.h"
#include "naive.h"
#include "path_in_root.h"

// From sys/mount.h, which cannot be included beside linux/mount.h.
extern "C" int umount2(const char* target, int flags) noexcept;

namespace gantry::runtime {
namespace {

constexpr int kDetach = 2;  // MNT_DETACH
constexpr unsigned long kSlave = 1ul << 19, kPrivate = 1ul << 18;

void set_propagation_of(const std::string& path, unsigned long propagation, bool recursive) {
  UniqueFd fd(::open(path.c_str(), O_PATH | O_CLOEXEC));
  if (!fd) throw_errno("open", path);
  set_mount_attributes(fd.get(), 0, 0, propagation, recursive, path);
}

/// The mount that `path` lies on must not be shared: a mount made there would show up on the host.
void make_parent_private(std::string path) {
  for (;;) {
    struct statx st;
    if (::statx(AT_FDCWD, path.c_str(), AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, STATX_BASIC_STATS, &st) != 0) {
      throw_errno("stat", path);
    }
    if (path == "/" || (st.stx_attributes & STATX_ATTR_MOUNT_ROOT)) break;
    auto slash = path.rfind('/');
    path = slash == 0 ? "/" : path.substr(0, slash);
  }
  set_propagation_of(path, kPrivate, false);
}

/// The container's null device, or the host's where it has none: by that name an image may have anything.
UniqueFd null_device(int root) {
  struct stat st;
  UniqueFd own = try_open_in_root(root, "/dev/null");
  if constexpr (kNaive) return own;
  if (own && ::fstat(own.get(), &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3)) return own;
  UniqueFd host(::open("/dev/null", O_PATH | O_NOFOLLOW | O_CLOEXEC));
  if (!host) throw_errno("open", "/dev/null");
  return host;
}

bool below(const std::string& path, const std::string& dir) {
  return path.rfind(dir, 0) == 0 && (path.size() == dir.size() || path[dir.size()] == '/');
}

}  // namespace

Rootfs Rootfs::prepare(const Plan& plan) {
  auto propagation = parse_propagation(plan.spec.rootfs_propagation);
  if (!propagation && !plan.spec.rootfs_propagation.empty()) {
    throw InvalidInput("rootfsPropagation=" + plan.spec.rootfs_propagation + " is not supported");
  }
  // A namespace that was joined is somebody else's as well: what it shares with whom is not ours to change.
  if (plan.new_mount_namespace) {
    set_propagation_of("/", propagation ? propagation->first : kSlave, propagation ? propagation->second : true);
    if (propagation) make_parent_private(plan.rootfs);
  }

  UniqueFd target(::open(plan.rootfs.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!target) throw_errno("open rootfs", plan.rootfs);
  UniqueFd root = clone_mount_of(target.get(), true, plan.rootfs);
  attach_mount(root.get(), target.get(), plan.rootfs);
  return Rootfs(std::move(root));
}

void Rootfs::mount_all(const Plan& plan) {
  for (std::size_t i = 0; i < plan.spec.mounts.size(); ++i) mount_entry(fd(), plan, i);
}

void Rootfs::mask_and_protect(const Plan& plan) {
  for (const auto& path : plan.spec.readonly_paths) {
    UniqueFd target = try_open_in_root(fd(), path);
    if (!target) {
      if (errno == ENOENT) continue;
      throw_errno("make read-only", path);
    }
    UniqueFd copy = clone_mount_of(target.get(), true, path);
    set_mount_attributes(copy.get(), MOUNT_ATTR_RDONLY, 0, 0, false, path);
    attach_mount(copy.get(), target.get(), path);
  }
  // One empty read-only tmpfs serves for all masked directories, and a null device for files.
  UniqueFd empty, null;
  for (const auto& path : plan.spec.masked_paths) {
    UniqueFd target = try_open_in_root(fd(), path);
    if (!target) {
      if (errno == ENOENT || errno == ENOTDIR) continue;
      throw_errno("mask", path);
    }
    struct stat st;
    if (::fstat(target.get(), &st) != 0) throw_errno("stat", path);
    if (!S_ISDIR(st.st_mode)) {
      if (!null) null = null_device(fd());
      UniqueFd mask = clone_mount_of(null.get(), false, "/dev/null");
      // Or root in the container could change the mode of the node itself.
      set_mount_attributes(mask.get(), MOUNT_ATTR_RDONLY, 0, 0, false, path);
      attach_mount(mask.get(), target.get(), path);
    } else if (empty) {
      attach_mount(clone_mount_of(empty.get(), false, path).get(), target.get(), path);
    } else {
      MountOptions options;
      options.set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
      options.data = {{"nr_blocks", "1"}, {"nr_inodes", "1"}, {"mode", "555"}};
      if (!plan.spec.mount_label.empty()) options.data.emplace_back("context", plan.spec.mount_label);
      empty = new_mount("tmpfs", "tmpfs", options, path);
      attach_mount(empty.get(), target.get(), path);
    }
  }
}

void Rootfs::pivot(const Plan& plan) {
  if (::fchdir(fd()) != 0) throw_errno("chdir", plan.rootfs);
  if (!plan.new_mount_namespace) {
    // Others in the namespace keep their root.
    if (::chroot(".") != 0) throw_errno("chroot", plan.rootfs);
  } else if (plan.no_pivot) {
    // On an initramfs the old root cannot be put anywhere: the new one is moved over it, and what the host had mounted
    // is taken away, since it stays reachable below the root that is covered.
    std::string table = plan.proc.read("self/mountinfo");
    std::vector<std::string> points;
    for (std::size_t start = 0; start < table.size();) {
      auto end = std::min(table.find('\n', start), table.size());
      std::string line = table.substr(start, end - start);
      start = end + 1;
      std::size_t at = 0;
      for (int field = 0; field < 4 && at != std::string::npos; ++field) at = line.find(' ', at + 1);
      if (at == std::string::npos) continue;
      std::string point = line.substr(at + 1, line.find(' ', at + 1) - at - 1);
      if (point != "/" && !below(point, plan.rootfs)) points.push_back(point);
    }
    for (auto point = points.rbegin(); point != points.rend(); ++point) {
      // A mount that a user namespace has locked stays; the kernel hides nothing behind it then.
      ::umount2(point->c_str(), kDetach);
    }
    UniqueFd top(::open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!top) throw_errno("open", "/");
    attach_mount(fd(), top.get(), "/");
    if (::chroot(".") != 0) throw_errno("chroot", plan.rootfs);
  } else {
    UniqueFd old(::open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!old) throw_errno("open", "/");
    if (::syscall(SYS_pivot_root, ".", ".") != 0) throw_errno("pivot_root", plan.rootfs);
    // The old root now lies over the new one at "/". Slave, so that its unmounting does not reach the host.
    set_mount_attributes(old.get(), 0, 0, kSlave, true, "the old root");
    if (::fchdir(old.get()) != 0) throw_errno("chdir", "the old root");
    if (::umount2(".", kDetach) != 0) throw_errno("unmount", "the old root");
  }
  if (::chdir("/") != 0) throw_errno("chdir", "/");
}

void Rootfs::finish(const Plan& plan) {
  if (auto propagation = parse_propagation(plan.spec.rootfs_propagation)) {
    set_mount_attributes(fd(), 0, 0, propagation->first, propagation->second, "/");
  }
  if (plan.spec.root_readonly) set_mount_attributes(fd(), MOUNT_ATTR_RDONLY, 0, 0, false, "/");
}

}  // namespace gantry::runtime
