#include "copy_up.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "gantry/error.h"
#include "gantry/fd.h"

namespace gantry::runtime {
namespace {

// The tree is an image's: it may be deeper than our stack.
constexpr int kMaxDepth = 256;

void copy_tree(int from, int to, int depth);

void copy_entry(int from, int to, const char* name, int depth) {
  struct stat st;
  if (::fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) != 0) throw_errno("stat for tmpcopyup", name);
  if (S_ISDIR(st.st_mode)) {
    if (::mkdirat(to, name, 0700) != 0 && errno != EEXIST) throw_errno("mkdir for tmpcopyup", name);
    UniqueFd source(::openat(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    UniqueFd copy(::openat(to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!source || !copy) throw_errno("open for tmpcopyup", name);
    copy_tree(source.get(), copy.get(), depth + 1);
    if (::fchown(copy.get(), st.st_uid, st.st_gid) != 0) throw_errno("chown for tmpcopyup", name);
    if (::fchmod(copy.get(), st.st_mode & 07777) != 0) throw_errno("chmod for tmpcopyup", name);
  } else if (S_ISLNK(st.st_mode)) {
    char target[PATH_MAX];
    ssize_t n = ::readlinkat(from, name, target, sizeof target - 1);
    if (n < 0) throw_errno("readlink for tmpcopyup", name);
    target[n] = 0;
    if (::symlinkat(target, to, name) != 0) throw_errno("symlink for tmpcopyup", name);
    if (::fchownat(to, name, st.st_uid, st.st_gid, AT_SYMLINK_NOFOLLOW) != 0) throw_errno("chown for tmpcopyup", name);
  } else if (S_ISREG(st.st_mode)) {
    UniqueFd source(::openat(from, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
    UniqueFd copy(::openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!source || !copy) throw_errno("open for tmpcopyup", name);
    char chunk[65536];
    for (ssize_t n; (n = ::read(source.get(), chunk, sizeof chunk)) != 0;) {
      if (n < 0) throw_errno("read for tmpcopyup", name);
      for (ssize_t done = 0; done < n;) {
        ssize_t w = ::write(copy.get(), chunk + done, static_cast<std::size_t>(n - done));
        if (w < 0) throw_errno("write for tmpcopyup", name);
        done += w;
      }
    }
    if (::fchown(copy.get(), st.st_uid, st.st_gid) != 0) throw_errno("chown for tmpcopyup", name);
    if (::fchmod(copy.get(), st.st_mode & 07777) != 0) throw_errno("chmod for tmpcopyup", name);
  } else {
    if (::mknodat(to, name, st.st_mode, st.st_rdev) != 0) throw_errno("mknod for tmpcopyup", name);
  }
}

void copy_tree(int from, int to, int depth) {
  if (depth > kMaxDepth) throw InvalidInput("tmpcopyup: directories nested too deep");
  int fd = ::openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR* dir = fd < 0 ? nullptr : ::fdopendir(fd);
  if (!dir) throw_errno("read directory for tmpcopyup");
  std::vector<std::string> names;
  while (struct dirent* entry = ::readdir(dir)) {
    std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(std::move(name));
  }
  ::closedir(dir);
  for (const auto& name : names) copy_entry(from, to, name.c_str(), depth);
}

}  // namespace

void copy_up(int from, int to) { copy_tree(from, to, 0); }

}  // namespace gantry::runtime
