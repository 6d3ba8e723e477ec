#include "gantry/tree_changes.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <iterator>
#include <map>
#include <memory>
#include <set>

#include "gantry/error.h"
#include "gantry/fd.h"
#include "gantry/path.h"
#include "gantry/tree.h"
#include "tree_walk.h"

namespace gantry {
namespace {

std::map<std::string, std::string> layer_xattrs(int dir, const std::string& name) {
  std::map<std::string, std::string> found;
  each_xattr_at(dir, name, [&](const std::string& key, const std::string& value) {
    if (!is_private_xattr(key)) found.emplace(key, value);
  });
  return found;
}

UniqueFd open_file_at(int dir, const std::string& name) {
  UniqueFd fd(::openat(dir, name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (!fd) throw_errno("openat", name);
  return fd;
}

/// Bytes that were there; less than asked for only at the end.
size_t read_block(int fd, const std::string& name, char* to, size_t size) {
  size_t got = 0;
  while (got < size) {
    const ssize_t count = ::read(fd, to + got, size - got);
    if (count == 0) break;
    if (count > 0)
      got += static_cast<size_t>(count);
    else if (errno != EINTR)
      throw_errno("read", name);
  }
  return got;
}

bool same_content(int tree, int parent, const std::string& name) {
  constexpr size_t kBlock = size_t{1} << 17;
  UniqueFd mine = open_file_at(tree, name);
  UniqueFd theirs = open_file_at(parent, name);
  std::vector<char> first(kBlock), second(kBlock);
  for (;;) {
    const size_t count = read_block(mine.get(), name, first.data(), kBlock);
    if (count != read_block(theirs.get(), name, second.data(), kBlock)) return false;
    if (memcmp(first.data(), second.data(), count) != 0) return false;
    if (count < kBlock) return true;
  }
}

/// Compares two trees. A file that changed changed under all its names, also those that the other tree has just so:
/// else whoever repeats what was reported would have two files where there was one.
class DiffWalk {
 public:
  DiffWalk(Compare compare, const TakeChange& take) : compare_(compare), take_(take) {}

  void trees(int tree, int parent, const KnownChanges* known) {
    folder(tree, parent, "", 0, known ? &known->paths : nullptr);
    std::set<std::string> late;
    for (auto& [file, links] : links_) {
      if (!links.changed) continue;
      late.insert(links.unchanged.begin(), links.unchanged.end());
      if (!known || links.told.size() + links.unchanged.size() >= links.count) continue;
      // The names that nobody had a reason to look at.
      for (std::string& path : known->names_of(file.second))
        if (!links.told.contains(path)) late.insert(std::move(path));
    }
    for (const std::string& path : late) name_of_changed(tree, path);
  }

 private:
  /// `parent` is the same folder in the other tree, or -1. With `only` no name beside it is looked at.
  void folder(int tree, int parent, const std::string& path, int depth, const PathTree* only) {
    if (depth > kMaxTreeDepth) throw SysError(ENAMETOOLONG, "open", path.substr(0, 200) + "…");
    if (only && !only->listed) {
      for (const auto& [name, deeper] : only->below) named(tree, parent, name, below(path, name), depth, deeper);
      return;
    }
    const std::vector<std::string> mine = sorted_names(tree);
    const std::vector<std::string> theirs = parent < 0 ? std::vector<std::string>() : sorted_names(parent);
    if (only) {
      std::map<std::string_view, const PathTree*> some;
      for (const auto& [name, deeper] : only->below) some.emplace(name, &deeper);
      std::vector<std::string_view> moved;
      std::set_symmetric_difference(mine.begin(), mine.end(), theirs.begin(), theirs.end(), std::back_inserter(moved));
      static const PathTree nothing;
      for (std::string_view name : moved) some.emplace(name, &nothing);
      for (const auto& [view, deeper] : some) {
        const std::string name(view);
        named(tree, parent, name, below(path, name), depth, *deeper);
      }
      return;
    }
    auto left = mine.begin();
    auto right = theirs.begin();
    while (left != mine.end() || right != theirs.end()) {
      if (left == mine.end() || (right != theirs.end() && *right < *left)) {
        report({ChangeKind::deleted, below(path, *right), -1, *right, {}, false});
        right++;
      } else if (right == theirs.end() || *left < *right) {
        entry(tree, -1, *left, below(path, *left), depth, nullptr);
        left++;
      } else {
        entry(tree, parent, *left, below(path, *left), depth, nullptr);
        left++;
        right++;
      }
    }
  }

  /// A name that somebody says has changed: it may be in either tree, in both or in none.
  void named(int tree, int parent, const std::string& name, const std::string& path, int depth,
             const PathTree& deeper) {
    struct stat st;
    if (stat_at(tree, name, st))
      entry(tree, parent, name, path, depth, &deeper);
    else if (parent >= 0 && stat_at(parent, name, st))
      report({ChangeKind::deleted, path, -1, name, {}, false});
  }

  void entry(int tree, int parent, const std::string& name, const std::string& path, int depth, const PathTree* only) {
    struct stat st;
    if (!stat_at(tree, name, st)) return;
    struct stat old;
    const bool existed = parent >= 0 && stat_at(parent, name, old);
    const bool changed = existed && !same(tree, parent, name, st, old);
    TreeChange change{existed ? ChangeKind::modified : ChangeKind::added, path, tree, name, st, false};
    if (!S_ISDIR(st.st_mode)) {
      if (linked(change, !existed || changed)) report(change);
      return;
    }
    UniqueFd fd = open_dir_at(tree, name);
    if (!fd) return;
    UniqueFd old_fd;
    if (existed && S_ISDIR(old.st_mode)) old_fd = open_dir_at(parent, name);
    const bool tell = !existed || changed;
    if (tell)
      report(change);
    else
      pending_.push_back(&change);
    const size_t depth_before = pending_.size();
    // Another folder that came to have the name: what is in it did not change, yet differs.
    if (!old_fd || st.st_ino != old.st_ino) only = nullptr;
    folder(fd.get(), old_fd.get(), path, depth + 1, only);
    // Taken out by whoever had something to report.
    if (!tell && pending_.size() == depth_before) pending_.pop_back();
  }

  bool same(int tree, int parent, const std::string& name, const struct stat& a, const struct stat& b) const {
    if (!same_owner(a, b) || a.st_rdev != b.st_rdev) return false;
    if (!S_ISDIR(a.st_mode)) {
      if (a.st_size != b.st_size || a.st_mtim.tv_sec != b.st_mtim.tv_sec || a.st_mtim.tv_nsec != b.st_mtim.tv_nsec)
        return false;
    }
    if (S_ISLNK(a.st_mode)) {
      char first[PATH_MAX], second[PATH_MAX];
      ssize_t length = readlinkat(tree, name.c_str(), first, sizeof first);
      if (length != readlinkat(parent, name.c_str(), second, sizeof second)) return false;
      if (length > 0 && memcmp(first, second, static_cast<size_t>(length)) != 0) return false;
    }
    if (layer_xattrs(tree, name) != layer_xattrs(parent, name)) return false;
    if (compare_ == Compare::properties || !S_ISREG(a.st_mode) || a.st_size == 0) return true;
    // One file that both trees show.
    if (a.st_dev == b.st_dev && a.st_ino == b.st_ino) return true;
    return same_content(tree, parent, name);
  }

  /// Whether this name is to be reported, itself or another name of its file having changed. Those that came before are
  /// reported at the end.
  bool linked(const TreeChange& change, bool changed) {
    if (change.st.st_nlink < 2) return changed;
    Links& links = links_[{change.st.st_dev, change.st.st_ino}];
    links.count = change.st.st_nlink;
    links.changed = links.changed || changed;
    if (links.changed)
      links.told.insert(change.path);
    else
      links.unchanged.push_back(change.path);
    return links.changed;
  }

  /// Reports one more name of a file that was reported, and the folders on the way to it that were not.
  void name_of_changed(int tree, const std::string& path) {
    UniqueFd dir(::openat(tree, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!dir) throw_errno("openat", path);
    size_t from = 0;
    for (size_t slash; (slash = path.find('/', from)) != std::string::npos; from = slash + 1) {
      TreeChange folder{
          ChangeKind::modified, path.substr(0, slash), dir.get(), path.substr(from, slash - from), {}, false};
      if (!stat_at(folder.dir, folder.name, folder.st)) return;
      if (!told_folders_.contains(folder.path)) report(folder);
      UniqueFd next = open_dir_at(dir.get(), folder.name);
      if (!next) return;
      dir = std::move(next);
    }
    TreeChange change{ChangeKind::modified, path, dir.get(), path.substr(from), {}, false};
    if (stat_at(change.dir, change.name, change.st)) report(change);
  }

  /// The folders on the way to a change come first.
  void report(const TreeChange& change) {
    for (const TreeChange* folder : pending_) tell(*folder);
    pending_.clear();
    tell(change);
  }

  void tell(const TreeChange& change) {
    if (change.kind != ChangeKind::deleted && S_ISDIR(change.st.st_mode)) told_folders_.insert(change.path);
    take_(change);
  }

  /// What was seen of a file with several names.
  struct Links {
    nlink_t count = 0;
    bool changed = false;
    std::set<std::string> told;
    /// Seen before it was known that the file changed.
    std::vector<std::string> unchanged;
  };

  const Compare compare_;
  const TakeChange& take_;
  /// Unchanged folders that are being walked and not yet reported, outermost first.
  std::vector<const TreeChange*> pending_;
  std::set<std::string> told_folders_;
  std::map<std::pair<dev_t, ino_t>, Links> links_;
};

}  // namespace

std::vector<std::string> sorted_names(int dir) {
  UniqueFd fd(::openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) throw_errno("openat");
  std::unique_ptr<DIR, int (*)(DIR*)> stream(fdopendir(fd.get()), closedir);
  if (!stream) throw_errno("fdopendir");
  [[maybe_unused]] int owned = fd.release();
  std::vector<std::string> names;
  for (;;) {
    errno = 0;
    const dirent* entry = readdir(stream.get());
    if (!entry) {
      if (errno != 0) throw_errno("readdir");
      break;
    }
    if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) names.emplace_back(entry->d_name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

PathTree& PathTree::add(std::string_view path) {
  PathTree* at = this;
  for (std::string& part : path_components(path)) at = &at->below[std::move(part)];
  return *at;
}

void walk_diff(const std::string& tree, const std::optional<std::string>& parent, Compare compare,
               const TakeChange& take, const KnownChanges* known) {
  UniqueFd top = open_folder(tree, O_RDONLY);
  UniqueFd other;
  struct stat st;
  if (fstat(top.get(), &st) != 0) throw_errno("fstat", tree);
  struct stat old = {};
  old.st_mode = S_IFDIR | 0755;
  if (parent) {
    other = open_folder(*parent, O_RDONLY);
    if (fstat(other.get(), &old) != 0) throw_errno("fstat", *parent);
  }
  if (!same_owner(st, old)) take({ChangeKind::modified, "", top.get(), ".", st, false});
  DiffWalk(compare, take).trees(top.get(), other.get(), known);
}

std::vector<Change> collect_changes(const std::function<void(const TakeChange&)>& walk) {
  std::vector<Change> all;
  walk([&](const TreeChange& change) {
    if (!change.path.empty()) all.push_back({"/" + change.path, change.kind});
  });
  std::sort(all.begin(), all.end(), [](const Change& a, const Change& b) { return a.path < b.path; });
  return all;
}

uint64_t changed_size(const std::function<void(const TakeChange&)>& walk) {
  uint64_t bytes = 0;
  std::set<std::pair<dev_t, ino_t>> counted;
  walk([&](const TreeChange& change) {
    if (change.kind == ChangeKind::deleted || !S_ISREG(change.st.st_mode)) return;
    if (change.st.st_nlink > 1 && !counted.emplace(change.st.st_dev, change.st.st_ino).second) return;
    bytes += static_cast<uint64_t>(change.st.st_size);
  });
  return bytes;
}

}  // namespace gantry
