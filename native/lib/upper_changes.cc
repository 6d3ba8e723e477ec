#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include <algorithm>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "gantry/error.h"
#include "gantry/fd.h"
#include "gantry/path.h"
#include "gantry/tree.h"
#include "gantry/tree_changes.h"
#include "tree_walk.h"

namespace gantry {
namespace {

class UpperWalk {
 public:
  UpperWalk(const char* mark, bool expand_opaque, const TakeChange& take)
      : mark_(mark), expand_opaque_(expand_opaque), take_(take) {}

  /// `lowers` are the same folder in the lower trees, from the top.
  void folder(int upper, std::vector<UniqueFd> lowers, const std::string& path, int depth) {
    if (depth > kMaxTreeDepth) throw SysError(ENAMETOOLONG, "open", path.substr(0, 200) + "…");
    const bool opaque = is_opaque(upper);
    std::vector<std::string> names = sorted_names(upper);
    std::set<std::string> hidden;
    if (opaque && expand_opaque_) {
      for (const UniqueFd& lower : lowers)
        for (std::string& name : sorted_names(lower.get())) hidden.insert(std::move(name));
      for (const std::string& name : hidden) {
        if (std::binary_search(names.begin(), names.end(), name)) continue;
        if (seen_below(lowers, name).exists) take_({ChangeKind::deleted, below(path, name), -1, name, {}, false});
      }
    }
    if (opaque) lowers.clear();
    for (const std::string& name : names) entry(upper, lowers, name, below(path, name), depth);
  }

 private:
  struct Below {
    bool exists = false;
    std::vector<UniqueFd> folders;
  };

  bool is_opaque(int dir) const {
    char value = 0;
    return fgetxattr(dir, mark_, &value, 1) == 1 && value == 'y';
  }

  /// What a name is in the lower trees together.
  Below seen_below(const std::vector<UniqueFd>& lowers, const std::string& name) const {
    Below found;
    for (const UniqueFd& lower : lowers) {
      struct stat st;
      if (!stat_at(lower.get(), name, st)) continue;
      if (is_whiteout(st)) break;
      if (!S_ISDIR(st.st_mode)) {
        // Hidden by a folder above it, or all there is.
        found.exists = true;
        break;
      }
      found.exists = true;
      UniqueFd fd = open_dir_at(lower.get(), name);
      if (!fd) continue;
      const bool last = is_opaque(fd.get());
      found.folders.push_back(std::move(fd));
      if (last) break;
    }
    return found;
  }

  void entry(int upper, const std::vector<UniqueFd>& lowers, const std::string& name, const std::string& path,
             int depth) {
    struct stat st;
    if (!stat_at(upper, name, st)) return;
    if (is_whiteout(st)) {
      take_({ChangeKind::deleted, path, -1, name, {}, false});
      return;
    }
    Below lower = seen_below(lowers, name);
    TreeChange change{lower.exists ? ChangeKind::modified : ChangeKind::added, path, upper, name, st, false};
    if (!S_ISDIR(st.st_mode)) {
      take_(change);
      return;
    }
    UniqueFd fd = open_dir_at(upper, name);
    if (!fd) return;
    // overlayfs marks every new folder so; without one below there is nothing that it hides.
    change.opaque = !lower.folders.empty() && is_opaque(fd.get());
    take_(change);
    folder(fd.get(), std::move(lower.folders), path, depth + 1);
  }

  const char* mark_;
  bool expand_opaque_;
  const TakeChange& take_;
};

}  // namespace

void walk_upper(const Upper& upper, bool expand_opaque, const TakeChange& take) {
  UniqueFd top = open_folder(upper.upper, O_RDONLY);
  std::vector<UniqueFd> opened;
  for (const std::string& lower : upper.lowers) opened.push_back(open_folder(lower, O_RDONLY));
  struct stat st;
  if (fstat(top.get(), &st) != 0) throw_errno("fstat", upper.upper);
  struct stat old = {};
  old.st_mode = S_IFDIR | 0755;
  if (!opened.empty() && fstat(opened.front().get(), &old) != 0) throw_errno("fstat", upper.lowers.front());
  if (!same_owner(st, old)) take({ChangeKind::modified, "", top.get(), ".", st, false});
  UpperWalk(opaque_xattr(upper.user_xattr), expand_opaque, take).folder(top.get(), std::move(opened), "", 0);
}

}  // namespace gantry
