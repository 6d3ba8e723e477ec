#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "extractor.h"
#include "gantry/error.h"
#include "gantry/path.h"
#include "gantry/tree.h"

namespace gantry {

void Extractor::file(Folder& parent, const std::string& name, const std::string& path, const TarEntry& entry) {
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

void Extractor::write_whole(int fd, const uint8_t* from, size_t size, const std::string& path) {
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

void Extractor::write_plain(int fd, const std::string& path) {
  for (std::span<const uint8_t> part = archive_.data(); !part.empty(); part = archive_.data())
    write_whole(fd, part.data(), part.size(), path);
}

void Extractor::write_sparse(int fd, const std::string& path, const TarEntry& entry) {
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

void Extractor::hard_link(Folder& parent, const std::string& parent_path, const std::string& name,
                          const std::string& path, const TarEntry& entry) {
  std::optional<std::string> target = clean_path(entry.link);
  if (!target || target->empty())
    refuse(entry, "its link target " + printable(entry.link) + " leads out of the target");
  if (*target == path) return;
  auto [target_parent_path, target_name] = split_path(*target);
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

int Extractor::make_special(int dir, const std::string& name, const TarEntry& entry) const {
  if (entry.type == EntryType::symlink) return symlinkat(entry.link.c_str(), dir, name.c_str());
  const mode_t kind = entry.type == EntryType::fifo          ? S_IFIFO
                      : entry.type == EntryType::char_device ? S_IFCHR
                                                             : S_IFBLK;
  const dev_t device = entry.type == EntryType::fifo ? 0 : makedev(entry.device_major, entry.device_minor);
  return mknodat(dir, name.c_str(), kind | (entry.mode & (exact_modes_ ? 0777 : 0600)), device);
}

void Extractor::special(Folder& parent, const std::string& name, const std::string& path, const TarEntry& entry) {
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

void Extractor::xattrs(int fd, const TarEntry& entry) const {
  for (const auto& [name, value] : entry.xattrs) {
    if (is_private_xattr(name)) continue;
    if (fsetxattr(fd, name.c_str(), value.data(), value.size(), 0) != 0) tolerate_xattr(name, entry.path);
  }
}

void Extractor::tolerate_xattr(const std::string& name, const std::string& path) {
  const bool missing = errno == ENOTSUP || errno == EPERM || errno == EINVAL;
  if (!missing || name == "security.capability") throw_errno("setxattr " + name, path);
}

}  // namespace gantry
