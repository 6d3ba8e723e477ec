#include "gantry/tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <map>
#include <memory>
#include <set>
#include <vector>

#include "gantry/error.h"
#include "gantry/fd.h"
#include "gantry/path.h"

namespace gantry {
namespace {

// Since Linux 6.13; the C library does not know them yet.
constexpr long kGetxattrat = 464;
constexpr long kListxattrat = 465;

struct XattrArgs {
  uint64_t value;
  uint32_t size;
  uint32_t flags;
};

struct CloseDir {
  void operator()(DIR* dir) const noexcept { closedir(dir); }
};
using DirStream = std::unique_ptr<DIR, CloseDir>;

DirStream stream_of(UniqueFd fd, const std::string& name) {
  DirStream stream(fdopendir(fd.get()));
  if (!stream) throw_errno("fdopendir", name);
  [[maybe_unused]] int owned = fd.release();
  return stream;
}

const dirent* next_of(DIR* stream, const std::string& name) {
  for (;;) {
    errno = 0;
    const dirent* entry = readdir(stream);
    if (!entry && errno != 0) throw_errno("readdir", name);
    if (!entry || (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)) return entry;
  }
}

bool unsupported(int err) { return err == ENOTSUP || err == EOPNOTSUPP || err == ENOSYS; }

/// list and get calls of one kind of handle.
template <typename List, typename Get>
void read_xattrs(List list, Get get, const std::function<void(const std::string&, const std::string&)>& take) {
  ssize_t size = list(nullptr, 0);
  if (size == 0) return;
  if (size < 0) {
    if (unsupported(errno) || errno == ENOENT || errno == EPERM || errno == EACCES) return;
    throw_errno("listxattr");
  }
  std::vector<char> names(static_cast<size_t>(size) + 1024);
  size = list(names.data(), names.size());
  if (size < 0) throw_errno("listxattr");
  std::vector<char> value(4096);
  for (const char *name = names.data(), *end = name + size; name < end; name += strlen(name) + 1) {
    ssize_t length = get(name, value.data(), value.size());
    if (length < 0 && errno == ERANGE) {
      value.resize(65536);
      length = get(name, value.data(), value.size());
    }
    if (length < 0) {
      // Taken away since it was listed, or not ours to read.
      if (errno == ENODATA || errno == EACCES || errno == EPERM || unsupported(errno)) continue;
      throw_errno("getxattr", name);
    }
    take(name, std::string(value.data(), static_cast<size_t>(length)));
  }
}

/// One copy of a tree: what it has learned about the two file systems, and where each hard link went.
class TreeCopy {
 public:
  explicit TreeCopy(int to_root) : to_root_(to_root) {}

  void folder(int from, int to, int depth, const std::string& path) {
    if (depth > kMaxTreeDepth) throw SysError(ENAMETOOLONG, "copy", path.substr(0, 200) + "…");
    DirStream stream = stream_of(UniqueFd(::openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)), path);
    while (const dirent* entry = next_of(stream.get(), path)) {
      std::string name = entry->d_name;
      this->entry(from, to, name, depth, path.empty() ? name : path + "/" + name);
    }
  }

  void properties(int from, int to, const struct stat& st, const std::string& path) {
    if (fchown(to, st.st_uid, st.st_gid) != 0) throw_errno("fchown", path);
    if (fchmod(to, st.st_mode & 07777) != 0) throw_errno("fchmod", path);
    each_xattr(from, [&](const std::string& name, const std::string& value) {
      if (fsetxattr(to, name.c_str(), value.data(), value.size(), 0) != 0 && !unsupported(errno))
        throw_errno("fsetxattr", path);
    });
  }

  static void times(int to, const struct stat& st, const std::string& path) {
    const struct timespec both[2] = {st.st_atim, st.st_mtim};
    if (futimens(to, both) != 0) throw_errno("futimens", path);
  }

