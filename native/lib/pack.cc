#include "gantry/pack.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <map>

#include "gantry/error.h"
#include "gantry/fd.h"
#include "gantry/path.h"
#include "gantry/tar_writer.h"
#include "gantry/tree.h"
#include "gantry/tree_changes.h"

namespace gantry {
namespace {

/// Holes of less than this in a file are written as zeros: a map of them would be larger, or of no use to anybody.
constexpr off_t kWorthwhileHoles = 64 * 1024;

/// A map of so many takes less than the MiB that readers allow it, ours and Go's among them.
constexpr size_t kMaxRuns = 16384;

bool has_holes(const struct stat& st) { return st.st_size - st.st_blocks * 512 >= kWorthwhileHoles; }

/// Where a file has data, by what its file system knows.
std::vector<SparseRun> data_runs(int fd, uint64_t size, const std::string& path) {
  std::vector<SparseRun> runs;
  for (off_t at = 0; static_cast<uint64_t>(at) < size;) {
    const off_t data = lseek(fd, at, SEEK_DATA);
    if (data < 0 && errno == ENXIO) break;
    if (data < 0) throw_errno("lseek", path);
    const off_t hole = lseek(fd, data, SEEK_HOLE);
    if (hole < 0) throw_errno("lseek", path);
    const uint64_t end = std::min(static_cast<uint64_t>(hole), size);
    // It became longer since its size was asked for.
    if (static_cast<uint64_t>(data) >= end) break;
    runs.push_back({static_cast<uint64_t>(data), end - static_cast<uint64_t>(data)});
    at = hole;
  }
  return runs;
}

/// Puts entries of a tree into an archive: the second name of a file becomes a hard link to the first.
class Packer {
 public:
  Packer(const PackForm& form, int fd) : form_(form), writer_(fd), buffer_(256 * 1024) {}

  void add(int dir, const std::string& name, const std::string& path, const struct stat& st) {
    TarEntry entry;
    entry.path = path;
    entry.mode = st.st_mode & 07777;
    entry.uid = st.st_uid;
    entry.gid = st.st_gid;
    take_time(st, entry);
    if (!S_ISDIR(st.st_mode) && st.st_nlink > 1) {
      auto [first, fresh] = links_.try_emplace({st.st_dev, st.st_ino}, path);
      if (!fresh) {
        entry.type = EntryType::hard_link;
        entry.link = first->second;
        writer_.begin(entry);
        writer_.end_entry();
        return;
      }
    }
    if (S_ISREG(st.st_mode)) {
      file(dir, name, entry, st);
      return;
    }
    if (S_ISDIR(st.st_mode)) {
      entry.type = EntryType::directory;
    } else if (S_ISLNK(st.st_mode)) {
      entry.type = EntryType::symlink;
      char target[PATH_MAX];
      ssize_t length = readlinkat(dir, name.c_str(), target, sizeof target);
      if (length < 0) {
        if (gone(st, path)) return;
        throw_errno("readlinkat", path);
      }
      entry.link.assign(target, static_cast<size_t>(length));
    } else if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode)) {
      entry.type = S_ISCHR(st.st_mode) ? EntryType::char_device : EntryType::block_device;
      entry.device_major = major(st.st_rdev);
      entry.device_minor = minor(st.st_rdev);
    } else if (S_ISFIFO(st.st_mode)) {
      entry.type = EntryType::fifo;
    } else {
      // A socket is nothing without its process, and archives have no word for it.
      return;
    }
    take_xattrs(dir, name, entry);
    writer_.begin(entry);
    writer_.end_entry();
  }

  /// An empty file whose name is the message.
  void whiteout(const std::string& folder, const std::string& name) {
    TarEntry entry;
    entry.path = folder.empty() ? name : folder + "/" + name;
    entry.mode = 0600;
    writer_.begin(entry);
    writer_.end_entry();
  }

  Digested finish() { return writer_.finish(); }

 private:
  void file(int dir, const std::string& name, TarEntry& entry, const struct stat& seen) {
    struct stat st;
    UniqueFd fd;
    try {
      fd = open_regular_at(dir, name.c_str(), &st);
    } catch (const SysError& error) {
      // Removed, or another thing by now: as if it had been so before the walk came by.
      if ((error.err() == ENOENT || error.err() == EINVAL || error.err() == ELOOP) && gone(seen, entry.path)) return;
      throw;
    }
    entry.mode = st.st_mode & 07777;
    entry.uid = st.st_uid;
    entry.gid = st.st_gid;
    take_time(st, entry);
    entry.size = static_cast<uint64_t>(st.st_size);
    entry.sparse = form_.holes && has_holes(st);
    if (entry.sparse) entry.runs = data_runs(fd.get(), entry.size, entry.path);
    if (entry.runs.size() > kMaxRuns) entry.sparse = false;
    if (!entry.sparse) entry.runs = {{0, entry.size}};
    each_xattr(fd.get(), [&](const std::string& key, const std::string& value) { take_xattr(key, value, entry); });
    // Each file system lists them in an order of its own.
    std::sort(entry.xattrs.begin(), entry.xattrs.end());
    writer_.begin(entry);
    for (const SparseRun& run : entry.runs) content(fd.get(), run, entry.path);
    writer_.end_entry();
  }

