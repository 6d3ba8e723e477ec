#include "console.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <termios.h>
#include <unistd.h>

#include <cstring>

#include "gantry/error.h"
#include "mount_fd.h"
#include "path_in_root.h"

namespace gantry::runtime {
namespace {

/// The master of a new terminal. That the device is devpts' own multiplexer is checked before it is opened: an image,
/// or a volume over /dev, could have any other device there.
UniqueFd open_master(int root) {
  UniqueFd node = open_in_root(root, "/dev/pts/ptmx");
  struct stat st;
  struct statfs fs;
  if (::fstat(node.get(), &st) != 0 || ::fstatfs(node.get(), &fs) != 0) throw_errno("stat", "/dev/pts/ptmx");
  if (fs.f_type != DEVPTS_SUPER_MAGIC || !S_ISCHR(st.st_mode) || st.st_rdev != makedev(5, 2)) {
    throw InvalidInput("/dev/pts/ptmx is not a terminal multiplexer");
  }
  struct open_how how = {};
  how.flags = O_RDWR | O_NOCTTY | O_CLOEXEC;
  how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
  UniqueFd master(static_cast<int>(::syscall(SYS_openat2, root, "/dev/pts/ptmx", &how, sizeof how)));
  struct stat now;
  if (!master || ::fstat(master.get(), &now) != 0) throw_errno("open", "/dev/pts/ptmx");
  if (now.st_dev != st.st_dev || now.st_ino != st.st_ino) throw InvalidInput("/dev/pts/ptmx was exchanged");
  return master;
}

}  // namespace

UniqueFd connect_stream_socket(const std::string& path, const std::string& what) {
  struct sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) throw SysError(ENAMETOOLONG, "connect to " + what, path);
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) throw_errno("socket");
  if (::connect(fd.get(), reinterpret_cast<struct sockaddr*>(&address), sizeof address) != 0) {
    throw_errno("connect to " + what, path);
  }
  return fd;
}

void send_descriptor(int socket, const std::string& name, int fd) {
  struct iovec data = {const_cast<char*>(name.data()), name.size()};
  alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  struct msghdr message = {};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  struct cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(header), &fd, sizeof fd);
  ssize_t sent;
  while ((sent = ::sendmsg(socket, &message, MSG_NOSIGNAL)) < 0) {
    if (errno != EINTR) throw_errno("send a descriptor over a socket");
  }
  // The descriptor went with the first byte; long data may need further calls.
  for (auto done = static_cast<std::size_t>(sent); done < name.size();) {
    ssize_t n = ::send(socket, name.data() + done, name.size() - done, MSG_NOSIGNAL);
    if (n < 0 && errno != EINTR) throw_errno("send a descriptor over a socket");
    if (n > 0) done += static_cast<std::size_t>(n);
  }
}

UniqueFd receive_descriptor(int socket) {
  char name[4096];
  struct iovec data = {name, sizeof name};
  alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  struct msghdr message = {};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t n;
  while ((n = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC)) < 0 && errno == EINTR) {
  }
  if (n < 0) throw_errno("receive the terminal");
  struct cmsghdr* header = CMSG_FIRSTHDR(&message);
  if (!header || header->cmsg_type != SCM_RIGHTS) return UniqueFd();
  int fd;
  std::memcpy(&fd, CMSG_DATA(header), sizeof fd);
  return UniqueFd(fd);
}

void set_up_console(int root, const Plan& plan, TerminalUse use) {
  UniqueFd master = open_master(root);
  int locked = 0;
  unsigned number = 0;
  if (::ioctl(master.get(), TIOCSPTLCK, &locked) != 0) throw_errno("unlock the terminal");
  if (::ioctl(master.get(), TIOCGPTN, &number) != 0) throw_errno("read the terminal's number");
  std::string name = "/dev/pts/" + std::to_string(number);
  // Asked of the master, not opened by its name, which could be somebody else's by now.
  UniqueFd slave(::ioctl(master.get(), TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (!slave) throw_errno("open", name);
  if (plan.process.console_size) {
    struct winsize size = {};
    size.ws_row = plan.process.console_size->first;
    size.ws_col = plan.process.console_size->second;
    if (::ioctl(master.get(), TIOCSWINSZ, &size) != 0) throw_errno("set the size of", name);
  }
  if (use.bind) {
    UniqueFd target = open_or_create_in_root(root, "/dev/console", Kind::kFile);
    UniqueFd copy = clone_mount_of(slave.get(), false, name);
    attach_mount(copy.get(), target.get(), "/dev/console");
  }
  send_descriptor(plan.console_socket.get(), name, master.get());
  for (int fd = 0; fd <= 2; ++fd) {
    if (::dup2(slave.get(), fd) < 0) throw_errno("dup2", name);
  }
  if (use.control && ::ioctl(0, TIOCSCTTY, 0) != 0) throw_errno("make the controlling terminal of", name);
}

}  // namespace gantry::runtime