 private:
  void entry(int from, int to, const std::string& name, int depth, const std::string& path) {
    struct stat st;
    if (fstatat(from, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) throw_errno("fstatat", path);
    if (!S_ISDIR(st.st_mode) && st.st_nlink > 1) {
      auto [seen, fresh] = links_.try_emplace({st.st_dev, st.st_ino}, path);
      if (!fresh) {
        if (linkat(to_root_, seen->second.c_str(), to, name.c_str(), 0) != 0) throw_errno("linkat", path);
        return;
      }
    }
    if (S_ISREG(st.st_mode)) {
      file(from, to, name, path);
    } else if (S_ISDIR(st.st_mode)) {
      if (mkdirat(to, name.c_str(), 0700) != 0) throw_errno("mkdirat", path);
      UniqueFd copy(::openat(to, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
      if (!copy) throw_errno("openat", path);
      UniqueFd source(open_child_dir_raw(from, name.c_str(), O_RDONLY));
      if (!source) {
        if (errno != EXDEV) throw_errno("openat2", path);
        if (fchmod(copy.get(), 0755) != 0) throw_errno("fchmod", path);
        return;
      }
      folder(source.get(), copy.get(), depth + 1, path);
      properties(source.get(), copy.get(), st, path);
      times(copy.get(), st, path);
    } else {
      special(from, to, name, st, path);
    }
  }

  void special(int from, int to, const std::string& name, const struct stat& st, const std::string& path) {
    if (S_ISLNK(st.st_mode)) {
      std::string target(static_cast<size_t>(st.st_size) + 4096, '\0');
      ssize_t length = readlinkat(from, name.c_str(), target.data(), target.size());
      if (length < 0) throw_errno("readlinkat", path);
      target.resize(static_cast<size_t>(length));
      if (symlinkat(target.c_str(), to, name.c_str()) != 0) throw_errno("symlinkat", path);
    } else if (S_ISSOCK(st.st_mode)) {
      // A socket file without its process is nothing; copies of trees leave it out, as archives do.
      return;
    } else {
      if (mknodat(to, name.c_str(), st.st_mode, st.st_rdev) != 0) throw_errno("mknodat", path);
    }
    if (fchownat(to, name.c_str(), st.st_uid, st.st_gid, AT_SYMLINK_NOFOLLOW) != 0) throw_errno("fchownat", path);
    // No one but us is in the target, so the name still is what was just made. mknod(2) obeyed the umask.
    if (!S_ISLNK(st.st_mode) && fchmodat(to, name.c_str(), st.st_mode & 07777, 0) != 0) throw_errno("fchmodat", path);
    const std::string copy = proc_path(to) + "/" + name;
    each_xattr_at(from, name, [&](const std::string& key, const std::string& value) {
      if (lsetxattr(copy.c_str(), key.c_str(), value.data(), value.size(), 0) != 0 && !unsupported(errno) &&
          errno != EPERM)
        throw_errno("lsetxattr", path);
    });
    const struct timespec both[2] = {st.st_atim, st.st_mtim};
    if (utimensat(to, name.c_str(), both, AT_SYMLINK_NOFOLLOW) != 0) throw_errno("utimensat", path);
  }

  void file(int from, int to, const std::string& name, const std::string& path) {
    struct stat st;
    UniqueFd source = open_regular_at(from, name.c_str(), &st);
    UniqueFd copy(::openat(to, name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!copy) throw_errno("openat", path);
    if (st.st_size > 0) content(source.get(), copy.get(), st, path);
    properties(source.get(), copy.get(), st, path);
    times(copy.get(), st, path);
  }

  void content(int from, int to, const struct stat& st, const std::string& path) {
    if (may_share_) {
      if (ioctl(to, FICLONE, from) == 0) return;
      may_share_ = false;
    }
    const bool holes = st.st_blocks * 512 < st.st_size;
    off_t at = 0;
    while (at < st.st_size) {
      off_t end = st.st_size;
      if (holes) {
        off_t data = lseek(from, at, SEEK_DATA);
        if (data < 0 && errno == ENXIO) break;
        if (data >= 0) {
          at = data;
          off_t hole = lseek(from, at, SEEK_HOLE);
          if (hole > at) end = std::min(hole, end);
        }
      }
      at = range(from, to, at, end, path);
      if (at < end) break;
    }
    if (holes && ftruncate(to, st.st_size) != 0) throw_errno("ftruncate", path);
  }

  /// Copies [at, end) and returns where it came to, before `end` only when the file became shorter.
  off_t range(int from, int to, off_t at, off_t end, const std::string& path) {
    while (at < end && may_copy_range_) {
      off_t in = at;
      off_t out = at;
      ssize_t count = copy_file_range(from, &in, to, &out, static_cast<size_t>(end - at), 0);
      if (count == 0) break;
      if (count < 0) {
        if (errno == EINTR) continue;
        if (errno != EXDEV && errno != EINVAL && !unsupported(errno)) throw_errno("copy_file_range", path);
        may_copy_range_ = false;
        break;
      }
      at += count;
    }
    if (buffer_.empty()) buffer_.resize(256 * 1024);
    while (at < end) {
      ssize_t count = pread(from, buffer_.data(), std::min<size_t>(buffer_.size(), static_cast<size_t>(end - at)), at);
      if (count < 0) throw_errno("pread", path);
      if (count == 0) break;
      for (ssize_t done = 0; done < count;) {
        ssize_t written = pwrite(to, buffer_.data() + done, static_cast<size_t>(count - done), at + done);
        if (written < 0) throw_errno("pwrite", path);
        done += written;
      }
      at += count;
    }
    return at;
  }

  int to_root_;
  bool may_share_ = true;
  bool may_copy_range_ = true;
  std::vector<char> buffer_;
  std::map<std::pair<dev_t, ino_t>, std::string> links_;
};

class TreeSize {
 public:
  void folder(UniqueFd fd, int depth, const std::string& name) {
    if (depth > kMaxTreeDepth) throw SysError(ENAMETOOLONG, "stat", name);
    DirStream stream = stream_of(std::move(fd), name);
    int here = dirfd(stream.get());
    while (const dirent* entry = next_of(stream.get(), name)) {
      struct stat st;
      if (fstatat(here, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
        if (errno == ENOENT) continue;
        throw_errno("fstatat", entry->d_name);
      }
      if (S_ISDIR(st.st_mode)) {
        UniqueFd below(open_child_dir_raw(here, entry->d_name, O_RDONLY));
        if (below) {
          folder(std::move(below), depth + 1, entry->d_name);
        } else if (errno != EXDEV && errno != ENOENT && errno != ENOTDIR && errno != ELOOP) {
          throw_errno("openat2", entry->d_name);
        }
      } else if (S_ISREG(st.st_mode)) {
        if (st.st_nlink > 1 && !counted_.emplace(st.st_dev, st.st_ino).second) continue;
        bytes_ += static_cast<uint64_t>(st.st_size);
      }
    }
  }
  uint64_t bytes() const { return bytes_; }

 private:
  uint64_t bytes_ = 0;
  std::set<std::pair<dev_t, ino_t>> counted_;
};

}  // namespace

void copy_tree(int from, int to, bool own) {
  struct stat st;
  if (fstat(from, &st) != 0) throw_errno("fstat");
  UniqueFd source(::openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  UniqueFd copy(::openat(to, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!source || !copy) throw_errno("openat");
  TreeCopy work(copy.get());
  work.folder(source.get(), copy.get(), 0, "");
  if (!own) return;
  work.properties(source.get(), copy.get(), st, ".");
  TreeCopy::times(copy.get(), st, ".");
}

uint64_t tree_size(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) throw_errno("open", path);
  TreeSize size;
  size.folder(std::move(fd), 0, path);
  return size.bytes();
}

void each_xattr(int fd, const std::function<void(const std::string&, const std::string&)>& take) {
  read_xattrs([&](char* to, size_t size) { return flistxattr(fd, to, size); },
              [&](const char* name, char* to, size_t size) { return fgetxattr(fd, name, to, size); }, take);
}

void each_xattr_at(int dir, const std::string& name,
                   const std::function<void(const std::string&, const std::string&)>& take) {
  // A comparison of trees asks this for every file, and the way through /proc costs more than the answer.
  static std::atomic<bool> has_calls = true;
  if (has_calls) {
    const auto list = [&](char* to, size_t size) {
      const long length = syscall(kListxattrat, dir, name.c_str(), AT_SYMLINK_NOFOLLOW, to, size);
      // A filter of system calls from before these came may say EPERM.
      if (length < 0 && (errno == ENOSYS || errno == EPERM)) has_calls = false;
      return static_cast<ssize_t>(length);
    };
    const auto get = [&](const char* key, char* to, size_t size) {
      const XattrArgs args = {reinterpret_cast<uint64_t>(to), static_cast<uint32_t>(size), 0};
      return static_cast<ssize_t>(
          syscall(kGetxattrat, dir, name.c_str(), AT_SYMLINK_NOFOLLOW, key, &args, sizeof args));
    };
    read_xattrs(list, get, take);
    if (has_calls) return;
  }
  const std::string path = proc_path(dir) + "/" + name;
  read_xattrs([&](char* to, size_t size) { return llistxattr(path.c_str(), to, size); },
              [&](const char* key, char* to, size_t size) { return lgetxattr(path.c_str(), key, to, size); }, take);
}

bool is_private_xattr(const std::string& name) {
  return name.starts_with("trusted.overlay.") || name.starts_with("user.overlay.") || name == "security.selinux" ||
         name == "security.evm" || name == "security.ima";
}

}  // namespace gantry