  void content(int fd, const SparseRun& run, const std::string& path) {
    for (uint64_t done = 0; done < run.length;) {
      const size_t wanted = static_cast<size_t>(std::min<uint64_t>(run.length - done, buffer_.size()));
      ssize_t count = ::pread(fd, buffer_.data(), wanted, static_cast<off_t>(run.offset + done));
      if (count < 0) {
        if (errno == EINTR) continue;
        throw_errno("pread", path);
      }
      // The header is out and promised more.
      if (count == 0) throw InvalidInput("file " + printable(path) + " became shorter while it was read");
      writer_.data(buffer_.data(), static_cast<size_t>(count));
      done += static_cast<uint64_t>(count);
    }
  }

  void take_time(const struct stat& st, TarEntry& entry) const {
    entry.mtime = st.st_mtim.tv_sec;
    if (form_.exact_times) entry.mtime_ns = static_cast<uint32_t>(st.st_mtim.tv_nsec);
  }

  bool gone(const struct stat& st, const std::string& path) {
    auto first = links_.find({st.st_dev, st.st_ino});
    if (first != links_.end() && first->second == path) links_.erase(first);
    return true;
  }

  static void take_xattr(const std::string& key, const std::string& value, TarEntry& entry) {
    if (key == "trusted.overlay.redirect" || key == "trusted.overlay.metacopy")
      throw InvalidInput(printable(entry.path) + " was stored by overlayfs as a reference (" + key +
                         "); its upper folder alone is not its content");
    if (!is_private_xattr(key)) entry.xattrs.emplace_back(key, value);
  }

  static void take_xattrs(int dir, const std::string& name, TarEntry& entry) {
    each_xattr_at(dir, name, [&](const std::string& key, const std::string& value) { take_xattr(key, value, entry); });
    std::sort(entry.xattrs.begin(), entry.xattrs.end());
  }

  PackForm form_;
  TarWriter writer_;
  std::vector<char> buffer_;
  std::map<std::pair<dev_t, ino_t>, std::string> links_;
};

std::pair<std::string, std::string> split(const std::string& path) {
  size_t slash = path.rfind('/');
  if (slash == std::string::npos) return {"", path};
  return {path.substr(0, slash), path.substr(slash + 1)};
}

/// Views of the kernel's state: endless, blocking and of no use in an archive.
bool is_kernel_view(int fd) {
  struct statfs st;
  if (fstatfs(fd, &st) != 0) throw_errno("fstatfs");
  switch (static_cast<uint32_t>(st.f_type)) {
    case 0x9FA0:      // proc
    case 0x62656572:  // sysfs
    case 0x27E0EB:    // cgroup
    case 0x63677270:  // cgroup2
    case 0x1CD1:      // devpts
    case 0x19800202:  // mqueue
    case 0x73636673:  // securityfs
    case 0x64626720:  // debugfs
    case 0x74726163:  // tracefs
    case 0xCAFE4A11:  // bpf
    case 0x6165676C:  // pstore
    case 0x958458F6:  // hugetlbfs
      return true;
    default:
      return false;
  }
}

void pack_folder(Packer& packer, int dir, const std::string& path, int depth) {
  if (depth > kMaxTreeDepth) throw SysError(ENAMETOOLONG, "open", path.substr(0, 200) + "…");
  if (is_kernel_view(dir)) return;
  for (const std::string& name : sorted_names(dir)) {
    struct stat st;
    if (fstatat(dir, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) {
      if (errno == ENOENT) continue;
      throw_errno("fstatat", path + "/" + name);
    }
    packer.add(dir, name, path + "/" + name, st);
    if (!S_ISDIR(st.st_mode)) continue;
    UniqueFd below(::openat(dir, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (below)
      pack_folder(packer, below.get(), path + "/" + name, depth + 1);
    else if (errno != ENOENT && errno != ENOTDIR && errno != ELOOP)
      throw_errno("openat", path + "/" + name);
  }
}

}  // namespace

Digested pack_changes(const PackForm& form, int fd, const std::function<void(const TakeChange&)>& walk) {
  Packer packer(form, fd);
  walk([&](const TreeChange& change) {
    if (change.kind == ChangeKind::deleted) {
      auto [folder, name] = split(change.path);
      packer.whiteout(folder, ".wh." + name);
      return;
    }
    packer.add(change.dir, change.name, change.path.empty() ? "." : change.path, change.st);
    if (change.opaque) packer.whiteout(change.path, ".wh..wh..opq");
  });
  return packer.finish();
}

Digested pack_upper(const Upper& upper, const PackForm& form, int fd) {
  return pack_changes(form, fd, [&](const TakeChange& take) { walk_upper(upper, false, take); });
}

Digested pack_diff(const std::string& tree, const std::optional<std::string>& parent, Compare compare,
                   const PackForm& form, int fd) {
  return pack_changes(form, fd, [&](const TakeChange& take) { walk_diff(tree, parent, compare, take); });
}

void pack_path(int root, const std::string& path, int fd, const std::optional<std::string>& rename) {
  ResolvedParent source = open_parent_in_root(root, path);
  struct stat st;
  if (fstatat(source.dir.get(), source.name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) throw_errno("fstatat", path);
  std::vector<std::string> parts = path_components(path);
  std::string name = path.ends_with("/.") || path == "." || parts.empty() ? "." : parts.back();
  if (rename && !rename->empty()) name = *rename;
  Packer packer({}, fd);
  packer.add(source.dir.get(), source.name, name, st);
  if (S_ISDIR(st.st_mode)) {
    UniqueFd dir(::openat(source.dir.get(), source.name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!dir) throw_errno("openat", path);
    pack_folder(packer, dir.get(), name == "/" ? "" : name, 0);
  }
  packer.finish();
}

}  // namespace gantry
