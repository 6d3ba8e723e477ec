#include "gantry/bind_in_root.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "gantry/error.h"
#include "gantry/fd.h"
#include "gantry/path.h"
#include "gantry/root_files.h"

namespace gantry {
namespace {

// From sys/mount.h, which cannot be included together with linux/mount.h before glibc 2.37.
constexpr __u64 kPrivate = 1 << 18;

}  // namespace

void bind_in_root(const PlaceInRoot& source, const PlaceInRoot& target, bool read_only) {
  UniqueFd from = open_in_root(source.root, source.path, O_PATH);
  struct stat st;
  if (fstat(from.get(), &st) != 0) throw_errno("fstat", source.path);
  if (S_ISDIR(st.st_mode))
    make_dir_in_root(target.root, target.path);
  else
    make_file_in_root(target.root, target.path);
  UniqueFd to = open_in_root(target.root, target.path, O_PATH);

  UniqueFd tree(static_cast<int>(
      ::syscall(SYS_open_tree, from.get(), "", AT_EMPTY_PATH | AT_RECURSIVE | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC)));
  if (!tree) throw_errno("open_tree", source.path);
  // Before it is seen anywhere: a copy of a shared mount is its peer, and taking a mount below it away would take the
  // original's away too.
  struct mount_attr attributes = {};
  attributes.propagation = kPrivate;
  if (read_only) attributes.attr_set = MOUNT_ATTR_RDONLY;
  if (::syscall(SYS_mount_setattr, tree.get(), "", AT_EMPTY_PATH | AT_RECURSIVE, &attributes, sizeof attributes) != 0)
    throw_errno("mount_setattr", target.path);
  if (::syscall(SYS_move_mount, tree.get(), "", to.get(), "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) != 0)
    throw_errno("move_mount", target.path);
}

}  // namespace gantry
