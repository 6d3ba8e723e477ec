#include <endian.h>
#include <fcntl.h>
#include <linux/btrfs.h>
#include <linux/btrfs_tree.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "gantry/btrfs.h"
#include "gantry/error.h"
#include "gantry/fd.h"
#include "gantry/path.h"

namespace gantry {
namespace {

btrfs_ioctl_get_subvol_info_args info_of(int fd, const std::string& path) {
  btrfs_ioctl_get_subvol_info_args info = {};
  // A success may be more than 0.
  if (ioctl(fd, BTRFS_IOC_GET_SUBVOL_INFO, &info) < 0) throw_errno("BTRFS_IOC_GET_SUBVOL_INFO", path);
  return info;
}

struct Key {
  uint64_t object;
  uint64_t type;
  uint64_t offset;
};

/// Gives `take(key, bytes)` every item of a subvolume's tree from `first` to `last` that lies in a leaf written after
/// the transaction `since`, in key order. Items of such a leaf that are older themselves are among them.
template <typename Take>
void search_tree(int fd, const Key& first, const Key& last, uint64_t since, Take take) {
  // Many times the largest item there can be.
  constexpr size_t kRoom = size_t{1} << 20;
  std::vector<uint64_t> room((sizeof(btrfs_ioctl_search_args_v2) + kRoom) / sizeof(uint64_t));
  auto* args = reinterpret_cast<btrfs_ioctl_search_args_v2*>(room.data());
  Key from = first;
  for (;;) {
    args->key = {};
    args->key.min_objectid = from.object;
    args->key.max_objectid = last.object;
    args->key.min_type = static_cast<uint32_t>(from.type);
    args->key.max_type = static_cast<uint32_t>(last.type);
    args->key.min_offset = from.offset;
    args->key.max_offset = last.offset;
    args->key.min_transid = since + 1;
    args->key.max_transid = UINT64_MAX;
    args->key.nr_items = UINT32_MAX;
    args->buf_size = kRoom;
    if (ioctl(fd, BTRFS_IOC_TREE_SEARCH_V2, args) != 0) throw_errno("BTRFS_IOC_TREE_SEARCH_V2");
    if (args->key.nr_items == 0) return;
    const char* at = reinterpret_cast<const char*>(args->buf);
    btrfs_ioctl_search_header header;
    for (uint32_t i = 0; i < args->key.nr_items; i++) {
      memcpy(&header, at, sizeof header);
      at += sizeof header;
      take(Key{header.objectid, header.type, header.offset}, std::string_view(at, header.len));
      at += header.len;
    }
    from = {header.objectid, header.type, header.offset + 1};
    if (from.offset == 0 && ++from.type > UINT8_MAX) {
      from.type = 0;
      from.object++;
    }
  }
}

/// One name of an inode.
struct Name {
  uint64_t folder;
  std::string name;
};

/// The names in the value of one INODE_REF, whose key has the folder, or INODE_EXTREF, which has it itself.
void take_names(const Key& key, std::string_view value, std::vector<Name>& into) {
  const bool extended = key.type == BTRFS_INODE_EXTREF_KEY;
  const size_t head_size = extended ? offsetof(btrfs_inode_extref, name) : sizeof(btrfs_inode_ref);
  while (value.size() >= head_size) {
    uint64_t folder = key.offset;
    uint16_t length;
    if (extended) {
      memcpy(&folder, value.data() + offsetof(btrfs_inode_extref, parent_objectid), sizeof folder);
      folder = le64toh(folder);
      memcpy(&length, value.data() + offsetof(btrfs_inode_extref, name_len), sizeof length);
    } else {
      memcpy(&length, value.data() + offsetof(btrfs_inode_ref, name_len), sizeof length);
    }
    length = le16toh(length);
    if (value.size() - head_size < length) break;
    into.push_back({folder, std::string(value.substr(head_size, length))});
    value.remove_prefix(head_size + length);
  }
}

/// The inodes of one subvolume and their names, as its tree has them.
class Inodes {
 public:
  explicit Inodes(const std::string& path) : fd_(open_folder(path, O_RDONLY)) {}

  int fd() const { return fd_.get(); }

  std::vector<Name> names(uint64_t inode) const {
    std::vector<Name> found;
    const Key first = {inode, BTRFS_INODE_REF_KEY, 0};
    const Key last = {inode, BTRFS_INODE_EXTREF_KEY, UINT64_MAX};
    search_tree(fd(), first, last, 0, [&](const Key& key, std::string_view value) { take_names(key, value, found); });
    return found;
  }

