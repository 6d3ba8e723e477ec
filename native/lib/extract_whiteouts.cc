#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>

#include "extractor.h"
#include "gantry/error.h"
#include "gantry/tree.h"

namespace gantry {

void Extractor::whiteout(const TarEntry& entry, const std::string& parent_path, const std::string& name) {
  if (name == ".wh..wh..opq") {
    opaque(parent_path);
    return;
  }
  // What else begins so is aufs' own book-keeping.
  if (name.starts_with(".wh..wh.")) return;
  const std::string hidden = name.substr(kWhiteout.size());
  if (hidden.empty() || hidden == "." || hidden == "..") refuse(entry, "it hides nothing that has a name");
  hide(folder(parent_path), parent_path, hidden);
}

void Extractor::hide(Folder& parent, const std::string& parent_path, const std::string& name) {
  const int dir = parent.fd.get();
  if (options_.whiteouts == Whiteouts::remove) {
    remove_old(dir, name, parent_path.empty() ? name : parent_path + "/" + name);
    forget_all();
    return;
  }
  if (mknodat(dir, name.c_str(), S_IFCHR, 0) == 0) return;
  if (errno != EEXIST) throw_errno("mknodat", name);
  // What this very layer put there stays; only what is below it is hidden.
  UniqueFd fd(::openat(dir, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (fd && fsetxattr(fd.get(), opaque_mark(), "y", 1, 0) != 0) throw_errno("fsetxattr", name);
}

void Extractor::opaque(const std::string& parent_path) {
  Folder& parent = folder(parent_path);
  if (options_.whiteouts == Whiteouts::overlay) {
    if (fsetxattr(parent.fd.get(), opaque_mark(), "y", 1, 0) != 0) throw_errno("fsetxattr", parent_path);
    return;
  }
  remove_old_content(parent.fd.get(), parent_path);
  forget_all();
}

bool Extractor::made_below(const std::string& path) const {
  if (made_.contains(path)) return true;
  auto next = made_.lower_bound(path + "/");
  return next != made_.end() && next->starts_with(path + "/");
}

void Extractor::remove_old(int dir, const std::string& name, const std::string& path) {
  if (!made_below(path)) {
    remove_tree_at(dir, name);
    return;
  }
  UniqueFd fd(::openat(dir, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (fd) remove_old_content(fd.get(), path);
}

void Extractor::remove_old_content(int dir, const std::string& path) {
  std::vector<std::string> names;
  {
    UniqueFd again(::openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!again) throw_errno("openat", path);
    std::unique_ptr<DIR, int (*)(DIR*)> stream(fdopendir(again.get()), closedir);
    if (!stream) throw_errno("fdopendir", path);
    [[maybe_unused]] int owned = again.release();
    while (const dirent* one = readdir(stream.get()))
      if (strcmp(one->d_name, ".") != 0 && strcmp(one->d_name, "..") != 0) names.emplace_back(one->d_name);
  }
  for (const std::string& name : names) remove_old(dir, name, path.empty() ? name : path + "/" + name);
}

}  // namespace gantry
