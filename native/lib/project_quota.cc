#include "gantry/project_quota.h"

#include <fcntl.h>
#include <linux/dqblk_xfs.h>
#include <linux/fs.h>
#include <linux/quota.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "gantry/error.h"
#include "gantry/fd.h"

namespace gantry {
namespace {

/// Quota counts in blocks of this size, whatever the file system's own is.
constexpr uint64_t kQuotaBlock = 512;

UniqueFd open_place(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (!fd) throw_errno("open", path);
  return fd;
}

/// By a descriptor (Linux 5.14): the older call wants a path to the block device, which may have none here.
int quota_call(int fd, int command, uint32_t project, void* data) {
  return static_cast<int>(syscall(SYS_quotactl_fd, fd, QCMD(command, PRJQUOTA), project, data));
}

}  // namespace

std::string project_quota_refusal(const std::string& path) {
  const UniqueFd fd = open_place(path);
  fsxattr attributes = {};
  if (ioctl(fd.get(), FS_IOC_FSGETXATTR, &attributes) != 0) return "the file system has no projects";
  fs_quota_statv state = {};
  state.qs_version = FS_QSTATV_VERSION1;
  if (quota_call(fd.get(), Q_XGETQSTATV, 0, &state) != 0) {
    if (errno == ENOSYS) return "the kernel has no quotactl_fd (Linux 5.14) or no quotas";
    return "the file system is mounted without project quota (mount option prjquota)";
  }
  if ((state.qs_flags & FS_QUOTA_PDQ_ENFD) == 0)
    return "the file system is mounted without project quota (mount option prjquota)";
  return "";
}

void set_project(const std::string& path, uint32_t project) {
  const UniqueFd fd = open_place(path);
  fsxattr attributes = {};
  if (ioctl(fd.get(), FS_IOC_FSGETXATTR, &attributes) != 0) throw_errno("FS_IOC_FSGETXATTR", path);
  attributes.fsx_projid = project;
  attributes.fsx_xflags |= FS_XFLAG_PROJINHERIT;
  if (ioctl(fd.get(), FS_IOC_FSSETXATTR, &attributes) != 0) throw_errno("FS_IOC_FSSETXATTR", path);
}

uint32_t project_of(const std::string& path) {
  const UniqueFd fd = open_place(path);
  fsxattr attributes = {};
  if (ioctl(fd.get(), FS_IOC_FSGETXATTR, &attributes) == 0) return attributes.fsx_projid;
  if (errno == ENOTTY || errno == EOPNOTSUPP) return 0;
  throw_errno("FS_IOC_FSGETXATTR", path);
}

void limit_project(const std::string& path, uint32_t project, uint64_t bytes) {
  const UniqueFd fd = open_place(path);
  fs_disk_quota quota = {};
  quota.d_version = FS_DQUOT_VERSION;
  quota.d_id = project;
  quota.d_flags = FS_PROJ_QUOTA;
  quota.d_fieldmask = FS_DQ_BHARD | FS_DQ_BSOFT;
  quota.d_blk_hardlimit = (bytes + kQuotaBlock - 1) / kQuotaBlock;
  quota.d_blk_softlimit = quota.d_blk_hardlimit;
  if (quota_call(fd.get(), Q_XSETQLIM, project, &quota) != 0) throw_errno("quotactl_fd", path);
}

ProjectUsage project_usage(const std::string& path, uint32_t project) {
  const UniqueFd fd = open_place(path);
  fs_disk_quota quota = {};
  if (quota_call(fd.get(), Q_XGETQUOTA, project, &quota) != 0) {
    // xfs keeps nothing of a project that never was.
    if (errno == ENOENT) return {};
    throw_errno("quotactl_fd", path);
  }
  return {quota.d_bcount * kQuotaBlock, quota.d_icount, quota.d_blk_hardlimit * kQuotaBlock};
}

}  // namespace gantry
