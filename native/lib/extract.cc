#include "gantry/extract.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <climits>

#include "extractor.h"
#include "gantry/error.h"
#include "gantry/path.h"
#include "gantry/workers.h"

namespace gantry {
namespace {

/// An answer of the kernel that only a malformed archive brings about.
bool blames_archive(int err) {
  return err == ELOOP || err == ENOTDIR || err == ENAMETOOLONG || err == EISDIR || err == EXDEV || err == ENOENT;
}

}  // namespace

std::optional<std::string> clean_path(std::string_view path) {
  std::vector<std::string> kept;
  for (std::string& part : path_components(path)) {
    if (part != "..") {
      kept.push_back(std::move(part));
    } else if (kept.empty()) {
      return std::nullopt;
    } else {
      kept.pop_back();
    }
  }
  std::string text;
  for (const std::string& part : kept) {
    if (!text.empty()) text += '/';
    text += part;
  }
  return text;
}

std::pair<std::string, std::string> split_path(const std::string& path) {
  size_t slash = path.rfind('/');
  if (slash == std::string::npos) return {"", path};
  return {path.substr(0, slash), path.substr(slash + 1)};
}

Extractor::Extractor(TarReader& archive, const ExtractOptions& options) : archive_(archive), options_(options) {
  // A umask of its own for this thread makes modes exact at creation, which saves a chmod for every file. A default
  // ACL on the target would overrule it.
  try {
    unshare_thread(CLONE_FS, "CLONE_FS");
    umask(0);
    exact_modes_ = true;
  } catch (const SysError&) {
    // A filter around the daemon may forbid it.
  }
  UniqueFd base = open_in_root(options.root, options.base, O_RDONLY | O_DIRECTORY);
  if (fgetxattr(base.get(), "system.posix_acl_default", nullptr, 0) > 0) exact_modes_ = false;
  uid_ = geteuid();
  gid_ = getegid();
}

uint64_t Extractor::run() {
  TarEntry entry;
  while (archive_.next(entry)) {
    try {
      apply(entry);
    } catch (const SysError& error) {
      if (!blames_archive(error.err())) throw SysError(error.err(), error.operation(), entry.path);
      throw InvalidInput("archive entry " + printable(entry.path) + ": " +
                         std::generic_category().message(error.err()) +
                         (error.path().empty() ? "" : " (" + printable(error.path()) + ")"));
    }
  }
  set_folder_times();
  return bytes_;
}

void Extractor::refuse(const TarEntry& entry, const std::string& why) const {
  throw InvalidInput("archive entry " + printable(entry.path) + ": " + why);
}

std::string Extractor::in_root(const std::string& path) const {
  if (options_.base.empty()) return path;
  return path.empty() ? options_.base : options_.base + "/" + path;
}

void Extractor::apply(TarEntry& entry) {
  if (entry.path.empty()) refuse(entry, "it has no name");
  std::optional<std::string> path = clean_path(entry.path);
  if (!path) refuse(entry, "its path leads out of the target");
  if (path->empty()) {
    if (entry.type != EntryType::directory) refuse(entry, "it takes the place of the target itself");
    if (is_layer()) own_folder(entry);
    return;
  }
  if (options_.owner) {
    entry.uid = options_.owner->uid;
    entry.gid = options_.owner->gid;
  }
  auto [parent_path, name] = split_path(*path);
  if (name.size() > NAME_MAX) refuse(entry, "a name is longer than 255 bytes");
  if (is_layer() && name.starts_with(kWhiteout)) {
    whiteout(entry, parent_path, name);
    return;
  }
  Folder& parent = folder(parent_path);
  if (is_layer() && entry.type == EntryType::char_device && entry.device_major == 0 && entry.device_minor == 0) {
    // overlayfs' own form of a whiteout, which it would be taken for in any case.
    hide(parent, parent_path, name);
    return;
  }
  switch (entry.type) {
    case EntryType::file:
      file(parent, name, *path, entry);
      break;
    case EntryType::directory:
      directory(parent, name, *path, entry);
      break;
    case EntryType::hard_link:
      hard_link(parent, parent_path, name, *path, entry);
      break;
    default:
      special(parent, name, *path, entry);
  }
  if (options_.whiteouts == Whiteouts::remove) made_.insert(std::move(*path));
}

uint64_t extract(TarReader& archive, const ExtractOptions& options) { return Extractor(archive, options).run(); }

}  // namespace gantry
