#include "gantry/bind_in_root.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <linux/mount.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>

#include "gantry/error.h"
#include "gantry/fd.h"
#include "gantry/path.h"
#include "gantry/root_files.h"
#include "gantry/tar_reader.h"
#include "gantry/workers.h"

// From sys/mount.h, which cannot be included together with linux/mount.h before glibc 2.37.
extern "C" int umount2(const char* target, int flags) noexcept;

namespace gantry {
namespace {

constexpr int kDetach = 2;
constexpr int kNoFollow = 8;

/// A copy of a mount that is attached nowhere yet, and what it shows.
struct Detached {
  UniqueFd tree;
  bool is_folder;
};

void set_attributes(int tree, bool whole, const struct mount_attr& attributes, const std::string& name) {
  const unsigned int flags = AT_EMPTY_PATH | (whole ? AT_RECURSIVE : 0);
  struct mount_attr copy = attributes;
  if (::syscall(SYS_mount_setattr, tree, "", flags, &copy, sizeof copy) != 0) throw_errno("mount_setattr", name);
}

Detached detached_bind(const PlaceInRoot& source, const BindOptions& options) {
  UniqueFd from = open_in_root(source.root, source.path, O_PATH);
  struct stat st;
  if (fstat(from.get(), &st) != 0) throw_errno("fstat", source.path);
  const int flags = AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (options.recursive ? AT_RECURSIVE : 0);
  UniqueFd tree(static_cast<int>(::syscall(SYS_open_tree, from.get(), "", flags)));
  if (!tree) throw_errno("open_tree", source.path);
  // Before it is seen anywhere: a copy of a shared mount is its peer, and taking a mount below it away would take the
  // original's away too.
  struct mount_attr propagation = {};
  propagation.propagation = options.propagation;
  set_attributes(tree.get(), true, propagation, source.path);
  if (options.read_only) {
    struct mount_attr attributes = {};
    attributes.attr_set = MOUNT_ATTR_RDONLY;
    set_attributes(tree.get(), options.read_only_tree, attributes, source.path);
  }
  return {std::move(tree), S_ISDIR(st.st_mode)};
}

/// The place that a mount shall cover, made when it is not there.
UniqueFd open_target(const Detached& bind, const PlaceInRoot& target) {
  if (bind.is_folder)
    make_dir_in_root(target.root, target.path);
  else
    make_file_in_root(target.root, target.path);
  UniqueFd to = open_in_root(target.root, target.path, O_PATH);
  struct statfs fs;
  if (fstatfs(to.get(), &fs) != 0) throw_errno("fstatfs", target.path);
  // What is there protects the engine, or tells programs what they are.
  if (fs.f_type == PROC_SUPER_MAGIC) throw InvalidInput(printable(target.path) + " is inside /proc");
  return to;
}

void attach(const Detached& bind, const UniqueFd& to, const std::string& name) {
  if (::syscall(SYS_move_mount, bind.tree.get(), "", to.get(), "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) !=
      0)
    throw_errno("move_mount", name);
}

/// Mounts are changed from within their namespace alone. All that needs /proc is done before: the one there is another.
void enter(int mount_namespace) {
  // A thread that shares its working directory with others cannot change its mount namespace.
  unshare_thread(CLONE_FS, "CLONE_FS");
  enter_with_thread(mount_namespace, CLONE_NEWNS, "mount namespace");
}

}  // namespace

void bind_in_root(const PlaceInRoot& source, const PlaceInRoot& target, bool read_only) {
  BindOptions options;
  options.read_only = options.read_only_tree = read_only;
  Detached bind = detached_bind(source, options);
  attach(bind, open_target(bind, target), target.path);
}

void bind_in_namespace(const PlaceInRoot& source, int mount_namespace, const PlaceInRoot& target,
                       const BindOptions& options) {
  Detached bind = detached_bind(source, options);
  UniqueFd to = open_target(bind, target);
  enter(mount_namespace);
  attach(bind, to, target.path);
}

void unmount_in_namespace(int mount_namespace, const PlaceInRoot& target) {
  ResolvedParent parent = open_parent_in_root(target.root, target.path);
  enter(mount_namespace);
  // The last name is looked up in the folder that is held, and a link there is not followed.
  if (::fchdir(parent.dir.get()) != 0) throw_errno("fchdir", target.path);
  if (::umount2(parent.name.c_str(), kDetach | kNoFollow) == 0) return;
  if (errno == EINVAL) throw InvalidInput("nothing is mounted at " + printable(target.path));
  throw_errno("umount2", target.path);
}

}  // namespace gantry
