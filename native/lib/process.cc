#include "gantry/process.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <string_view>
#include <thread>
#include <unordered_map>

#include "gantry/error.h"

#ifndef P_PIDFD
#define P_PIDFD 3
#endif

namespace gantry {
namespace {

constexpr size_t kChildStack = 64 * 1024;

/// All that the child reads. It runs in the parent's memory, so what it writes (`err`, `step`) is seen by the parent.
struct ChildView {
  const char* path;
  char* const* argv;
  char* const* envp;
  const char* cwd;
  const int* fds;
  int fd_count;
  bool new_session;
  volatile int err;
  const char* volatile step;
};

int fail(ChildView& view, const char* step) {
  view.err = errno;
  view.step = step;
  return 127;
}

/// Between clone and exec: system calls only. The parent's thread is suspended and every signal is blocked, so nothing
/// else can run on this memory from this thread; other threads go on, hence no lock and no allocation here.
int child_main(void* arg) {
  ChildView& view = *static_cast<ChildView*>(arg);
  if (view.new_session && ::setsid() < 0) return fail(view, "setsid");

  // The handler table was copied, not shared. Handlers would run the parent's code; ignored signals would survive exec.
  struct sigaction standard = {};
  standard.sa_handler = SIG_DFL;
  for (int signal = 1; signal < NSIG; ++signal) ::sigaction(signal, &standard, nullptr);

  // Every source is first moved above all targets: a plain dup2 in order could overwrite a source that is still needed.
  int moved[64];
  for (int i = 0; i < view.fd_count; ++i) {
    int source = view.fds[i];
    int opened = -1;
    if (source < 0) {
      opened = ::open("/dev/null", O_RDWR | O_CLOEXEC);
      if (opened < 0) return fail(view, "open /dev/null");
      source = opened;
    }
    moved[i] = ::fcntl(source, F_DUPFD_CLOEXEC, view.fd_count);
    if (moved[i] < 0) return fail(view, "dup");
    if (opened >= 0) ::close(opened);
  }
  for (int i = 0; i < view.fd_count; ++i) {
    if (::dup2(moved[i], i) < 0) return fail(view, "dup2");
  }
  if (::syscall(SYS_close_range, static_cast<unsigned>(view.fd_count), ~0U, 0U) < 0) return fail(view, "close_range");
  if (view.cwd && ::chdir(view.cwd) < 0) return fail(view, "chdir");

  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::execve(view.path, view.argv, view.envp);
  return fail(view, "exec");
}

std::vector<char*> pointers(const std::vector<std::string>& strings) {
  std::vector<char*> result;
  result.reserve(strings.size() + 1);
  for (const std::string& text : strings) result.push_back(const_cast<char*>(text.c_str()));
  result.push_back(nullptr);
  return result;
}

}  // namespace

SpawnedChild spawn(const SpawnRequest& request) {
  if (request.fds.size() > 64) throw InvalidInput("at most 64 descriptors can be given to a child");
  std::vector<char*> argv = pointers(request.args);
  std::vector<char*> envp = pointers(request.env);
  ChildView view{request.path.c_str(),
                 argv.data(),
                 envp.data(),
                 request.cwd.empty() ? nullptr : request.cwd.c_str(),
                 request.fds.data(),
                 static_cast<int>(request.fds.size()),
                 request.new_session,
                 0,
                 nullptr};

  void* stack = ::mmap(nullptr, kChildStack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
  if (stack == MAP_FAILED) throw_errno("mmap");

  // A handler of ours must not run in the child, which lives in our memory.
  sigset_t all, before;
  sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  int pidfd = -1;
  pid_t pid = ::clone(child_main, static_cast<char*>(stack) + kChildStack,
                      CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD, &view, &pidfd);
  int clone_error = errno;
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  ::munmap(stack, kChildStack);
  if (pid < 0) throw SysError(clone_error, "clone");

  SpawnedChild child{pid, UniqueFd(pidfd)};
  if (view.err != 0) {
    siginfo_t info;
    while (::waitid(static_cast<idtype_t>(P_PIDFD), static_cast<id_t>(pidfd), &info, WEXITED | __WALL) < 0 &&
           errno == EINTR) {
    }
    throw SysError(view.err, view.step, std::strcmp(view.step, "chdir") == 0 ? request.cwd : request.path);
  }
  return child;
}

std::optional<uint64_t> process_start_time(pid_t pid) {
  char path[64];
  std::snprintf(path, sizeof path, "/proc/%d/stat", static_cast<int>(pid));
  UniqueFd fd(::open(path, O_RDONLY | O_CLOEXEC));
  if (!fd) return std::nullopt;
  char text[1024];
  ssize_t size = ::read(fd.get(), text, sizeof text - 1);
  if (size <= 0) return std::nullopt;
  text[size] = '\0';
  // The second field is the program's name in parentheses and may itself hold blanks and parentheses.
  const char* at = std::strrchr(text, ')');
  if (!at || at[1] == '\0' || at[2] == 'Z' || at[2] == 'X') return std::nullopt;
  for (int field = 2; field < 22; ++field) {
    at = std::strchr(at + 1, ' ');
    if (!at) return std::nullopt;
  }
  return std::strtoull(at + 1, nullptr, 10);
}

bool signal_process(pid_t pid, uint64_t start_time, int signal) {
  UniqueFd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (!pidfd) {
    if (errno == ESRCH || errno == EINVAL) return false;
    throw_errno("pidfd_open", std::to_string(pid));
  }
  // Compared after the pidfd is held: from here on the process behind it cannot change.
  std::optional<uint64_t> found = process_start_time(pid);
  if (!found || *found != start_time) return false;
  if (::syscall(SYS_pidfd_send_signal, pidfd.get(), signal, nullptr, 0) == 0) return true;
  if (errno == ESRCH) return false;
  throw_errno("pidfd_send_signal", std::to_string(pid));
}

std::pair<UniqueFd, UniqueFd> make_socket_pair() {
  int fds[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0) throw_errno("socketpair");
  return {UniqueFd(fds[0]), UniqueFd(fds[1])};
}

std::pair<UniqueFd, UniqueFd> make_pipe() {
  int fds[2];
  if (::pipe2(fds, O_CLOEXEC) < 0) throw_errno("pipe2");
  return {UniqueFd(fds[0]), UniqueFd(fds[1])};
}

struct Reaper::State {
  OnExit on_exit;
  UniqueFd epoll;
  UniqueFd stop;
  std::mutex mutex;
  std::unordered_map<int, std::pair<uint64_t, SpawnedChild>> children;
  std::thread thread;

  void run() {
    epoll_event events[64];
    for (;;) {
      int count = ::epoll_wait(epoll.get(), events, 64, -1);
      if (count < 0) {
        if (errno == EINTR) continue;
        return;
      }
      for (int i = 0; i < count; ++i) {
        int fd = events[i].data.fd;
        if (fd == stop.get()) return;
        reap(fd);
      }
    }
  }

  void reap(int pidfd) {
    siginfo_t info = {};
    int result;
    do {
      result = ::waitid(static_cast<idtype_t>(P_PIDFD), static_cast<id_t>(pidfd), &info, WEXITED | WNOHANG | __WALL);
    } while (result < 0 && errno == EINTR);
    if (result == 0 && info.si_pid == 0) return;
    ::epoll_ctl(epoll.get(), EPOLL_CTL_DEL, pidfd, nullptr);
    uint64_t key;
    {
      std::lock_guard lock(mutex);
      auto found = children.find(pidfd);
      if (found == children.end()) return;
      key = found->second.first;
      children.erase(found);
    }
    // ECHILD: somebody else reaped it, its code is lost.
    int code = result < 0 ? 255 : info.si_code == CLD_EXITED ? info.si_status : 128 + info.si_status;
    on_exit(key, code);
  }
};

Reaper::Reaper(OnExit on_exit) : state_(std::make_unique<State>()) {
  state_->on_exit = std::move(on_exit);
  state_->epoll = UniqueFd(::epoll_create1(EPOLL_CLOEXEC));
  if (!state_->epoll) throw_errno("epoll_create1");
  state_->stop = UniqueFd(::eventfd(0, EFD_CLOEXEC));
  if (!state_->stop) throw_errno("eventfd");
  epoll_event event = {};
  event.events = EPOLLIN;
  event.data.fd = state_->stop.get();
  ::epoll_ctl(state_->epoll.get(), EPOLL_CTL_ADD, event.data.fd, &event);

  // The thread must not take signals that were meant for the main thread's handlers.
  sigset_t all, before;
  sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  state_->thread = std::thread([state = state_.get()] { state->run(); });
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

Reaper::~Reaper() {
  uint64_t one = 1;
  (void)!::write(state_->stop.get(), &one, sizeof one);
  state_->thread.join();
}

void Reaper::watch(uint64_t key, SpawnedChild child) {
  int fd = child.pidfd.get();
  {
    std::lock_guard lock(state_->mutex);
    state_->children.emplace(fd, std::pair(key, std::move(child)));
  }
  epoll_event event = {};
  event.events = EPOLLIN;
  event.data.fd = fd;
  if (::epoll_ctl(state_->epoll.get(), EPOLL_CTL_ADD, fd, &event) < 0) throw_errno("epoll_ctl");
}

}  // namespace gantry
