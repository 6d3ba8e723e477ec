#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace gantry {

enum class ChangeKind { modified, added, deleted };

/// One path of a tree that is not as it is in the tree below, while its folder is open.
struct TreeChange {
  ChangeKind kind;
  /// Relative to the tree; "" is the tree's own folder.
  std::string path;
  /// The open folder that holds it, and its name there; "." for the tree's own folder. Not set when deleted.
  int dir = -1;
  std::string name;
  struct stat st;
  /// A folder that hides everything that the same folder below holds. What it hides is not reported as deleted.
  bool opaque = false;
};

using TakeChange = std::function<void(const TreeChange&)>;

/// The folders of one overlay.
struct Upper {
  std::string upper;
  /// From the top.
  std::vector<std::string> lowers;
  /// It is mounted with `userxattr`: its marks have other names.
  bool user_xattr = false;
};

/// The attribute by which overlayfs marks a folder that hides everything below it.
constexpr const char* opaque_xattr(bool user_xattr) {
  return user_xattr ? "user.overlay.opaque" : "trusted.overlay.opaque";
}

/// Walks an overlay's upper folder. With `expand_opaque` each path that an
/// opaque folder hides is reported as deleted. Folders come before what they hold, names in byte order.
void walk_upper(const Upper& upper, bool expand_opaque, const TakeChange& take);

/// What two files must share to be taken for the same.
enum class Compare {
  /// Kind, owner, mode, size, time, link target and attributes.
  properties,
  /// All of those, and every byte.
  content,
};

/// Relative paths, name by name.
struct PathTree {
  std::map<std::string, PathTree> below;
  /// Names may have come to this folder or gone from it.
  bool listed = false;
  /// The node of a path, made when it is not there. Nodes stay where they are.
  PathTree& add(std::string_view path);
};

/// What a file system knows of two trees, of which one came from the other as a snapshot and kept its inode numbers.
struct KnownChanges {
  /// Where they may differ: a superset, to be compared.
  PathTree paths;
  /// All paths of a file of the first tree that has several.
  std::function<std::vector<std::string>(ino_t)> names_of;
};

/// Compares two trees. A folder in which something changed is reported as modified, and a file that changed under each
/// of its names, so that they can be one file again. Without `parent` everything is added. With `known` nothing beside
/// those paths is looked at, except names that only one of the two has in a folder that is to be listed, and all that
/// is below a folder that is another one than before.
void walk_diff(const std::string& tree, const std::optional<std::string>& parent, Compare compare,
               const TakeChange& take, const KnownChanges* known = nullptr);

struct Change {
  std::string path;
  ChangeKind kind;
};

/// What a walk reports, as absolute paths in byte order, without the tree's own folder.
std::vector<Change> collect_changes(const std::function<void(const TakeChange&)>& walk);

/// Bytes of the files that a walk reports, hard links once.
uint64_t changed_size(const std::function<void(const TakeChange&)>& walk);

/// Names in a folder in byte order.
std::vector<std::string> sorted_names(int dir);

}  // namespace gantry
