// gantry-dns SOCKET: the name server of all sandboxes of one daemon. It outlives the daemon and is told by it through
// SOCKET what there is to know (PROTOCOL.md). Descriptor 3 is closed when it is ready.
//
// It reads what hostile programs send, so it keeps no right that it can do without: the sockets in the sandboxes are
// made by the daemon and handed over, and it runs as nobody, without capabilities and without a way to new ones.

#include <fcntl.h>
#include <grp.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstring>

#include "control.h"
#include "gantry/error.h"

namespace gantry::dns {

namespace {

constexpr int kReadyFd = 3;
constexpr uid_t kNobody = 65'534;
constexpr rlim_t kMostDescriptors = 1'048'576;

UniqueFd listen_at(const char* path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (std::strlen(path) >= sizeof address.sun_path) throw SysError(ENAMETOOLONG, "bind", path);
  std::strcpy(address.sun_path, path);
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) throw_errno("socket", "unix");
  ::umask(0177);
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) < 0) throw_errno("bind", path);
  if (::listen(fd.get(), 64) < 0) throw_errno("listen", path);
  return fd;
}

/// Each sandbox takes two descriptors.
void raise_limit() {
  rlimit limit{kMostDescriptors, kMostDescriptors};
  if (::setrlimit(RLIMIT_NOFILE, &limit) == 0) return;
  if (::getrlimit(RLIMIT_NOFILE, &limit) < 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

void drop_rights() {
  if (::chdir("/") < 0) throw_errno("chdir", "/");
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) throw_errno("prctl", "no_new_privs");
  if (::getuid() != 0) return;
  // Leaving user 0 for good takes the capabilities with it.
  if (::setgroups(0, nullptr) < 0) throw_errno("setgroups");
  if (::setresgid(kNobody, kNobody, kNobody) < 0) throw_errno("setresgid");
  if (::setresuid(kNobody, kNobody, kNobody) < 0) throw_errno("setresuid");
  // No other program of nobody's looks into its memory.
  if (::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0) throw_errno("prctl", "dumpable");
}

[[noreturn]] void serve(const char* path) {
  ::signal(SIGPIPE, SIG_IGN);
  ::signal(SIGHUP, SIG_IGN);
  Loop loop;
  Table table;
  Server server(loop, table);
  auto control = std::make_unique<Control>(listen_at(path), loop, table, server);
  raise_limit();
  drop_rights();
  Control* added = control.get();
  if (!loop.add(std::move(control), EPOLLIN)) throw SysError(ENOSPC, "epoll_ctl", path);
  added->watch_idle();
  ::close(kReadyFd);
  loop.run();
  // The sources hold each other; the kernel takes them apart better than any order of destructors.
  ::_exit(0);
}

}  // namespace

}  // namespace gantry::dns

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: gantry-dns SOCKET\n");
    return 2;
  }
  try {
    gantry::dns::serve(argv[1]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "gantry-dns: %s\n", error.what());
    return 1;
  }
}
