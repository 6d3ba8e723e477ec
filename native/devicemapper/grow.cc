#include "grow.h"

#include <fcntl.h>
#include <linux/ioctl.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/vfs.h>

#include <cerrno>

#include "gantry/error.h"
#include "gantry/fd.h"

namespace gantry {
namespace {

// The kernel's own headers for these two are not among those that a system installs for programs.

constexpr unsigned long kExt4Resize = _IOW('f', 16, uint64_t);

struct XfsGeometry {
  uint32_t block_size, rt_extent_size, ag_blocks, ag_count, log_blocks, sector_size, inode_size, inode_max_percent;
  uint64_t data_blocks, rt_blocks, rt_extents, log_start;
  unsigned char uuid[16];
  uint32_t stripe_unit, stripe_width;
  int32_t version;
  uint32_t flags, log_sector_size, rt_sector_size, dir_block_size;
};
static_assert(sizeof(XfsGeometry) == 112);
constexpr unsigned long kXfsGeometry = _IOR('X', 100, XfsGeometry);

struct XfsGrowth {
  uint64_t new_blocks;
  uint32_t inode_max_percent;
};
static_assert(sizeof(XfsGrowth) == 16);
constexpr unsigned long kXfsGrow = _IOW('X', 110, XfsGrowth);

void grow_ext4(int fd, const std::string& tree, uint64_t bytes, const struct statfs& now) {
  uint64_t blocks = bytes / static_cast<uint64_t>(now.f_bsize);
  if (ioctl(fd, kExt4Resize, &blocks) != 0) throw_errno("ioctl EXT4_IOC_RESIZE_FS", tree);
}

void grow_xfs(int fd, const std::string& tree, uint64_t bytes) {
  XfsGeometry now{};
  if (ioctl(fd, kXfsGeometry, &now) != 0) throw_errno("ioctl XFS_IOC_FSGEOMETRY", tree);
  XfsGrowth growth{bytes / now.block_size, now.inode_max_percent};
  if (growth.new_blocks <= now.data_blocks) return;
  if (ioctl(fd, kXfsGrow, &growth) != 0) throw_errno("ioctl XFS_IOC_FSGROWFSDATA", tree);
}

}  // namespace

void grow_file_system(const std::string& tree, uint64_t bytes) {
  UniqueFd fd(::open(tree.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) throw_errno("open", tree);
  struct statfs now;
  if (fstatfs(fd.get(), &now) != 0) throw_errno("fstatfs", tree);
  switch (now.f_type) {
    case EXT4_SUPER_MAGIC:
      return grow_ext4(fd.get(), tree, bytes, now);
    case XFS_SUPER_MAGIC:
      return grow_xfs(fd.get(), tree, bytes);
    default:
      throw SysError(EOPNOTSUPP, "grow", tree);
  }
}

}  // namespace gantry
