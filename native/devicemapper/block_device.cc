#include "block_device.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "gantry/error.h"
#include "gantry/fd.h"

namespace gantry {
namespace {

UniqueFd open_or_throw(const std::string& path, int flags) {
  UniqueFd fd(::open(path.c_str(), flags | O_CLOEXEC));
  if (!fd) throw_errno("open", path);
  return fd;
}

BlockDevice describe(int fd, const std::string& path) {
  struct stat st;
  if (fstat(fd, &st) != 0) throw_errno("fstat", path);
  if (!S_ISBLK(st.st_mode)) throw SysError(ENOTBLK, "open", path);
  uint64_t bytes = 0;
  if (ioctl(fd, BLKGETSIZE64, &bytes) != 0) throw_errno("ioctl BLKGETSIZE64", path);
  return {major(st.st_rdev), minor(st.st_rdev), bytes};
}

/// A loop device that shows this file already, or -1. Two over one file would each keep pages of their own.
UniqueFd attached_already(const struct stat& file) {
  constexpr int kLoops = 256;
  for (int number = 0; number < kLoops; number++) {
    UniqueFd loop(::open(("/dev/loop" + std::to_string(number)).c_str(), O_RDWR | O_CLOEXEC));
    if (!loop) continue;
    loop_info64 info{};
    if (ioctl(loop.get(), LOOP_GET_STATUS64, &info) != 0) continue;
    if (info.lo_device == file.st_dev && info.lo_inode == file.st_ino) return loop;
  }
  return UniqueFd();
}

}  // namespace

int attach_loop(const std::string& file, BlockDevice& device) {
  UniqueFd backing = open_or_throw(file, O_RDWR);
  struct stat st;
  if (fstat(backing.get(), &st) != 0) throw_errno("fstat", file);
  if (UniqueFd loop = attached_already(st)) {
    device = describe(loop.get(), file);
    return loop.release();
  }
  UniqueFd control = open_or_throw("/dev/loop-control", O_RDWR);
  for (;;) {
    const int number = ioctl(control.get(), LOOP_CTL_GET_FREE);
    if (number < 0) throw_errno("ioctl LOOP_CTL_GET_FREE", "/dev/loop-control");
    const std::string path = "/dev/loop" + std::to_string(number);
    UniqueFd loop = open_or_throw(path, O_RDWR);
    loop_config config{};
    config.fd = static_cast<uint32_t>(backing.get());
    config.info.lo_flags = LO_FLAGS_AUTOCLEAR;
    if (ioctl(loop.get(), LOOP_CONFIGURE, &config) == 0) {
      device = describe(loop.get(), path);
      return loop.release();
    }
    // Somebody else took it in between.
    if (errno != EBUSY) throw_errno("ioctl LOOP_CONFIGURE", path);
  }
}

BlockDevice block_device(const std::string& path) {
  UniqueFd fd = open_or_throw(path, O_RDONLY);
  return describe(fd.get(), path);
}

void make_block_node(const std::string& path, uint32_t major, uint32_t minor) {
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) throw_errno("unlink", path);
  if (::mknod(path.c_str(), S_IFBLK | 0600, makedev(major, minor)) != 0) throw_errno("mknod", path);
}

}  // namespace gantry
