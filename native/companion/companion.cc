#include "companion.h"

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

#include "gantry/error.h"

namespace gantry {

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

/// Everything that is served takes descriptors.
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

[[noreturn]] void serve(const char* path, const std::function<std::unique_ptr<Requests>(Loop&)>& make_requests) {
  ::signal(SIGPIPE, SIG_IGN);
  ::signal(SIGHUP, SIG_IGN);
  Loop loop;
  std::unique_ptr<Requests> requests = make_requests(loop);
  auto control = std::make_unique<Control>(listen_at(path), loop, *requests);
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

int run_companion(const char* name, int argc, char** argv,
                  const std::function<std::unique_ptr<Requests>(Loop&)>& make_requests) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s SOCKET\n", name);
    return 2;
  }
  try {
    serve(argv[1], make_requests);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s: %s\n", name, error.what());
    return 1;
  }
}

}  // namespace gantry
