#include "gantry/btrfs.h"

#include <fcntl.h>
#include <linux/btrfs.h>
#include <linux/btrfs_tree.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include "gantry/error.h"
#include "gantry/fd.h"
#include "gantry/path.h"

namespace gantry {
namespace {

/// A subvolume of a container's making may hold another, and so on.
constexpr int kMaxNestedSubvolumes = 1000;

struct Place {
  UniqueFd folder;
  std::string name;
};

Place place_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) throw SysError(EINVAL, "open", path);
  return {open_folder(path.substr(0, slash + 1), O_RDONLY), path.substr(slash + 1)};
}

template <typename Args>
void set_name(Args& args, const Place& place, const std::string& path) {
  if (place.name.empty() || place.name.size() >= sizeof args.name) throw SysError(ENAMETOOLONG, "ioctl", path);
  memcpy(args.name, place.name.c_str(), place.name.size() + 1);
}

/// Ids of the subvolumes directly inside another, wherever in it.
std::vector<uint64_t> inner_subvolumes(int fd, uint64_t id) {
  std::vector<uint64_t> found;
  btrfs_ioctl_search_args args = {};
  args.key.tree_id = BTRFS_ROOT_TREE_OBJECTID;
  args.key.min_objectid = args.key.max_objectid = id;
  args.key.min_type = args.key.max_type = BTRFS_ROOT_REF_KEY;
  args.key.max_offset = UINT64_MAX;
  args.key.max_transid = UINT64_MAX;
  for (;;) {
    args.key.nr_items = 4096;
    if (ioctl(fd, BTRFS_IOC_TREE_SEARCH, &args) != 0) throw_errno("BTRFS_IOC_TREE_SEARCH");
    if (args.key.nr_items == 0) return found;
    const char* at = args.buf;
    for (uint32_t i = 0; i < args.key.nr_items; i++) {
      btrfs_ioctl_search_header header;
      memcpy(&header, at, sizeof header);
      at += sizeof header + header.len;
      found.push_back(header.offset);
    }
    if (found.back() == UINT64_MAX) return found;
    args.key.min_offset = found.back() + 1;
  }
}

void remove_inner(int fd, uint64_t id, const std::string& path, int depth) {
  if (depth > kMaxNestedSubvolumes) throw SysError(ENAMETOOLONG, "BTRFS_IOC_SNAP_DESTROY_V2", path);
  for (uint64_t inner : inner_subvolumes(fd, id)) {
    remove_inner(fd, inner, path, depth + 1);
    btrfs_ioctl_vol_args_v2 args = {};
    args.flags = BTRFS_SUBVOL_SPEC_BY_ID;
    args.subvolid = inner;
    if (ioctl(fd, BTRFS_IOC_SNAP_DESTROY_V2, &args) != 0 && errno != ENOENT)
      throw_errno("BTRFS_IOC_SNAP_DESTROY_V2", path + " (inner subvolume " + std::to_string(inner) + ")");
  }
}

}  // namespace

uint64_t subvolume_id(int fd, const std::string& path) {
  struct stat st;
  if (fstat(fd, &st) != 0) throw_errno("fstat", path);
  btrfs_ioctl_get_subvol_info_args info = {};
  // A subvolume's own folder has this number and no other does. A success may be more than 0.
  if (st.st_ino != BTRFS_FIRST_FREE_OBJECTID || ioctl(fd, BTRFS_IOC_GET_SUBVOL_INFO, &info) < 0)
    throw SysError(EINVAL, "BTRFS_IOC_GET_SUBVOL_INFO", path);
  return info.treeid;
}

void create_subvolume(const std::string& path) {
  const Place place = place_of(path);
  btrfs_ioctl_vol_args args = {};
  set_name(args, place, path);
  if (ioctl(place.folder.get(), BTRFS_IOC_SUBVOL_CREATE, &args) != 0) throw_errno("BTRFS_IOC_SUBVOL_CREATE", path);
}

void snapshot_subvolume(const std::string& from, const std::string& to, bool read_only) {
  const UniqueFd source = open_folder(from, O_RDONLY);
  const Place place = place_of(to);
  btrfs_ioctl_vol_args_v2 args = {};
  args.fd = source.get();
  if (read_only) args.flags = BTRFS_SUBVOL_RDONLY;
  set_name(args, place, to);
  if (ioctl(place.folder.get(), BTRFS_IOC_SNAP_CREATE_V2, &args) != 0) throw_errno("BTRFS_IOC_SNAP_CREATE_V2", to);
}

void remove_subvolume(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd) {
    if (errno == ENOENT) return;
    throw_errno("open", path);
  }
  const Place place = place_of(path);
  const uint64_t id = subvolume_id(fd.get(), path);
  remove_inner(fd.get(), id, path, 0);
  fd.reset();
  btrfs_ioctl_vol_args args = {};
  set_name(args, place, path);
  if (ioctl(place.folder.get(), BTRFS_IOC_SNAP_DESTROY, &args) != 0) throw_errno("BTRFS_IOC_SNAP_DESTROY", path);
  // Newer kernels do it themselves when the content is gone; without quotas there is none.
  btrfs_ioctl_qgroup_create_args group = {};
  group.qgroupid = id;
  ioctl(place.folder.get(), BTRFS_IOC_QGROUP_CREATE, &group);
}

bool has_inner_subvolumes(const std::string& path) {
  const UniqueFd fd = open_folder(path, O_RDONLY);
  return !inner_subvolumes(fd.get(), subvolume_id(fd.get(), path)).empty();
}

void enable_subvolume_quotas(const std::string& path) {
  const UniqueFd fd = open_folder(path, O_RDONLY);
  btrfs_ioctl_quota_ctl_args args = {};
  args.cmd = BTRFS_QUOTA_CTL_ENABLE;
  if (ioctl(fd.get(), BTRFS_IOC_QUOTA_CTL, &args) != 0 && errno != EEXIST) throw_errno("BTRFS_IOC_QUOTA_CTL", path);
  // Before the first count is done limits do not hold.
  while (ioctl(fd.get(), BTRFS_IOC_QUOTA_RESCAN_WAIT) != 0)
    if (errno != EINTR) throw_errno("BTRFS_IOC_QUOTA_RESCAN_WAIT", path);
}

void limit_subvolume(const std::string& path, uint64_t bytes) {
  const UniqueFd fd = open_folder(path, O_RDONLY);
  btrfs_ioctl_qgroup_limit_args args = {};
  // Group 0 means the one of this very subvolume.
  args.lim.flags = BTRFS_QGROUP_LIMIT_MAX_EXCL;
  args.lim.max_excl = bytes;
  if (ioctl(fd.get(), BTRFS_IOC_QGROUP_LIMIT, &args) != 0) throw_errno("BTRFS_IOC_QGROUP_LIMIT", path);
}

}  // namespace gantry
