#include "spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sys.h"

extern char** environ;

namespace shim {
namespace {

char own_score[16];
size_t own_score_size = 0;
constexpr char kScorePath[] = "/proc/self/oom_score_adj";

/// Runs in the shim's memory, which stands still meanwhile: system calls only, and no descriptor below 3 is a source.
[[noreturn]] void child(const char* const* argv, const int* fds, int* failure) {
  if (own_score_size > 0) {
    int score = open(kScorePath, O_WRONLY | O_CLOEXEC);
    if (score >= 0) (void)!write(score, own_score, own_score_size);
  }
  for (int i = 0; i < 3; ++i) {
    int source = fds[i] >= 0 ? fds[i] : open("/dev/null", O_RDWR | O_CLOEXEC);
    if (source < 0 || (source == i ? fcntl(i, F_SETFD, 0) : dup2(source, i)) < 0) {
      *failure = errno;
      _exit(127);
    }
  }
  close_range_from(3);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  execve(argv[0], const_cast<char* const*>(argv), environ);
  *failure = errno;
  _exit(127);
}

}  // namespace

void spawn_prepare() {
  int fd = open(kScorePath, O_RDWR | O_CLOEXEC);
  if (fd < 0) return;
  ssize_t size = read(fd, own_score, sizeof own_score);
  // Needs CAP_SYS_RESOURCE; without it the shim is as mortal as the daemon that started it.
  if (size > 0 && pwrite(fd, "-998", 4, 0) == 4) own_score_size = static_cast<size_t>(size);
  close(fd);
}

pid_t spawn(const char* const* argv, int in, int out, int err) {
  int fds[3] = {in, out, err};
  volatile int failure = 0;
  pid_t pid = vfork();
  if (pid == 0) child(argv, fds, const_cast<int*>(&failure));
  if (pid > 0 && failure != 0) {
    while (waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
    }
    errno = failure;
    return -1;
  }
  return pid;
}

}  // namespace shim
