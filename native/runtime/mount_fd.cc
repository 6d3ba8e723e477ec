#include "mount_fd.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <sys/syscall.h>

#include "errno_text.h"
#include "gantry/error.h"

namespace gantry::runtime {
namespace {

// glibc's sys/mount.h and linux/mount.h cannot be included together before 2.37; the calls are made directly.
int open_tree(int dir, const char* path, unsigned flags) {
  return static_cast<int>(::syscall(SYS_open_tree, dir, path, flags));
}

int fsconfig(int fd, unsigned command, const char* key, const char* value) {
  return static_cast<int>(::syscall(SYS_fsconfig, fd, command, key, value, 0));
}

/// What the file system says about the last failure, for instance "tmpfs: Bad value for 'size'".
std::string last_message(int fs) {
  char text[512];
  std::string last;
  for (ssize_t n; (n = ::read(fs, text, sizeof text)) > 0;) last.assign(text, static_cast<std::size_t>(n));
  // "e ", "w " or "i " precedes the text.
  return last.size() > 2 && last[1] == ' ' ? last.substr(2) : last;
}

[[noreturn]] void fail_with_message(int fs, const std::string& operation, const std::string& name) {
  int err = errno;
  std::string message = last_message(fs);
  while (!message.empty() && (message.back() == '\n' || message.back() == ' ')) message.pop_back();
  throw SysError(err, operation + " " + name + (message.empty() ? "" : " (" + message + ")"));
}

}  // namespace

UniqueFd clone_mount(int dir, const std::string& path, bool recursive) {
  UniqueFd fd(open_tree(dir, path.c_str(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (recursive ? AT_RECURSIVE : 0u)));
  if (!fd) throw_errno("open_tree", path);
  return fd;
}

UniqueFd clone_mount_of(int fd, bool recursive, const std::string& name) {
  UniqueFd copy(
      open_tree(fd, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (recursive ? AT_RECURSIVE : 0u)));
  if (!copy) throw_errno("open_tree", name);
  return copy;
}

UniqueFd new_mount(const std::string& type, const std::string& source, const MountOptions& options,
                   const std::string& name) {
  UniqueFd fs(static_cast<int>(::syscall(SYS_fsopen, type.c_str(), FSOPEN_CLOEXEC)));
  if (!fs) throw_errno("fsopen " + type + " for", name);
  if (!source.empty() && fsconfig(fs.get(), FSCONFIG_SET_STRING, "source", source.c_str()) != 0) {
    fail_with_message(fs.get(), "set source of " + type + " on", name);
  }
  for (const auto& [key, value] : options.data) {
    int r = value ? fsconfig(fs.get(), FSCONFIG_SET_STRING, key.c_str(), value->c_str())
                  : fsconfig(fs.get(), FSCONFIG_SET_FLAG, key.c_str(), nullptr);
    if (r != 0) fail_with_message(fs.get(), "set option " + key + " of " + type + " on", name);
  }
  if (fsconfig(fs.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr) != 0) {
    fail_with_message(fs.get(), "mount " + type + " on", name);
  }
  UniqueFd mount(static_cast<int>(::syscall(SYS_fsmount, fs.get(), FSMOUNT_CLOEXEC, options.set)));
  if (!mount) fail_with_message(fs.get(), "mount " + type + " on", name);
  return mount;
}

void set_mount_attributes(int fd, std::uint64_t set, std::uint64_t clear, std::uint64_t propagation, bool recursive,
                          const std::string& name) {
  if (!set && !clear && !propagation) return;
  struct mount_attr attr = {};
  attr.attr_set = set;
  attr.attr_clr = clear;
  attr.propagation = propagation;
  unsigned flags = AT_EMPTY_PATH | (recursive ? static_cast<unsigned>(AT_RECURSIVE) : 0u);
  if (::syscall(SYS_mount_setattr, fd, "", flags, &attr, sizeof attr) != 0) throw_errno("set mount flags of", name);
}

void map_mount_ids(int fd, int user_namespace, bool recursive, const std::string& name) {
  struct mount_attr attr = {};
  attr.attr_set = MOUNT_ATTR_IDMAP;
  attr.userns_fd = static_cast<std::uint64_t>(user_namespace);
  unsigned flags = AT_EMPTY_PATH | (recursive ? static_cast<unsigned>(AT_RECURSIVE) : 0u);
  if (::syscall(SYS_mount_setattr, fd, "", flags, &attr, sizeof attr) != 0) throw_errno("map the ids of", name);
}

void attach_mount(int mount, int target, const std::string& name) {
  if (::syscall(SYS_move_mount, mount, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) != 0) {
    throw_errno("attach mount on", name);
  }
}

}  // namespace gantry::runtime