  /// The path of a folder, ending in a slash; "" for the subvolume's own. A path longer than the kernel's answer has
  /// room for is ENAMETOOLONG.
  std::string folder(uint64_t inode) const {
    if (inode == BTRFS_FIRST_FREE_OBJECTID) return "";
    btrfs_ioctl_ino_lookup_args args = {};
    args.objectid = inode;
    if (ioctl(fd(), BTRFS_IOC_INO_LOOKUP, &args) != 0) throw_errno("BTRFS_IOC_INO_LOOKUP");
    return args.name;
  }

  std::vector<std::string> paths(uint64_t inode) const {
    std::vector<std::string> found;
    for (const Name& one : names(inode)) {
      try {
        found.push_back(folder(one.folder) + one.name);
      } catch (const SysError& error) {
        // So deep that nobody can open it by its path.
        if (error.err() != ENAMETOOLONG) throw;
      }
    }
    return found;
  }

 private:
  UniqueFd fd_;
};

/// Finds what was written in one subvolume after a transaction, and puts its paths into a tree.
class Written {
 public:
  Written(const Inodes& inodes, uint64_t since, PathTree& paths) : inodes_(inodes), since_(since), paths_(paths) {}

  void find() {
    const Key first = {BTRFS_FIRST_FREE_OBJECTID, 0, 0};
    const Key last = {BTRFS_LAST_FREE_OBJECTID, UINT8_MAX, UINT64_MAX};
    // An inode comes before its names.
    search_tree(inodes_.fd(), first, last, since_, [&](const Key& key, std::string_view value) {
      if (key.type == BTRFS_INODE_ITEM_KEY && value.size() >= sizeof(btrfs_inode_item)) {
        finish();
        btrfs_inode_item item;
        memcpy(&item, value.data(), sizeof item);
        if (le64toh(item.transid) > since_) begin(key.object, item);
      } else if (key.object == inode_ && (key.type == BTRFS_INODE_REF_KEY || key.type == BTRFS_INODE_EXTREF_KEY)) {
        take_names(key, value, names_);
      }
    });
    finish();
  }

 private:
  void begin(uint64_t inode, const btrfs_inode_item& item) {
    inode_ = inode;
    links_ = le32toh(item.nlink);
    is_folder_ = S_ISDIR(le32toh(item.mode));
  }

  /// All items of the inode came that the search gives.
  void finish() {
    if (inode_ == 0) return;
    // A folder's own entries may be others than before.
    if (is_folder_) folder(inode_).listed = true;
    if (inode_ != BTRFS_FIRST_FREE_OBJECTID) {
      // Some are in a leaf that was not written.
      if (names_.size() < links_) names_ = inodes_.names(inode_);
      for (const Name& one : names_) folder(one.folder).below[one.name];
    }
    names_.clear();
    inode_ = 0;
  }

  PathTree& folder(uint64_t inode) {
    auto found = folders_.find(inode);
    if (found == folders_.end()) found = folders_.emplace(inode, &paths_.add(inodes_.folder(inode))).first;
    return *found->second;
  }

  const Inodes& inodes_;
  uint64_t since_;
  PathTree& paths_;
  /// Nodes of `paths_` stay where they are.
  std::unordered_map<uint64_t, PathTree*> folders_;
  uint64_t inode_ = 0;
  uint32_t links_ = 0;
  bool is_folder_ = false;
  std::vector<Name> names_;
};

}  // namespace

std::optional<uint64_t> branched_at(const std::string& tree, const std::string& parent) {
  const UniqueFd tree_fd = open_folder(tree, O_RDONLY);
  const UniqueFd parent_fd = open_folder(parent, O_RDONLY);
  const btrfs_ioctl_get_subvol_info_args mine = info_of(tree_fd.get(), tree);
  const btrfs_ioctl_get_subvol_info_args theirs = info_of(parent_fd.get(), parent);
  static_assert(sizeof mine.parent_uuid == sizeof theirs.uuid);
  if (memcmp(mine.parent_uuid, theirs.uuid, sizeof theirs.uuid) != 0) return std::nullopt;
  return mine.otransid;
}

KnownChanges changed_since(const std::string& tree, const std::string& parent, uint64_t since) {
  auto inodes = std::make_shared<Inodes>(tree);
  const Inodes parents(parent);
  KnownChanges known;
  Written(*inodes, since, known.paths).find();
  if (info_of(parents.fd(), parent).ctransid > since) Written(parents, since, known.paths).find();
  known.names_of = [inodes](ino_t inode) { return inodes->paths(inode); };
  return known;
}

}  // namespace gantry
