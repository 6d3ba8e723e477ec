#include "gantry/extract.h"

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <set>
#include <unordered_map>

#include "gantry/error.h"
#include "gantry/fd.h"
#include "gantry/path.h"
#include "gantry/tree.h"

namespace gantry {
namespace {

constexpr size_t kMaxCachedFolders = 256;
constexpr const char* kOpaque = "trusted.overlay.opaque";
constexpr std::string_view kWhiteout = ".wh.";

struct Folder {
  UniqueFd fd;
  /// New files take its group instead of the writer's, so theirs must always be set.
  bool set_gid = false;
};

/// `path` without empty parts, "." and "..", or nullopt when it climbs out.
std::optional<std::string> clean(std::string_view path) {
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

std::pair<std::string, std::string> split(const std::string& path) {
  size_t slash = path.rfind('/');
  if (slash == std::string::npos) return {"", path};
  return {path.substr(0, slash), path.substr(slash + 1)};
}

/// An answer of the kernel that only a malformed archive brings about.
bool blames_archive(int err) {
  return err == ELOOP || err == ENOTDIR || err == ENAMETOOLONG || err == EISDIR || err == EXDEV || err == ENOENT;
}

class Extractor {
 public:
  Extractor(TarReader& archive, const ExtractOptions& options) : archive_(archive), options_(options) {
    // A umask of its own for this thread makes modes exact at creation, which saves a chmod for every file. A default
    // ACL on the target would overrule it.
    exact_modes_ = unshare(CLONE_FS) == 0;
    if (exact_modes_) umask(0);
    UniqueFd base = open_in_root(options.root, options.base, O_RDONLY | O_DIRECTORY);
    if (fgetxattr(base.get(), "system.posix_acl_default", nullptr, 0) > 0) exact_modes_ = false;
    uid_ = geteuid();
    gid_ = getegid();
  }

  uint64_t run() {
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

 private:
  [[noreturn]] void refuse(const TarEntry& entry, const std::string& why) const {
    throw InvalidInput("archive entry " + printable(entry.path) + ": " + why);
  }

  bool is_layer() const { return options_.whiteouts != Whiteouts::plain; }

  std::string in_root(const std::string& path) const {
    if (options_.base.empty()) return path;
    return path.empty() ? options_.base : options_.base + "/" + path;
  }

  void apply(TarEntry& entry) {
    if (entry.path.empty()) refuse(entry, "it has no name");
    std::optional<std::string> path = clean(entry.path);
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
    auto [parent_path, name] = split(*path);
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

  // --- folders ---

  /// The folder of that cleaned path, made with its parents when it is missing.
  Folder& folder(const std::string& path) {
    if (last_ && *last_path_ == path) return *last_;
    auto found = folders_.find(path);
    if (found == folders_.end()) {
      const std::string full = in_root(path);
      UniqueFd fd(open_in_root_raw(options_.root, full.c_str(), O_RDONLY | O_DIRECTORY));
      if (!fd) {
        if (errno != ENOENT) throw_errno("openat2", path);
        RootWalk walk(options_.root);
        walk.go(full, RootWalk::Missing::make);
        fd = UniqueFd(::openat(walk.fd(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        if (!fd) throw_errno("openat", path);
      }
      found = remember(path, std::move(fd));
    }
    last_path_ = &found->first;
    last_ = &found->second;
    return *last_;
  }

  std::unordered_map<std::string, Folder>::iterator remember(const std::string& path, UniqueFd fd) {
    if (folders_.size() >= kMaxCachedFolders) forget_all();
    struct stat st;
    if (fstat(fd.get(), &st) != 0) throw_errno("fstat", path);
    return folders_.insert_or_assign(path, Folder{std::move(fd), (st.st_mode & S_ISGID) != 0}).first;
  }

  void forget_all() {
    folders_.clear();
    last_ = nullptr;
    last_path_ = nullptr;
  }

  /// Takes away what has the name and is not a folder that may stay. True when such a folder stays.
  bool clear_place(Folder& parent, const std::string& name, const TarEntry& entry, bool folder_comes,
                   bool* was_whiteout = nullptr) {
    struct stat st;
    if (fstatat(parent.fd.get(), name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) {
      if (errno == ENOENT) return false;
      throw_errno("fstatat", name);
    }
    if (options_.no_overwrite_dir_non_dir && S_ISDIR(st.st_mode) != folder_comes) {
      const std::string place = "/" + in_root(clean(entry.path).value_or(""));
      throw InvalidInput(
          folder_comes
              ? "cannot overwrite non-directory " + printable(place) + " with directory " + printable(entry.path)
              : "cannot overwrite directory " + printable(place) + " with non-directory " + printable(entry.path));
    }
    if (S_ISDIR(st.st_mode) && folder_comes) return true;
    if (was_whiteout)
      *was_whiteout = options_.whiteouts == Whiteouts::overlay && S_ISCHR(st.st_mode) && st.st_rdev == 0;
    const int dir = parent.fd.get();
    if (S_ISDIR(st.st_mode) || S_ISLNK(st.st_mode)) {
      // Paths that were resolved through it are no longer what they were. `dir` lives in the cache too.
      UniqueFd kept(fcntl(dir, F_DUPFD_CLOEXEC, 0));
      if (!kept) throw_errno("fcntl");
      remove_tree_at(kept.get(), name);
      stale_ = true;
    } else if (unlinkat(dir, name.c_str(), 0) != 0 && errno != ENOENT) {
      throw_errno("unlinkat", name);
    }
    return false;
  }

  void own_folder(const TarEntry& entry) {
    UniqueFd fd = open_in_root(options_.root, options_.base, O_RDONLY | O_DIRECTORY);
    folder_properties(fd.get(), entry, true);
    folder_times_.emplace_back("", entry_times(entry));
    forget_all();
  }

  void directory(Folder& parent, const std::string& name, const std::string& path, const TarEntry& entry) {
    bool existed = false;
    bool was_whiteout = false;
    int dir = parent.fd.get();
    if (mkdirat(dir, name.c_str(), exact_modes_ ? entry.mode : 0700) != 0) {
      if (errno != EEXIST) throw_errno("mkdirat", name);
      existed = clear_place(parent, name, entry, true, &was_whiteout);
      if (!existed && mkdirat(dir, name.c_str(), exact_modes_ ? entry.mode : 0700) != 0) throw_errno("mkdirat", name);
    }
    UniqueFd fd(::openat(dir, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!fd) throw_errno("openat", name);
    folder_properties(fd.get(), entry, existed);
    // The whiteout hid the whole lower folder; a folder in its place must go on doing so.
    if (was_whiteout && fsetxattr(fd.get(), kOpaque, "y", 1, 0) != 0) throw_errno("fsetxattr", name);
    folder_times_.emplace_back(path, entry_times(entry));
    drop_stale();
    remember(path, std::move(fd));
    last_ = nullptr;
  }

  void folder_properties(int fd, const TarEntry& entry, bool existed) {
    if (fchown(fd, entry.uid, entry.gid) != 0) throw_errno("fchown", entry.path);
    if (fchmod(fd, entry.mode) != 0) throw_errno("fchmod", entry.path);
    if (existed && is_layer()) {
      // An attribute that the archive does not have is not in the layer's folder either.
      std::vector<std::string> old;
      each_xattr(fd, [&](const std::string& name, const std::string&) {
        if (!is_private_xattr(name) && !name.starts_with("system.")) old.push_back(name);
      });
      for (const std::string& name : old) fremovexattr(fd, name.c_str());
    }
    xattrs(fd, entry);
  }

  // --- files ---

  void file(Folder& parent, const std::string& name, const std::string& path, const TarEntry& entry) {
    constexpr int kFlags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
    const mode_t mode = exact_modes_ ? entry.mode & 0777 : 0600;
    const int dir = parent.fd.get();
    const bool set_owner = parent.set_gid || entry.uid != uid_ || entry.gid != gid_;
    UniqueFd fd(::openat(dir, name.c_str(), kFlags, mode));
    if (!fd) {
      if (errno != EEXIST) throw_errno("openat", name);
      clear_place(parent, name, entry, false);
      fd = UniqueFd(::openat(dir, name.c_str(), kFlags, mode));
      if (!fd) throw_errno("openat", name);
    }
    if (entry.sparse)
      write_sparse(fd.get(), path, entry);
    else
      write_plain(fd.get(), path);
    bytes_ += entry.size;
    if (set_owner && fchown(fd.get(), entry.uid, entry.gid) != 0) throw_errno("fchown", path);
    // chown takes set-user-ID away, so the mode comes after it.
    if ((!exact_modes_ || (entry.mode & 07000) != 0) && fchmod(fd.get(), entry.mode) != 0) throw_errno("fchmod", path);
    if (!entry.xattrs.empty()) xattrs(fd.get(), entry);
    const Times times = entry_times(entry);
    if (futimens(fd.get(), times.both) != 0) throw_errno("futimens", path);
    drop_stale();
  }

  static void write_whole(int fd, const uint8_t* from, size_t size, const std::string& path) {
    while (size > 0) {
      ssize_t written = ::write(fd, from, size);
      if (written < 0) {
        if (errno == EINTR) continue;
        throw_errno("write", path);
      }
      from += written;
      size -= static_cast<size_t>(written);
    }
  }

  void write_plain(int fd, const std::string& path) {
    for (std::span<const uint8_t> part = archive_.data(); !part.empty(); part = archive_.data())
      write_whole(fd, part.data(), part.size(), path);
  }

  void write_sparse(int fd, const std::string& path, const TarEntry& entry) {
    if (ftruncate(fd, static_cast<off_t>(entry.size)) != 0) throw_errno("ftruncate", path);
    std::span<const uint8_t> part;
    for (const SparseRun& run : entry.runs) {
      if (lseek(fd, static_cast<off_t>(run.offset), SEEK_SET) < 0) throw_errno("lseek", path);
      for (uint64_t left = run.length; left > 0;) {
        if (part.empty()) part = archive_.data();
        size_t count = static_cast<size_t>(std::min<uint64_t>(left, part.size()));
        write_whole(fd, part.data(), count, path);
        part = part.subspan(count);
        left -= count;
      }
    }
  }

  // --- other kinds ---

  void hard_link(Folder& parent, const std::string& parent_path, const std::string& name, const std::string& path,
                 const TarEntry& entry) {
    std::optional<std::string> target = clean(entry.link);
    if (!target || target->empty())
      refuse(entry, "its link target " + printable(entry.link) + " leads out of the target");
    if (*target == path) return;
    auto [target_parent_path, target_name] = split(*target);
    // Not made when missing, and not from the cache: two folders are needed at once.
    UniqueFd target_parent(open_in_root_raw(options_.root, in_root(target_parent_path).c_str(), O_PATH | O_DIRECTORY));
    struct stat st;
    if (!target_parent || fstatat(target_parent.get(), target_name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0)
      refuse(entry, "its link target " + printable(entry.link) + ": " + std::generic_category().message(errno));
    if (S_ISDIR(st.st_mode)) refuse(entry, "its link target " + printable(entry.link) + " is a folder");
    if (linkat(target_parent.get(), target_name.c_str(), parent.fd.get(), name.c_str(), 0) == 0) return;
    if (errno != EEXIST) throw_errno("linkat", name);
    struct stat there;
    if (fstatat(parent.fd.get(), name.c_str(), &there, AT_SYMLINK_NOFOLLOW) == 0 && there.st_ino == st.st_ino &&
        there.st_dev == st.st_dev)
      return;
    clear_place(parent, name, entry, false);
    drop_stale();
    if (linkat(target_parent.get(), target_name.c_str(), folder(parent_path).fd.get(), name.c_str(), 0) != 0)
      throw_errno("linkat", name);
  }

  int make_special(int dir, const std::string& name, const TarEntry& entry) const {
    if (entry.type == EntryType::symlink) return symlinkat(entry.link.c_str(), dir, name.c_str());
    const mode_t kind = entry.type == EntryType::fifo          ? S_IFIFO
                        : entry.type == EntryType::char_device ? S_IFCHR
                                                               : S_IFBLK;
    const dev_t device = entry.type == EntryType::fifo ? 0 : makedev(entry.device_major, entry.device_minor);
    return mknodat(dir, name.c_str(), kind | (entry.mode & (exact_modes_ ? 0777 : 0600)), device);
  }

  void special(Folder& parent, const std::string& name, const std::string& path, const TarEntry& entry) {
    const int dir = parent.fd.get();
    if (entry.type == EntryType::symlink && entry.link.empty()) refuse(entry, "it links to nothing");
    if (make_special(dir, name, entry) != 0) {
      if (errno != EEXIST) throw_errno("mknodat", name);
      clear_place(parent, name, entry, false);
      if (make_special(dir, name, entry) != 0) throw_errno("mknodat", name);
    }
    if ((parent.set_gid || entry.uid != uid_ || entry.gid != gid_) &&
        fchownat(dir, name.c_str(), entry.uid, entry.gid, AT_SYMLINK_NOFOLLOW) != 0)
      throw_errno("fchownat", path);
    if (entry.type != EntryType::symlink && (!exact_modes_ || (entry.mode & 07000) != 0)) {
      // By descriptor: in a container's root the name may be a link by now.
      UniqueFd fd(::openat(dir, name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
      struct stat st;
      if (!fd || fstat(fd.get(), &st) != 0) throw_errno("openat", path);
      if (!S_ISLNK(st.st_mode) && chmod(proc_path(fd.get()).c_str(), entry.mode) != 0) throw_errno("chmod", path);
    }
    if (!entry.xattrs.empty()) {
      const std::string place = proc_path(dir) + "/" + name;
      for (const auto& [key, value] : entry.xattrs) {
        if (is_private_xattr(key)) continue;
        if (lsetxattr(place.c_str(), key.c_str(), value.data(), value.size(), 0) != 0) tolerate_xattr(key, path);
      }
    }
    const Times times = entry_times(entry);
    if (utimensat(dir, name.c_str(), times.both, AT_SYMLINK_NOFOLLOW) != 0) throw_errno("utimensat", path);
    drop_stale();
  }

  // --- whiteouts ---

  void whiteout(const TarEntry& entry, const std::string& parent_path, const std::string& name) {
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

  void hide(Folder& parent, const std::string& parent_path, const std::string& name) {
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
    if (fd && fsetxattr(fd.get(), kOpaque, "y", 1, 0) != 0) throw_errno("fsetxattr", name);
  }

  void opaque(const std::string& parent_path) {
    Folder& parent = folder(parent_path);
    if (options_.whiteouts == Whiteouts::overlay) {
      if (fsetxattr(parent.fd.get(), kOpaque, "y", 1, 0) != 0) throw_errno("fsetxattr", parent_path);
      return;
    }
    remove_old_content(parent.fd.get(), parent_path);
    forget_all();
  }

  /// Whether this archive put something at or below `path`.
  bool made_below(const std::string& path) const {
    if (made_.contains(path)) return true;
    auto next = made_.lower_bound(path + "/");
    return next != made_.end() && next->starts_with(path + "/");
  }

  void remove_old(int dir, const std::string& name, const std::string& path) {
    if (!made_below(path)) {
      remove_tree_at(dir, name);
      return;
    }
    UniqueFd fd(::openat(dir, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (fd) remove_old_content(fd.get(), path);
  }

  void remove_old_content(int dir, const std::string& path) {
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

  // --- properties ---

  struct Times {
    struct timespec both[2];
  };

  static Times entry_times(const TarEntry& entry) {
    const struct timespec when = {entry.mtime, static_cast<long>(entry.mtime_ns)};
    return {{when, when}};
  }

  void xattrs(int fd, const TarEntry& entry) const {
    for (const auto& [name, value] : entry.xattrs) {
      if (is_private_xattr(name)) continue;
      if (fsetxattr(fd, name.c_str(), value.data(), value.size(), 0) != 0) tolerate_xattr(name, entry.path);
    }
  }

  /// A file system or host that cannot keep an attribute is no reason to refuse an image, unless it grants a privilege.
  static void tolerate_xattr(const std::string& name, const std::string& path) {
    const bool missing = errno == ENOTSUP || errno == EPERM || errno == EINVAL;
    if (!missing || name == "security.capability") throw_errno("setxattr " + name, path);
  }

  void drop_stale() {
    if (stale_) forget_all();
    stale_ = false;
  }

  void set_folder_times() {
    for (const auto& [path, times] : folder_times_) {
      if (path.empty()) {
        UniqueFd fd = open_in_root(options_.root, options_.base, O_RDONLY | O_DIRECTORY);
        if (futimens(fd.get(), times.both) != 0) throw_errno("futimens");
        continue;
      }
      // It may be gone, or something else by now, by a later entry.
      UniqueFd fd(open_in_root_raw(options_.root, in_root(path).c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
      if (fd && futimens(fd.get(), times.both) != 0) throw_errno("futimens", path);
    }
  }

  TarReader& archive_;
  const ExtractOptions& options_;
  bool exact_modes_ = false;
  uid_t uid_ = 0;
  gid_t gid_ = 0;
  uint64_t bytes_ = 0;
  std::unordered_map<std::string, Folder> folders_;
  const std::string* last_path_ = nullptr;
  Folder* last_ = nullptr;
  bool stale_ = false;
  std::vector<std::pair<std::string, Times>> folder_times_;
  std::set<std::string> made_;
};

}  // namespace

uint64_t extract(TarReader& archive, const ExtractOptions& options) { return Extractor(archive, options).run(); }

}  // namespace gantry
